"""Looking for evidence about unknown submissions: one turn, by one worker at a time, of free questions alone.

First what the upstream's own calls hinted at is verified, then its list of jobs is read, then its balance is weighed,
and what is still unknown may be sent once more where the team chose that. Every decision is committed by itself,
guarded by the attempt's row; a turn that breaks off is simply taken again.
"""

import asyncio
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import (
    account,
    balance,
    discovery,
    doubts,
    hints,
    listing,
    matching,
    outcomes,
    resubmission,
    settlement,
    traced,
)
from gateway.jobs.doubts import Known
from gateway.jobs.listing import Reading
from gateway.jobs.matching import Doubt, Seen
from gateway.jobs.outcomes import Evidence
from gateway.jobs.parts import Shop
from gateway.storage import tables
from gateway.upstream.joblist import Silent

#: Without a later job of ours in the same list, an absence counts only if it is read again after this long.
SECOND_READING = timedelta(seconds=30)
#: Jobs of ours since then vouch for the list.
_VOUCHING = timedelta(hours=24)
_MOST_KNOWN = 2_000
#: Jobs of ours from this long before the oldest doubt must all be shown.
_NEAR = timedelta(minutes=10)
#: After how long the next turn comes, by the age of the newest doubt.
_TURNS = (
    (timedelta(seconds=10), timedelta(seconds=3)),
    (timedelta(minutes=1), timedelta(seconds=10)),
    (timedelta(minutes=5), timedelta(seconds=15)),
    (timedelta(hours=1), timedelta(minutes=1)),
)
_LAST_TURNS = timedelta(minutes=10)
#: An upstream without a list of jobs is asked for it again after this long, and twice that, and so on.
_SILENCE = timedelta(minutes=10)
_MOST_DOUBLINGS = 6

_attempt = tables.attempts
_account = tables.upstream_account

log = structlog.get_logger(__name__)


async def due(connection: AsyncConnection, now: datetime) -> bool:
    """Whether a turn makes sense now."""
    if await hints.due(connection, now):
        return True
    next_at = (await connection.execute(sa.select(_account.c.evidence_due_at))).scalar_one()
    return (next_at is None or next_at <= now) and await doubts.bounds(connection, now) is not None


async def look(shop: Shop) -> None:
    """Take the turn: hints at any time, the rest when it is due and no other worker has taken it."""
    await hints.verify(shop)
    now = shop.clock.now()
    async with shop.database.read() as connection:
        between = await doubts.bounds(connection, now)
    if between is None or not await _take_turn(shop, now, between[1]):
        return
    await _read_list(shop, between[0])
    if shop.exclusive:
        await balance.look(shop)
    await resubmission.look(shop)


async def _take_turn(shop: Shop, now: datetime, newest: datetime) -> bool:
    age = now - newest
    wait = next((wait for until, wait in _TURNS if age < until), _LAST_TURNS)
    async with shop.database.write() as tx:
        taken = await tx.execute(
            _account.update()
            .where(sa.or_(_account.c.evidence_due_at.is_(None), _account.c.evidence_due_at <= now))
            .values(evidence_due_at=now + wait)
        )
        return taken.rowcount > 0


async def _read_list(shop: Shop, since: datetime) -> None:
    now = shop.clock.now()
    async with shop.database.read() as connection:
        row = (await connection.execute(sa.select(_account))).one()
        known = await doubts.known_since(connection, now - _VOUCHING, _MOST_KNOWN)
    if row.list_silent_until is not None and now < row.list_silent_until:
        return
    if row.pause_reason == account.WRONG_ACCOUNT:
        # Another account's list says nothing about our jobs.
        return
    answer = await listing.read(shop, since, frozenset(each.upstream_job_id for each in known if not each.looked_up))
    if isinstance(answer, Silent):
        log.info("no_job_list", reason=answer.reason)
        rest = _SILENCE * 2 ** min(row.list_silences, _MOST_DOUBLINGS)
        await _note_silence(shop, now + rest, row.list_silences + 1)
    elif answer is not None:
        if row.list_silences:
            await _note_silence(shop, None, 0)
        await _apply(shop, answer, since, known)


