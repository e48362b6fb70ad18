"""What is known of the upstream account: its balance, whether that is as the ledger expects, whether submitting rests.

One row, in the transaction of the answer that told it. Decides nothing about a job.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import ids
from gateway.jobs.outcomes import Outcome
from gateway.storage import schema, tables
from gateway.storage.columns import Moment
from gateway.upstream.answers import Refusal

#: Out of credits, or a key refused: submitting rests for everyone, then one real job is the trial.
PAUSE = timedelta(minutes=5)
#: Why submitting rests when many jobs are unknown to the upstream at once.
WRONG_ACCOUNT = "wrong_account"
_BREAKER_MAX_S = 60

_account = tables.upstream_account
_attempt = tables.attempts

log = structlog.get_logger(__name__)


async def rest(tx: AsyncConnection, refusal: Refusal, now: datetime) -> None:
    """Let submitting rest as a refusal asks: nobody listened, or the account itself was refused."""
    if refusal is Refusal.NOT_CONNECTED:
        await open_breaker(tx, now)
    elif refusal in (Refusal.OUT_OF_CREDITS, Refusal.KEY_REFUSED):
        await _pause(tx, refusal, now)


async def _pause(tx: AsyncConnection, reason: str, now: datetime) -> None:
    """Submit nothing for a while; ``held_since_at`` stays that of the first refusal in a row.

    A refusal by what is taken for the wrong account says nothing about ours, whose jobs still wait.
    """
    log.error("submitting_paused", reason=reason)
    wrong = sa.and_(_account.c.pause_reason == WRONG_ACCOUNT, _account.c.paused_until > now)
    await tx.execute(
        _account.update().values(
            paused_until=now + PAUSE,
            pause_reason=sa.case((wrong, _account.c.pause_reason), else_=reason),
            held_since_at=sa.func.coalesce(_account.c.held_since_at, sa.literal(now, Moment())),
        )
    )


async def wrong_account(tx: AsyncConnection, now: datetime, *, crowd: bool) -> bool:
    """Note that the upstream does not know a job; whether this is taken for the wrong account, whose jobs wait.

    ``crowd`` says that so many jobs went missing at once that nothing else explains it. The pause lasts while they are
    asked for in vain: nothing is paid for on somebody else's account, and the looks that end it are free.
    """
    paused = (await tx.execute(sa.select(_account.c.pause_reason))).scalar_one() == WRONG_ACCOUNT
    if paused or crowd:
        await _pause(tx, WRONG_ACCOUNT, now)
    return paused or crowd


async def right_account(tx: AsyncConnection) -> None:
    """Note that the upstream knows a job again that it did not know."""
    await tx.execute(
        _account.update().where(_account.c.pause_reason == WRONG_ACCOUNT).values(paused_until=None, pause_reason=None)
    )


async def open_breaker(tx: AsyncConnection, now: datetime) -> None:
    """Rest for 1, 2, 4 … 60 s, so that an outage does not turn a queue into unknowns.

    Answers that are lost together are one failure: what comes while submitting rests makes it no longer.
    """
    known = await schema.lock_account(tx)
    if known.breaker_until is not None and known.breaker_until > now:
        return
    failures = known.breaker_failures
    rest_s = min(2 ** min(failures, 6), _BREAKER_MAX_S)
    await tx.execute(
        _account.update().values(breaker_failures=failures + 1, breaker_until=now + timedelta(seconds=rest_s))
    )


async def answered(tx: AsyncConnection, now: datetime) -> None:
    """Submit again, since the upstream answered a POST in order; it may have been the trial that a pause waits for.

    A POST that was on its way when the account was taken for the wrong one proves nothing: that one takes orders too.
    """
    known = await schema.lock_account(tx)
    if known.breaker_failures or known.breaker_until is not None:
        await tx.execute(_account.update().values(breaker_failures=0, breaker_until=None))
    if known.paused_until is None and known.pause_reason is None:
        return
    wrong = known.pause_reason == WRONG_ACCOUNT
    if not wrong or known.paused_until is None or known.paused_until <= now:
        await tx.execute(_account.update().values(paused_until=None, pause_reason=None))


async def resume(tx: AsyncConnection) -> None:
    """Submit again: an operator says so. What was held is seen to by a sweep."""
    await tx.execute(
        _account.update().values(breaker_failures=0, breaker_until=None, paused_until=None, pause_reason=None)
    )


async def charged(
    tx: AsyncConnection, job_id: str, opened_at: datetime, cost_micros: int, remaining_micros: int | None, now: datetime
) -> None:
    """Note an acceptance: what it cost is expected to be gone, and what the upstream says remains is compared.

    The comparison is made at quiet points only: of answers that overlapped nobody knows which balance came first. A
    balance below the expectation is drift (somebody else spends from this account); one that rose since the last
    comparison has been topped up, and that is booked.
    """
    account = await schema.lock_account(tx)
    values: dict[str, object] = {}
    expected = None if account.expected_micros is None else account.expected_micros - cost_micros
    if remaining_micros is not None:
        values |= {"remaining_micros": remaining_micros, "remaining_seen_at": now}
        if expected is None:
            expected = remaining_micros
        elif await _quiet(tx, job_id, opened_at):
            drift = remaining_micros - expected
            rise = drift - account.drift_micros
            if rise > 0:
                await book_topup(tx, rise, "seen", now)
                expected += rise
                drift -= rise
            values["drift_micros"] = drift
    await tx.execute(_account.update().values(**values, expected_micros=expected))


async def _quiet(tx: AsyncConnection, job_id: str, opened_at: datetime) -> bool:
    """Whether no other attempt was under way between the intent of this one and now."""
    other = sa.select(_attempt.c.job_id).where(
        _attempt.c.job_id != job_id,
        sa.or_(_attempt.c.outcome == Outcome.OPEN, _attempt.c.answered_at >= opened_at),
    )
    return (await tx.execute(other.limit(1))).first() is None


async def topup(tx: AsyncConnection, amount_micros: int, now: datetime, reference: str | None = None) -> None:
    """Note credits that an operator put into the account, before the next answer shows them; the trial is due now."""
    account = await schema.lock_account(tx)
    await book_topup(tx, amount_micros, "operator", now, reference)
    if account.pause_reason == Refusal.OUT_OF_CREDITS:
        # There is something to spend again; if the upstream says otherwise, the next job's refusal pauses anew.
        await tx.execute(_account.update().values(paused_until=None))
    if account.expected_micros is not None:
        await tx.execute(
            _account.update().values(
                expected_micros=account.expected_micros + amount_micros,
                remaining_micros=(account.remaining_micros or 0) + amount_micros,
            )
        )


async def book_topup(
    tx: AsyncConnection, amount_micros: int, source: str, now: datetime, reference: str | None = None
) -> None:
    """Write the row of a topup; an ``IntegrityError`` says that its reference was used before."""
    log.info("account_topped_up", amount_micros=amount_micros, source=source)
    await tx.execute(
        tables.topups.insert().values(
            id=ids.entry(), amount_micros=amount_micros, source=source, reference=reference, created_at=now
        )
    )
