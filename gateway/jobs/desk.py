"""What a caller may do with a job that exists: read it, take it back. The team comes first in each question."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.jobs import endings, handing, lookup
from gateway.jobs.accept import Caller
from gateway.jobs.parts import Counter
from gateway.jobs.record import Image, Job
from gateway.jobs.snapshots import Snapshot
from gateway.jobs.states import State
from gateway.reuse import flights

#: Each round lost means that the job came to lead, or was sent, between two statements.
_ROUNDS: Final = 3


@dataclass(frozen=True)
class Reading:
    """A job, its pictures, and what its caller may still spend in micro-credits, as far as that is known."""

    job: Job
    images: list[Image]
    remaining_micros: int | None


async def read(counter: Counter, caller: Caller, job_id: str, *, whole_team: bool) -> Reading:
    """The caller's job with its pictures; ``JobNotFound`` for one that is not the team's, or not the key's."""
    async with counter.database.read() as connection:
        job = await lookup.find(connection, caller.team_id, job_id, None if whole_team else caller.key_id)
        job = await lookup.shown(connection, job)
        images = await lookup.images(connection, caller.team_id, job_id) if job.state is State.COMPLETED else []
        return Reading(job, images, await remaining_micros(connection, caller, counter.clock.now()))


async def read_again(counter: Counter, caller: Caller, job_id: str, *, whole_team: bool) -> Reading:
    """As ``read``; of what ended for good it may be a minute old, and what is left to its caller a few seconds."""
    if not whole_team:
        return await read(counter, caller, job_id, whole_team=False)
    library = counter.library
    found = await library.snapshots.look(caller.team_id, job_id)
    if isinstance(found, Snapshot):
        remaining = await library.purse.remaining(caller.team_id, caller.key_id)
        return Reading(found.job, found.images, remaining)
    reading = await read(counter, caller, job_id, whole_team=True)
    library.purse.note(caller.team_id, caller.key_id, reading.remaining_micros)
    if found is not None:
        library.snapshots.keep(reading.job, reading.images, found)
    return reading


async def remaining_micros(connection: AsyncConnection, caller: Caller, now: datetime) -> int | None:
    """What is left of the tightest budget of team and key; without any, the upstream's balance as last seen."""
    return await lookup.remaining_micros(connection, caller.team_id, caller.key_id, now)


async def cancel(counter: Counter, caller: Caller, job_id: str, *, whole_team: bool) -> Job:
    """Take a job back, its hold with it: while it is queued, and one that follows another until its end.

    ``Conflict`` with the reason once it was sent or has ended.
    """
    async with counter.database.write() as tx:
        job = await lookup.find(tx, caller.team_id, job_id, None if whole_team else caller.key_id)
        ended = await cancel_in(tx, job, counter.clock.now())
    await counter.queue.ended(ended)
    if ended.version != job.version and job.follows is None:
        # Who followed it may lead now.
        await counter.queue.submit(hint=f"heir:{ended.id}")
    return ended


async def cancel_in(tx: AsyncConnection, job: Job, now: datetime) -> Job:
    """As ``cancel``, in the caller's own transaction."""
    for _ in range(_ROUNDS):
        if job.state is State.CANCELLED:
            return job
        if job.state is not State.QUEUED:
            break
        if job.follows is None:
            ended = await endings.cancel(tx, job, now)
            if ended is not None:
                await handing.over(tx, ended, now)
                return ended
        elif await flights.leave(tx, job.id):
            ended = await endings.cancel(tx, job, now)
            if ended is not None:
                await endings.count_left(tx, ended)
                return ended
        # It was sent, ended, or came to lead this very moment.
        job = await lookup.find(tx, job.team_id, job.id)
    raise errors.Conflict(
        f"the job is {job.state}; only a queued job can be cancelled, since the upstream has no cancel",
        param="jobId",
    )
