"""The poll step: one free look at a running job, and what was seen, written. Never submits anything.

Any worker can take it, since the upstream's job id was committed before the first look.
"""

from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import account, claims, endings, line, pace, record, schedule, traced
from gateway.jobs.line import Turn
from gateway.jobs.parts import Shop
from gateway.jobs.queue import Step
from gateway.jobs.record import Job
from gateway.jobs.states import Failure, State
from gateway.storage import tables
from gateway.upstream import answers

#: A job that the upstream does not know is asked for this long, then it is lost.
MISSING_PATIENCE = timedelta(minutes=10)
#: So many unknown jobs at once are not lost: it is the wrong account.
MANY_MISSING = 3
#: A job that never ends is lost after this long.
LONGEST_RUN = timedelta(hours=24)
_STALLED_STEP = timedelta(minutes=1)
#: "Completed" without a picture is read this often before it is believed.
EMPTY_READS = 3
_BACKOFF_MAX_S = 60.0
_KNOWN = (answers.Finished, answers.Failed, answers.Working)

_job = tables.jobs

log = structlog.get_logger(__name__)


async def poll(shop: Shop, job_id: str) -> None:
    """Look once at the job whose turn it is among those that are due; the id is only the hint of a nudge."""
    del job_id
    claimed = await shop.turnstiles.poll.through(partial(_claim, shop))
    if claimed is None or claimed.upstream_job_id is None:
        return
    with structlog.contextvars.bound_contextvars(job_id=claimed.id), traced.step(shop, claimed, "poll") as span:
        async with claims.held(shop, claimed):
            reading = await shop.upstream.poll(claimed.upstream_job_id)
            after = await _note(shop, claimed, reading)
        traced.answered(span, reading, after)
        if after is not None:
            await _announce(shop, after)


async def _claim(shop: Shop) -> Job | None:
    """Claim the job whose turn it is, if the budget has a request for it."""
    now = shop.clock.now()
    async with shop.database.read() as connection:
        turns = await line.turns(connection, shop, now)
    waits_s = []
    for turn in turns:
        wait_s = await pace.take(shop, turn.reserve, stalled=turn.stalled)
        if not wait_s:
            return await _take_turn(shop, turn, sum(len(each.job_ids) for each in turns))
        waits_s.append(wait_s)
    if waits_s:
        await shop.queue.look(turns[-1].job_ids[0], now + timedelta(seconds=min(waits_s)))
    return None


async def _take_turn(shop: Shop, turn: Turn, due: int) -> Job | None:
    claimed = await claims.take_first(shop, turn.job_ids, State.RUNNING, shop.clock.now())
    if due > 1:
        # Others wait, whose nudges may have come when there was no budget.
        await shop.queue.look(turn.job_ids[-1], shop.clock.now())
    if claimed is None or claimed.upstream_job_id is None:
        await pace.give_back(shop, stalled=turn.stalled)
        return None
    return claimed


async def _note(shop: Shop, job: Job, reading: answers.Reading) -> Job | None:
    now = shop.clock.now()
    async with shop.database.write() as tx:
        if job.missing_since_at is not None and isinstance(reading, _KNOWN):
            await account.right_account(tx)
        match reading:
            case answers.Finished(results=()):
                return await _empty(tx, job, now)
            case answers.Finished():
                return await _finished(tx, shop, job, reading, now)
            case answers.Failed():
                return await endings.fail(tx, job, Failure.UPSTREAM_FAILED, reading.message, now, held=True)
            case answers.Missing():
                return await _missing(tx, job, now)
            case answers.Working():
                return await _unfinished(tx, shop, job, reading, now)
            case answers.Unreadable():
                return await _unreadable(tx, job, reading, now)


async def _finished(tx: AsyncConnection, shop: Shop, job: Job, reading: answers.Finished, now: datetime) -> Job | None:
    keep_until = now + line.RESULT_LIFE
    if reading.expires_at is not None and reading.expires_at > now:
        keep_until = min(keep_until, reading.expires_at)
    after = await _write(
        tx,
        job,
        state=State.ARCHIVING,
        results=[{"url": result.url, "seed": result.seed} for result in reading.results],
        results_expire_at=keep_until,
        finished_upstream_at=now,
        due_at=now,
    )
    if after is None or job.accepted_at is None:
        return after
    took = await schedule.learn(tx, shop, job, now)
    shop.metrics.job_stage_duration.labels("upstream").observe(took.high_s)
    # Not before the last "not yet", so at most this long ago.
    shop.metrics.upstream_lag.labels(job.model).observe(took.high_s - took.low_s)
    return after


