"""An operator's deeds on one job, each in the caller's transaction and with its record in the audit log.

Sends no nudge: whoever calls does, once the transaction is committed.
"""

from datetime import datetime
from types import MappingProxyType
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.jobs import admin, desk, settlement
from gateway.jobs.queue import Step
from gateway.jobs.record import Job
from gateway.jobs.settlement import Verdict
from gateway.jobs.states import ENDED, State
from gateway.tenancy import audit

#: The step that a job in this state waits for.
STEPS: Final = MappingProxyType({State.QUEUED: Step.SUBMIT, State.RUNNING: Step.POLL, State.ARCHIVING: Step.ARCHIVE})


async def cancel(tx: AsyncConnection, actor: str, job_id: str, now: datetime) -> Job:
    """Take a queued job back; ``Conflict`` once it was sent."""
    before = await admin.find(tx, job_id)
    return await _noted(tx, actor, "job.cancel", before, await desk.cancel_in(tx, before, now), now)


async def settle(tx: AsyncConnection, actor: str, job_id: str, verdict: Verdict, now: datetime) -> Job:
    """End the doubt about an unknown submission; ``Conflict`` if there is none, or it is too early."""
    before = await admin.find(tx, job_id)
    after = await settlement.settle_in(tx, now, before.id, verdict)
    return await _noted(tx, actor, "job.settle", before, after, now, verdict=verdict.value)


async def found(tx: AsyncConnection, actor: str, job_id: str, upstream_job_id: str, now: datetime) -> Job:
    """Let an unknown submission run as the upstream job that an operator found; ``Conflict`` as ``settle``."""
    before = await admin.find(tx, job_id)
    after = await settlement.found_in(tx, now, before.id, upstream_job_id)
    return await _noted(tx, actor, "job.settle", before, after, now, upstreamJobId=upstream_job_id)


async def requeue(tx: AsyncConnection, actor: str, job_id: str, now: datetime) -> Job:
    """A job that may be nudged; ``Conflict`` for one that has ended, or whose POST may have been taken."""
    job = await admin.find(tx, job_id)
    if job.state in ENDED:
        raise errors.Conflict(f"the job is {job.state}; there is nothing left to do for it", param="job")
    if job.follows is not None:
        raise errors.Conflict(f"the job follows {job.follows}, whose pictures it gets; nudge that one", param="job")
    if job.state not in STEPS:
        raise errors.Conflict(
            f"the job is {job.state}: its POST may have been taken, so it is never sent again; it can be settled",
            param="job",
        )
    return await _noted(tx, actor, "job.requeue", job, job, now)


async def _noted(
    tx: AsyncConnection, actor: str, action: str, before: Job, after: Job, now: datetime, **details: str
) -> Job:
    await audit.note(
        tx,
        actor=actor,
        action=action,
        subject=after.id,
        team_id=after.team_id,
        before={"state": before.state.value},
        after={"state": after.state.value, **details},
        at=now,
    )
    return after
