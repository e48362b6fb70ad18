"""When a job's next step is due, as the row says it. Writes ``due_at`` in the caller's transaction; nudges nobody."""

import zlib
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import expect, hooks, record
from gateway.jobs.expect import Forecast, Look
from gateway.jobs.inspection import Interval
from gateway.jobs.parts import Shop
from gateway.jobs.record import Job
from gateway.storage import tables

#: A model that left the catalogue while its job ran is looked at as if it were the slowest of them.
_UNKNOWN_MODEL_S = 44.0
#: A call of the upstream's arrives this long after the job's end, at most, or it tells nothing of the duration.
_CALL_DELAY_S = 1.0
#: A look that came sooner than planned by more than this was called for.
_EARLY_S = 0.1

_job = tables.jobs
_duration = tables.durations
_LEARNT = _duration.insert()


class Expected(Protocol):
    """As much of a job as says when it may be finished."""

    @property
    def model(self) -> str:
        """Its model's ``apiId``."""

    @property
    def resolution(self) -> str:
        """Its row in the model's price table."""

    @property
    def accepted_at(self) -> datetime | None:
        """When the upstream took it."""


async def _seen(connection: AsyncConnection, job: Expected) -> list[Interval]:
    """What the job's model and resolution took lately, newest first."""
    rows = await connection.execute(
        sa.select(_duration.c.low_s, _duration.c.high_s)
        .where(_duration.c.model == job.model, _duration.c.resolution == job.resolution)
        .order_by(_duration.c.recorded_at.desc())
        .limit(expect.MEMORY)
    )
    return [Interval(row.low_s, row.high_s) for row in rows]


async def forecast(connection: AsyncConnection, shop: Shop, job: Expected) -> Forecast:
    """What is expected of the job, by what its like took."""
    now_s = shop.clock.monotonic()
    found = shop.forecasts.find(job.model, job.resolution, now_s)
    if found is not None:
        return found
    called = shop.hook_base is not None and shop.forecasts.calls_come
    called = called and await hooks.understood(connection, shop.clock.now())
    return shop.forecasts.make(
        job.model, job.resolution, await _seen(connection, job), _typical_s(shop, job), now_s, called=called
    )


def _typical_s(shop: Shop, job: Expected) -> float:
    """The catalogue's word on how long the job's model takes."""
    return next((model.typical_s for model in shop.catalogue if model.api_id == job.model), _UNKNOWN_MODEL_S)


def elapsed_s(job: Expected, now: datetime) -> float:
    """How long the job has been upstream."""
    return max((now - (job.accepted_at or now)).total_seconds(), 0.0)


def _dither(job: Job, elapsed: float) -> float:
    """The job's own number from -1 to 1 for this look."""
    return zlib.crc32(f"{job.id}:{elapsed:.2f}".encode()) / 0x7FFFFFFF - 1.0


async def _look(connection: AsyncConnection, shop: Shop, job: Job, elapsed: float) -> Look:
    return (await forecast(connection, shop, job)).next_look(elapsed, _dither(job, elapsed))


async def first_look(tx: AsyncConnection, shop: Shop, job: Job, now: datetime) -> Job:
    """Schedule the first poll of a job that was just accepted."""
    look = await _look(tx, shop, job, 0.0)
    return await due(tx, job, now + timedelta(seconds=look.at_s))


async def next_look(tx: AsyncConnection, shop: Shop, job: Job, now: datetime) -> datetime:
    """The moment of the next poll of a job that is not finished."""
    look = await _look(tx, shop, job, elapsed_s(job, now))
    return (job.accepted_at or now) + timedelta(seconds=look.at_s)


async def learn(tx: AsyncConnection, shop: Shop, job: Job, now: datetime) -> Interval:
    """Take down how long a job took that was just seen finished, as the interval in which it ended."""
    low_s = 0.0 if job.last_unfinished_at is None else elapsed_s(job, job.last_unfinished_at)
    high_s = max(elapsed_s(job, now), low_s)
    if shop.hook_base is not None:
        planned = await _look(tx, shop, job, low_s)
        came = high_s < planned.at_s - _EARLY_S
        shop.forecasts.note_call(came=came)
        if came:
            low_s = max(low_s, high_s - _CALL_DELAY_S)
        elif low_s == 0.0 and planned.safety:
            # The call did not come, and the look that was there for that tells next to nothing of the duration.
            return Interval(low_s, high_s)
    took = {"low_s": low_s, "high_s": high_s, "recorded_at": now}
    await tx.execute(_LEARNT, {"job_id": job.id, "model": job.model, "resolution": job.resolution, **took})
    return Interval(low_s, high_s)


async def due(tx: AsyncConnection, job: Job, at: datetime) -> Job:
    """Make the job's next step due at a moment, under a new nudge number."""
    row = await tx.execute(_postponing(), {"of_job": job.id, "due_at": at})
    return record.job(row.one())


@lru_cache
def _postponing() -> Any:  # noqa: ANN401  SQLAlchemy does not hand out its type
    return _job.update().where(_job.c.id == sa.bindparam("of_job")).values(nudges=_job.c.nudges + 1).returning(_job)