async def _empty(tx: AsyncConnection, job: Job, now: datetime) -> Job | None:
    if job.empty_results + 1 >= EMPTY_READS:
        return await endings.fail(
            tx, job, Failure.UPSTREAM_FAILED, "the upstream reported completion without a picture", now, held=True
        )
    again = now + timedelta(seconds=1 + job.empty_results)
    return await _write(tx, job, empty_results=job.empty_results + 1, due_at=again)


async def _missing(tx: AsyncConnection, job: Job, now: datetime) -> Job | None:
    since = job.missing_since_at or now
    # The job before the account, as everywhere.
    await tx.execute(sa.select(_job.c.id).where(_job.c.id == job.id).with_for_update())
    # Once an operator has said to go on, only jobs that go missing anew make a crowd.
    crowd = job.missing_since_at is None and await _crowd(tx, job, now)
    waits = await account.wrong_account(tx, now, crowd=crowd)
    if now - since >= MISSING_PATIENCE and (not waits or _too_old(job, now)):
        return await endings.fail(
            tx, job, Failure.UPSTREAM_LOST, "the upstream no longer knows this job", now, held=True
        )
    wait_s = min(2.0 + (now - since).total_seconds() / 2, _BACKOFF_MAX_S)
    return await _write(tx, job, missing_since_at=since, due_at=now + timedelta(seconds=wait_s))


async def _crowd(tx: AsyncConnection, job: Job, now: datetime) -> bool:
    """Whether with this job many are unknown at once, and more than were found lately: it is the wrong account."""
    known = sa.and_(_job.c.missing_since_at.is_(None), _job.c.last_unfinished_at > now - MISSING_PATIENCE)
    row = (
        await tx.execute(
            sa.select(
                sa.func.count(_job.c.missing_since_at).label("missing"),
                sa.func.sum(sa.case((known, 1), else_=0)).label("known"),
            ).where(_job.c.state == State.RUNNING, _job.c.id != job.id)
        )
    ).one()
    return bool(row.missing + 1 >= MANY_MISSING and row.missing + 1 > (row.known or 0))


async def _unfinished(tx: AsyncConnection, shop: Shop, job: Job, reading: answers.Working, now: datetime) -> Job | None:
    if _too_old(job, now):
        return await endings.fail(
            tx, job, Failure.UPSTREAM_LOST, f"still {reading.status!r} upstream after a day", now, held=True
        )
    at = await schedule.next_look(tx, shop, job, now)
    if job.accepted_at is not None and now - job.accepted_at > line.STALLED_AFTER:
        at = now + _STALLED_STEP
    return await _write(tx, job, last_unfinished_at=now, missing_since_at=None, poll_failures=0, due_at=at)


async def _unreadable(tx: AsyncConnection, job: Job, reading: answers.Unreadable, now: datetime) -> Job | None:
    if _too_old(job, now):
        return await endings.fail(
            tx, job, Failure.UPSTREAM_LOST, "the upstream did not tell for a day how the job went", now, held=True
        )
    log.warning("poll_unreadable", job_id=job.id, reason=reading.reason)
    wait_s = max(reading.retry_after_s or 0.0, min(2.0 ** min(job.poll_failures, 6), _BACKOFF_MAX_S))
    return await _write(tx, job, poll_failures=job.poll_failures + 1, due_at=now + timedelta(seconds=wait_s))


def _too_old(job: Job, now: datetime) -> bool:
    return job.accepted_at is not None and now - job.accepted_at > LONGEST_RUN


async def _write(tx: AsyncConnection, job: Job, **values: object) -> Job | None:
    """Write what was seen and end the claim; none if the job was moved by someone else meanwhile."""
    row = (await tx.execute(_writing(moves="state" in values), {"of_job": job.id, "held": job.claim, **values})).first()
    return None if row is None else record.job(row)


# Made once, as those of the claims are; what else is written comes beside it, by the columns' names.
@lru_cache
def _writing(*, moves: bool) -> Any:  # noqa: ANN401  SQLAlchemy does not hand out its type
    return (
        _job.update()
        .where(
            _job.c.id == sa.bindparam("of_job"),
            _job.c.state == State.RUNNING,
            _job.c.claim == sa.bindparam("held"),
        )
        .values(
            version=_job.c.version + (1 if moves else 0),
            polls=_job.c.polls + 1,
            nudges=_job.c.nudges + 1,
            claim=None,
            claimed_by=None,
            claimed_at=None,
        )
        .returning(_job)
    )


async def _announce(shop: Shop, job: Job) -> None:
    if job.state is State.RUNNING:
        await shop.queue.step(Step.POLL, job)
        return
    log.info("upstream_done", job_id=job.id, state=job.state, polls=job.polls)
    if job.state is State.ARCHIVING:
        await shop.queue.step(Step.ARCHIVE, job)
    await shop.queue.ended(job)
    # Its slot upstream is free.
    await claims.call_next(shop, f"{job.id}:slot")
