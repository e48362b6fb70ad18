"""The end of a shared generation: who followed ends with its leader, in the leader's own transaction.

A follower gets picture rows of its own and pays nothing. What was made is kept for the next who asks, in each place
that it answers. Called by ``endings``, which counts and announces. Of a leader that left before it sent knows
``handing``.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import ids
from gateway.jobs import record
from gateway.jobs.record import Job
from gateway.jobs.states import Failure, State
from gateway.ledger.entries import windows
from gateway.reuse import choices, entries, flights, hits
from gateway.reuse.entries import Keeping
from gateway.reuse.flights import Flight
from gateway.reuse.hits import Saved
from gateway.reuse.places import POOL, Place
from gateway.storage import database, tables

#: A line longer than this takes longer than a transaction may.
_LONG: Final = 300
_ROWS_AT_ONCE: Final = 1000

_job = tables.jobs
_image = tables.images

log = structlog.get_logger(__name__)


async def landed(tx: AsyncConnection, ended: Job, now: datetime) -> list[Job]:
    """Close the ended job's flight, end all who follow it as it ended, and keep its pictures; those who followed.

    The job's row is locked. One that failed as unknown and was found after all takes along whom it failed with.
    """
    completed = ended.state is State.COMPLETED
    flight = await flights.led_by(tx, ended.id)
    others: list[Job] = []
    if flight is not None:
        await flights.close(tx, flight, ended.error_code or ended.state, now)
    if flight is not None or completed:
        others = await _follow(tx, ended, now)
    if completed:
        await _give_pictures(tx, ended, others, now)
        await _keep(tx, ended, others, flight, now)
    if others:
        log.info("flight_landed", job_id=ended.id, followers=len(others), state=ended.state)
    return others


async def count_saved(tx: AsyncConnection, ended: Job, others: Sequence[Job], now: datetime) -> None:
    """Count what those who followed a completed job have saved."""
    if ended.state is not State.COMPLETED or not others:
        return
    day, micros = windows(now).day, ended.cost_micros or 0
    await hits.count(tx, [Saved(each.team_id, each.model, day, 1, micros) for each in others])


async def _follow(tx: AsyncConnection, ended: Job, now: datetime) -> list[Job]:
    """End those who follow, oldest first, as their leader ended."""
    living = _job.c.ended_at.is_(None)
    mine = _job.c.follows == ended.id
    doubted = sa.and_(
        _job.c.state == State.FAILED,
        _job.c.error_code == Failure.SUBMISSION_UNKNOWN,
        # What was erased meanwhile shows nothing any more, and could not be erased once again.
        _job.c.pictures_erased_at.is_(None),
    )
    which = sa.and_(mine, sa.or_(living, doubted) if ended.state is State.COMPLETED else living)
    line = sa.select(_job.c.id).where(which).order_by(_job.c.created_at, _job.c.id).with_for_update()
    job_ids = (await tx.execute(line)).scalars().all()
    if not job_ids:
        return []
    if len(job_ids) > _LONG:
        await database.take_long(tx)
    rows = await tx.execute(
        _job.update()
        .where(which)
        .values(
            state=ended.state,
            # What was shown was the sum of both; what failed before showed its own.
            version=_job.c.version + sa.case((living, ended.version), else_=1),
            ended_at=now,
            partial=ended.partial,
            error_code=ended.error_code,
            error_message=ended.error_message,
            claim=None,
        )
        .returning(_job)
    )
    found = {row.id: record.job(row) for row in rows}
    return [found[job_id] for job_id in job_ids if job_id in found]


async def _give_pictures(tx: AsyncConnection, ended: Job, others: Sequence[Job], now: datetime) -> None:
    if not others:
        return
    found = await tx.execute(sa.select(_image).where(_image.c.job_id == ended.id).order_by(_image.c.position))
    pictures = [dict(row) for row in found.mappings()]
    rows = [copy(picture, job.id, job.team_id, now) for job in others for picture in pictures]
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        await tx.execute(_image.insert(), rows[start : start + _ROWS_AT_ONCE])


def copy(picture: dict[str, Any], job_id: str, team_id: str, now: datetime) -> dict[str, Any]:
    """A row of ``images`` for another job that shows the same object."""
    return {**picture, "id": ids.image(), "job_id": job_id, "team_id": team_id, "created_at": now}


async def _keep(tx: AsyncConnection, ended: Job, others: Sequence[Job], flight: Flight | None, now: datetime) -> None:
    """Let the pictures answer the request from now on: in the place of each team, and in the pool of the flight."""
    if ended.partial:
        return
    keepable = [job for job in (ended, *others) if job.fingerprint is not None]
    wanted: dict[Place, Job] = {}
    for job in keepable:
        wanted.setdefault(Place(job.team_id, job.fingerprint or ""), job)
    if flight is not None and flight.place.scope == POOL and keepable:
        wanted[flight.place] = keepable[0]
    lives: dict[str, int | None] = {}
    for team_id in sorted({job.team_id for job in wanted.values()}):
        lives[team_id] = (await choices.of(tx, team_id)).ttl_s
    # In the order of their keys, so that two ends at once lock the same rows in the same order.
    for place in sorted(wanted, key=lambda place: (place.scope, place.fingerprint)):
        job = wanted[place]
        kept = Keeping(job.team_id, job.model, job.id, ended.cost_micros or 0, lives[job.team_id])
        await entries.put(tx, place, kept, now)
