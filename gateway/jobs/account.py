"""What is known of the upstream account: its balance, whether that is as the ledger expects, whether submitting rests.

One row, in the transaction of the answer that told it. Decides nothing about a job.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import ids
from gateway.jobs.attempts import Outcome
from gateway.storage import schema, tables
from gateway.upstream.answers import Refusal

#: Out of credits, or a key refused: submitting rests for everyone, then one real job is the trial.
PAUSE = timedelta(minutes=5)
_BREAKER_MAX_S = 60

_account = tables.upstream_account
_attempt = tables.attempts

log = structlog.get_logger(__name__)


async def rest(tx: AsyncConnection, refusal: Refusal, now: datetime) -> None:
    """Let submitting rest as a refusal asks: nobody listened, or the account itself was refused."""
    if refusal is Refusal.NOT_CONNECTED:
        await open_breaker(tx, now)
    elif refusal in (Refusal.OUT_OF_CREDITS, Refusal.KEY_REFUSED):
        log.error("submitting_paused", reason=refusal)
        await tx.execute(_account.update().values(paused_until=now + PAUSE, pause_reason=refusal))


async def open_breaker(tx: AsyncConnection, now: datetime) -> None:
    """Rest for 1, 2, 4 … 60 s, so that an outage does not turn a queue into unknowns."""
    failures = (await schema.lock_account(tx)).breaker_failures
    rest_s = min(2 ** min(failures, 6), _BREAKER_MAX_S)
    await tx.execute(
        _account.update().values(breaker_failures=failures + 1, breaker_until=now + timedelta(seconds=rest_s))
    )


async def resume(tx: AsyncConnection) -> None:
    """Submit again: the upstream answered in order, or an operator says so."""
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
    """Note credits that an operator put into the account, before the next answer shows them."""
    account = await schema.lock_account(tx)
    await book_topup(tx, amount_micros, "operator", now, reference)
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
