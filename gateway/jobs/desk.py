"""What a caller may do with a job that exists: read it, take it back. The team comes first in each question."""

from dataclasses import dataclass

from gateway import errors
from gateway.jobs import endings, lookup
from gateway.jobs.accept import Caller
from gateway.jobs.parts import Counter
from gateway.jobs.record import Image, Job
from gateway.jobs.states import State
from gateway.ledger import book


@dataclass(frozen=True)
class Reading:
    """A job, its pictures, and the upstream's balance as last seen, in micro-credits."""

    job: Job
    images: list[Image]
    remaining_micros: int | None


async def read(counter: Counter, caller: Caller, job_id: str, *, whole_team: bool) -> Reading:
    """The caller's job with its pictures; ``JobNotFound`` for one that is not the team's, or not the key's."""
    async with counter.database.read() as connection:
        job = await lookup.find(connection, caller.team_id, job_id, None if whole_team else caller.key_id)
        images = await lookup.images(connection, caller.team_id, job_id) if job.state is State.COMPLETED else []
        return Reading(job, images, await lookup.balance_seen(connection))


async def cancel(counter: Counter, caller: Caller, job_id: str, *, whole_team: bool) -> Job:
    """Take a queued job back, its hold with it; ``Conflict`` with the reason once it was sent or has ended."""
    now = counter.clock.now()
    async with counter.database.write() as tx:
        job = await lookup.find(tx, caller.team_id, job_id, None if whole_team else caller.key_id)
        if job.state is State.CANCELLED:
            return job
        ended = await endings.cancel(tx, job, now) if job.state is State.QUEUED else None
        if ended is None:
            raise errors.Conflict(
                f"the job is {job.state}; only a queued job can be cancelled, since the upstream has no cancel",
                param="jobId",
            )
        await book.release(tx, await book.find(tx, job.id, ended.attempt), now)
    return ended
