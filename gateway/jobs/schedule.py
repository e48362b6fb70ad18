"""When a job's next step is due, as the row says it. Writes ``due_at`` in the caller's transaction; nudges nobody."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import expect, record
from gateway.jobs.expect import Interval
from gateway.jobs.parts import Shop
from gateway.jobs.record import Job
from gateway.storage import tables

#: A model that left the catalogue while its job ran is looked at as if it were the slowest of them.
_UNKNOWN_MODEL_S = 44.0

_job = tables.jobs


async def seen(connection: AsyncConnection, job: Job) -> list[Interval]:
    """What the job's model and resolution took lately, newest first."""
    duration = tables.durations
    rows = await connection.execute(
        sa.select(duration.c.low_s, duration.c.high_s)
        .where(duration.c.model == job.model, duration.c.resolution == job.resolution)
        .order_by(duration.c.recorded_at.desc())
        .limit(expect.MEMORY)
    )
    return [Interval(row.low_s, row.high_s) for row in rows]


def typical_s(shop: Shop, job: Job) -> float:
    """The catalogue's word on how long the job's model takes."""
    return next((model.typical_s for model in shop.catalogue if model.api_id == job.model), _UNKNOWN_MODEL_S)


async def first_look(tx: AsyncConnection, shop: Shop, job: Job, now: datetime) -> Job:
    """Schedule the first poll of a job that was just accepted."""
    look = expect.next_look(0.0, await seen(tx, job), typical_s(shop, job))
    return await due(tx, job, now + timedelta(seconds=look.at_s))


async def next_look(tx: AsyncConnection, shop: Shop, job: Job, now: datetime) -> datetime:
    """The moment of the next poll of a job that is not finished."""
    accepted_at = job.accepted_at or now
    elapsed_s = max((now - accepted_at).total_seconds(), 0.0)
    look = expect.next_look(elapsed_s, await seen(tx, job), typical_s(shop, job))
    return accepted_at + timedelta(seconds=look.at_s)


async def due(tx: AsyncConnection, job: Job, at: datetime) -> Job:
    """Make the job's next step due at a moment, under a new nudge number."""
    row = await tx.execute(
        _job.update().where(_job.c.id == job.id).values(due_at=at, nudges=_job.c.nudges + 1).returning(_job)
    )
    return record.job(row.one())
