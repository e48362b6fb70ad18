"""The poll step: one free look at a running job, and what was seen, written. Never submits anything.

Any worker can take it, since the upstream's job id was committed before the first look.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import claims, endings, expect, lookup, pace, record, schedule
from gateway.jobs.parts import Shop
from gateway.jobs.queue import Step
from gateway.jobs.record import Job
from gateway.jobs.states import Failure, State
from gateway.storage import tables
from gateway.upstream import answers, pacer

#: A job that the upstream does not know is asked for this long, then it is lost.
MISSING_PATIENCE = timedelta(minutes=10)
#: A job that never ends is lost after this long.
LONGEST_RUN = timedelta(hours=24)
#: After this long upstream a job is looked at slowly.
STALLED_AFTER = timedelta(minutes=15)
_STALLED_STEP = timedelta(minutes=1)
#: "Completed" without a picture is read this often before it is believed.
EMPTY_READS = 3
_BACKOFF_MAX_S = 60.0
#: The upstream may keep results for an hour only (pixeldojo.md 2.9), whatever its answer says.
RESULT_LIFE = timedelta(hours=1)
_HALT_S = 5.0

_job = tables.jobs

log = structlog.get_logger(__name__)


async def poll(shop: Shop, job_id: str) -> None:
    """Look at the job once, if it is due and free."""
    async with shop.database.read() as connection:
        job = await lookup.any_team(connection, job_id)
        if job is None or job.state is not State.RUNNING or job.claim is not None:
            return
        probing = await _probing(connection, shop, job)
    wait_s = await pace.take(shop, pacer.PROBE_RESERVE if probing else pacer.POLL_RESERVE)
    if wait_s:
        await _postpone(shop, job, wait_s)
        return
    claimed = await claims.take(shop, job_id, State.RUNNING, shop.clock.now())
    if claimed is None or claimed.upstream_job_id is None:
        return
    async with claims.held(shop, claimed):
        reading = await shop.upstream.poll(claimed.upstream_job_id)
        if isinstance(reading, answers.Unreadable) and reading.status_code == 429:
            await pace.halt(shop, reading.retry_after_s or _HALT_S)
        after = await _note(shop, claimed, reading)
    if after is not None:
        await _announce(shop, after)


async def _probing(connection: AsyncConnection, shop: Shop, job: Job) -> bool:
    elapsed_s = (shop.clock.now() - (job.accepted_at or job.due_at)).total_seconds()
    if elapsed_s >= schedule.typical_s(shop, job):
        return False
    return len(await schedule.seen(connection, job)) < expect.ENOUGH


async def _postpone(shop: Shop, job: Job, wait_s: float) -> None:
    async with shop.database.write() as tx:
        row = (
            await tx.execute(
                sa.select(_job)
                .where(_job.c.id == job.id, _job.c.state == State.RUNNING, _job.c.claim.is_(None))
                .with_for_update()
            )
        ).first()
        if row is None:
            return
        later = await schedule.due(tx, job, shop.clock.now() + timedelta(seconds=wait_s))
    await shop.queue.step(Step.POLL, later)


async def _note(shop: Shop, job: Job, reading: answers.Reading) -> Job | None:
    now = shop.clock.now()
    async with shop.database.write() as tx:
        match reading:
            case answers.Finished(results=()):
                return await _empty(tx, job, now)
            case answers.Finished():
                return await _finished(tx, shop, job, reading, now)
            case answers.Failed():
                return await endings.fail(tx, job, Failure.UPSTREAM_FAILED, reading.message, now)
            case answers.Missing():
                return await _missing(tx, job, now)
            case answers.Working():
                return await _unfinished(tx, shop, job, reading, now)
            case answers.Unreadable():
                return await _unreadable(tx, job, reading, now)


async def _finished(tx: AsyncConnection, shop: Shop, job: Job, reading: answers.Finished, now: datetime) -> Job | None:
    keep_until = now + RESULT_LIFE
    if reading.expires_at is not None and reading.expires_at > now:
        keep_until = min(keep_until, reading.expires_at)
    after = await _write(
        tx,
        job,
        state=State.ARCHIVING,
        version=_job.c.version + 1,
        results=[{"url": result.url, "seed": result.seed} for result in reading.results],
        results_expire_at=keep_until,
        finished_upstream_at=now,
        due_at=now,
    )
    if after is None or job.accepted_at is None:
        return after
    low_s = ((job.last_unfinished_at or job.accepted_at) - job.accepted_at).total_seconds()
    high_s = (now - job.accepted_at).total_seconds()
    await tx.execute(
        tables.durations.insert().values(
            job_id=job.id,
            model=job.model,
            resolution=job.resolution,
            low_s=max(low_s, 0.0),
            high_s=max(high_s, low_s, 0.0),
            recorded_at=now,
        )
    )
    shop.metrics.job_stage_duration.labels("upstream").observe(max(high_s, 0.0))
    # Not before the last "not yet", so at most this long ago.
    shop.metrics.upstream_lag.labels(job.model).observe(max(high_s - low_s, 0.0))
    return after


async def _empty(tx: AsyncConnection, job: Job, now: datetime) -> Job | None:
    if job.empty_results + 1 >= EMPTY_READS:
        return await endings.fail(
            tx, job, Failure.UPSTREAM_FAILED, "the upstream reported completion without a picture", now
        )
    again = now + timedelta(seconds=1 + job.empty_results)
    return await _write(tx, job, empty_results=job.empty_results + 1, due_at=again)


async def _missing(tx: AsyncConnection, job: Job, now: datetime) -> Job | None:
    since = job.missing_since_at or now
    if now - since >= MISSING_PATIENCE:
        return await endings.fail(tx, job, Failure.UPSTREAM_LOST, "the upstream no longer knows this job", now)
    wait_s = min(2.0 + (now - since).total_seconds() / 2, _BACKOFF_MAX_S)
    return await _write(tx, job, missing_since_at=since, due_at=now + timedelta(seconds=wait_s))


async def _unfinished(tx: AsyncConnection, shop: Shop, job: Job, reading: answers.Working, now: datetime) -> Job | None:
    if _too_old(job, now):
        return await endings.fail(tx, job, Failure.UPSTREAM_LOST, f"still {reading.status!r} upstream after a day", now)
    at = await schedule.next_look(tx, shop, job, now)
    if job.accepted_at is not None and now - job.accepted_at > STALLED_AFTER:
        at = now + _STALLED_STEP
    return await _write(tx, job, last_unfinished_at=now, missing_since_at=None, poll_failures=0, due_at=at)


async def _unreadable(tx: AsyncConnection, job: Job, reading: answers.Unreadable, now: datetime) -> Job | None:
    if _too_old(job, now):
        return await endings.fail(
            tx, job, Failure.UPSTREAM_LOST, "the upstream did not tell for a day how the job went", now
        )
    log.warning("poll_unreadable", job_id=job.id, reason=reading.reason)
    wait_s = max(reading.retry_after_s or 0.0, min(2.0 ** min(job.poll_failures, 6), _BACKOFF_MAX_S))
    return await _write(tx, job, poll_failures=job.poll_failures + 1, due_at=now + timedelta(seconds=wait_s))


def _too_old(job: Job, now: datetime) -> bool:
    return job.accepted_at is not None and now - job.accepted_at > LONGEST_RUN


async def _write(tx: AsyncConnection, job: Job, **values: object) -> Job | None:
    """Write what was seen and end the claim; none if the job was moved by someone else meanwhile."""
    row = (
        await tx.execute(
            _job.update()
            .where(_job.c.id == job.id, _job.c.state == State.RUNNING, _job.c.claim == job.claim)
            .values(
                **values,
                polls=_job.c.polls + 1,
                nudges=_job.c.nudges + 1,
                claim=None,
                claimed_by=None,
                claimed_at=None,
            )
            .returning(_job)
        )
    ).first()
    return None if row is None else record.job(row)


async def _announce(shop: Shop, job: Job) -> None:
    if job.state is State.RUNNING:
        await shop.queue.step(Step.POLL, job)
        return
    log.info("upstream_done", job_id=job.id, state=job.state, polls=job.polls)
    if job.state is State.ARCHIVING:
        await shop.queue.step(Step.ARCHIVE, job)
    # Its slot upstream is free.
    await shop.queue.submit(hint=f"{job.id}:slot")