async def _note_silence(shop: Shop, until: datetime | None, silences: int) -> None:
    async with shop.database.write() as tx:
        await tx.execute(_account.update().values(list_silent_until=until, list_silences=silences))


async def _apply(shop: Shop, reading: Reading, since: datetime, known: list[Known]) -> None:
    # Read after the list, so that what was booked meanwhile is known, and what is under way is a rival.
    async with shop.database.read() as connection:
        everyone = await doubts.rivals(connection, since, reading.begun_at)
        taken = await doubts.ours(connection, [job.upstream_job_id for job in reading.jobs])
        sent = await doubts.prompts(connection, sorted(taken)) if any(each.by_prompt for each in everyone) else {}
    if len(everyone) > doubts.MOST:
        log.warning("too_many_doubts", doubts=len(everyone))
        return
    before = [
        (each.upstream_job_id, each.opened_at)
        for each in known
        if not each.looked_up and each.opened_at >= since - _NEAR and each.answered_at < reading.begun_at - reading.skew
    ]
    free = tuple(job for job in reading.jobs if job.upstream_job_id not in taken)
    whole_since = reading.whole_since if listing.complete(reading, before) else None
    # Many doubts and a long list take seconds of CPU, in which a worker must go on beating.
    told = [(sent[job.upstream_job_id], job.prompt) for job in reading.jobs if job.upstream_job_id in sent]
    seen = Seen(free, reading.begun_at, whole_since, reading.skew, verbatim=matching.verbatim(told))
    decision = await asyncio.to_thread(matching.decide, everyone, seen)
    for doubt, job in decision.matches:
        await discovery.discover(shop, doubt.job_id, doubt.number, job, Evidence.JOB_LIST)
    shown = {job.upstream_job_id for job in reading.jobs}
    latest = max((each.opened_at for each in known if each.upstream_job_id in shown), default=None)
    await _note_reading(shop, everyone, decision.absent, reading.begun_at if whole_since is not None else None)
    for doubt in decision.absent:
        # By the last moment at which it can have been sent, which for most is the first one too.
        vouched = latest is not None and latest > doubt.quiet_at - outcomes.QUIET
        await _absent(shop, doubt, reading.begun_at, vouched=vouched)


async def _note_reading(
    shop: Shop, everyone: list[Doubt], absent: tuple[Doubt, ...], whole_at: datetime | None
) -> None:
    """Write that the attempts were looked for, and forget an absence that this reading does not bear out."""
    if whole_at is None:
        return
    missing = {(doubt.job_id, doubt.number) for doubt in absent}
    async with shop.database.write() as tx:
        for doubt in everyone:
            if doubt.unknown:
                values: dict[str, object] = {"looked_at": whole_at}
                if (doubt.job_id, doubt.number) not in missing:
                    values["absent_at"] = None
                await tx.execute(
                    _attempt.update()
                    .where(_attempt.c.job_id == doubt.job_id, _attempt.c.number == doubt.number)
                    .values(**values)
                )


async def _absent(shop: Shop, doubt: Doubt, begun_at: datetime, *, vouched: bool) -> None:
    """The list does not show it. Believed if a later job of ours is shown, or at the second reading."""
    async with shop.database.write() as tx:
        case = await settlement.quiet(tx, doubt.job_id, doubt.number, shop.clock.now())
        if case is None:
            return
        mine = sa.and_(_attempt.c.job_id == doubt.job_id, _attempt.c.number == doubt.number)
        row = (await tx.execute(sa.select(_attempt.c.absent_at, _attempt.c.hint_due_at).where(mine))).one()
        if row.hint_due_at is not None:
            # The upstream has called about it; that is verified first.
            return
        if not vouched and (row.absent_at is None or begun_at - row.absent_at < SECOND_READING):
            if row.absent_at is None:
                await tx.execute(_attempt.update().where(mine).values(absent_at=begun_at))
            return
        job = await settlement.not_taken(tx, case, Evidence.NOT_LISTED, shop.unknown_wait_s)
    traced.settled(shop, job, doubt.number, case.opened_at, Evidence.NOT_LISTED)
    await discovery.nudge(shop, job)
