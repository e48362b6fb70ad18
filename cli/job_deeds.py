"""An operator's deeds on one job, each by the house's own rule, each in the audit log. Holds no rule itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, Final

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncConnection

from cli import job_pages, stores
from gateway import errors
from gateway.images import catalogue
from gateway.jobs import desk, queue, settlement
from gateway.jobs.accept import Caller
from gateway.jobs.parts import Counter
from gateway.jobs.queue import Step
from gateway.jobs.record import Job
from gateway.jobs.settlement import Verdict
from gateway.jobs.states import ENDED, State
from gateway.storage import valkey
from gateway.storage.stores import Stores
from gateway.tenancy import audit, teams

_STEPS: Final = MappingProxyType({State.RUNNING: Step.POLL, State.ARCHIVING: Step.ARCHIVE})


async def cancel(job_id: str, team: str | None) -> dict[str, Any]:
    """Take a queued job back; ``Conflict`` once it was sent."""
    async with stores.opened() as house, _redis(house) as redis:
        before = await _find(house, job_id, team)
        counter = Counter(house.database, catalogue.load(house.settings.catalogue), queue.open(redis), house.clock)
        after = await desk.cancel(counter, Caller(before.team_id, before.key_id), before.id, whole_team=True)
        return await _noted(house, "job.cancel", before, after)


async def requeue(job_id: str) -> dict[str, Any]:
    """Send the workers a nudge about a job that waits for one; ``Conflict`` if it cannot need one."""
    async with stores.opened() as house, _redis(house) as redis:
        job = await _find(house, job_id, None)
        if job.state in ENDED:
            raise errors.Conflict(f"the job is {job.state}; there is nothing left to do for it", param="job")
        if job.state is not State.QUEUED and job.state not in _STEPS:
            raise errors.Conflict(
                f"the job is {job.state}: its POST may have been taken, so it is never sent again; "
                "see: torii jobs settle --help",
                param="job",
            )
        await stores.reach_redis(redis)
        line = queue.open(redis)
        if job.state is State.QUEUED:
            await line.submit()
        else:
            await line.step(_STEPS[job.state], job)
        return await _noted(house, "job.requeue", job, job)


async def settle(job_id: str, verdict: Verdict) -> dict[str, Any]:
    """End the doubt about an unknown submission; ``Conflict`` if there is none, or it is too early."""
    async with stores.opened() as house:
        before = await _find(house, job_id, None)
        after = await settlement.settle(house.database, house.clock, before.id, verdict)
        return await _noted(house, "job.settle", before, after, verdict=verdict.value)


async def found(job_id: str, upstream_job_id: str) -> dict[str, Any]:
    """Let an unknown submission run as the upstream job that an operator found."""
    async with stores.opened() as house:
        before = await _find(house, job_id, None)
        after = await settlement.found(house.database, house.clock, before.id, upstream_job_id)
        return await _noted(house, "job.settle", before, after, upstreamJobId=upstream_job_id)


async def _find(house: Stores, job_id: str, team: str | None) -> Job:
    async with house.database.read() as connection:
        job = await job_pages.find(connection, job_id)
        if team is not None and (await teams.find(connection, team)).id != job.team_id:
            raise errors.JobNotFound(f"team {team!r} has no job {job_id[:80]!r}", param="job")
        return job


async def _noted(house: Stores, action: str, before: Job, after: Job, **details: str) -> dict[str, Any]:
    async with house.database.write() as tx:
        await audit.note(
            tx,
            actor="cli",
            action=action,
            subject=after.id,
            team_id=after.team_id,
            before={"state": before.state.value},
            after={"state": after.state.value, **details},
            at=house.clock.now(),
        )
        return job_pages.row(after, await _team_name(tx, after))


async def _team_name(connection: AsyncConnection, job: Job) -> str:
    return (await teams.find(connection, job.team_id)).name


@asynccontextmanager
async def _redis(house: Stores) -> AsyncIterator[Redis]:
    redis = valkey.open(house.settings.reveal("redis_url"))
    try:
        yield redis
    finally:
        await redis.aclose()
