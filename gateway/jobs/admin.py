"""An operator's deeds that need more than one room, in the caller's transaction and with their record in the audit log.

Sends no nudge: whoever calls does, once the transaction is committed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.jobs import desk, lookup, record, settlement
from gateway.jobs.queue import Step
from gateway.jobs.record import Job
from gateway.jobs.settlement import Verdict
from gateway.jobs.states import ENDED, State
from gateway.storage import pages, tables
from gateway.storage.pages import Slice
from gateway.tenancy import audit, keys, teams
from gateway.tenancy.teams import Team

_job = tables.jobs

#: The step that a job in this state waits for.
STEPS: Final = MappingProxyType({State.QUEUED: Step.SUBMIT, State.RUNNING: Step.POLL, State.ARCHIVING: Step.ARCHIVE})


@dataclass(frozen=True)
class Filter:
    """Which jobs are asked for; an empty one asks for all."""

    team_id: str | None = None
    state: State | None = None
    model: str | None = None
    since: datetime | None = None


async def page(connection: AsyncConnection, wanted: Filter, asked: Slice) -> tuple[list[Job], str | None]:
    """A slice of the jobs, newest first, and the cursor of the next."""
    question = sa.select(_job)
    for name in ("team_id", "state", "model"):
        value = getattr(wanted, name)
        if value is not None:
            question = question.where(_job.c[name] == value)
    if wanted.since is not None:
        question = question.where(_job.c.created_at >= wanted.since)
    found = await pages.page(connection, question, (_job.c.created_at, _job.c.id), asked, newest_first=True)
    return [record.job(row) for row in found.rows], found.next_cursor


async def find(connection: AsyncConnection, job_id: str) -> Job:
    """The job, whoever owns it; ``JobNotFound``."""
    job = await lookup.any_team(connection, job_id) if job_id.isprintable() else None
    if job is None:
        raise errors.JobNotFound(f"there is no job {job_id[:80]!r}", param="job")
    return job


async def cancel(tx: AsyncConnection, actor: str, job_id: str, now: datetime) -> Job:
    """Take a queued job back; ``Conflict`` once it was sent."""
    before = await find(tx, job_id)
    return await _noted(tx, actor, "job.cancel", before, await desk.cancel_in(tx, before, now), now)


async def settle(tx: AsyncConnection, actor: str, job_id: str, verdict: Verdict, now: datetime) -> Job:
    """End the doubt about an unknown submission; ``Conflict`` if there is none, or it is too early."""
    before = await find(tx, job_id)
    after = await settlement.settle_in(tx, now, before.id, verdict)
    return await _noted(tx, actor, "job.settle", before, after, now, verdict=verdict.value)


async def found(tx: AsyncConnection, actor: str, job_id: str, upstream_job_id: str, now: datetime) -> Job:
    """Let an unknown submission run as the upstream job that an operator found; ``Conflict`` as ``settle``."""
    before = await find(tx, job_id)
    after = await settlement.found_in(tx, now, before.id, upstream_job_id)
    return await _noted(tx, actor, "job.settle", before, after, now, upstreamJobId=upstream_job_id)


async def requeue(tx: AsyncConnection, actor: str, job_id: str, now: datetime) -> Job:
    """A job that may be nudged; ``Conflict`` for one that has ended, or whose POST may have been taken."""
    job = await find(tx, job_id)
    if job.state in ENDED:
        raise errors.Conflict(f"the job is {job.state}; there is nothing left to do for it", param="job")
    if job.state not in STEPS:
        raise errors.Conflict(
            f"the job is {job.state}: its POST may have been taken, so it is never sent again; it can be settled",
            param="job",
        )
    return await _noted(tx, actor, "job.requeue", job, job, now)


async def delete_team(tx: AsyncConnection, actor: str, team: Team, now: datetime) -> tuple[int, int]:
    """End a team: how many keys were revoked, and how many jobs go on to their end.

    ``Conflict`` while it has unfinished jobs and was not drained: its callers would go on to order.
    """
    unfinished = await count_unfinished(tx, team.id)
    if unfinished and team.drained_at is None:
        raise errors.Conflict(
            f"the team has {unfinished} unfinished jobs; drain it first, or wait until they have ended", param="team"
        )
    revoked = await keys.revoke_all(tx, team.id, now)
    await teams.delete(tx, team.id, now)
    await audit.note(
        tx,
        actor=actor,
        action="team.delete",
        subject=team.id,
        team_id=team.id,
        before={"name": team.name},
        after={"revokedKeys": revoked, "unfinishedJobs": unfinished},
        at=now,
    )
    return revoked, unfinished


async def count_unfinished(connection: AsyncConnection, team_id: str) -> int:
    """How many jobs the team has not finished."""
    question = sa.select(sa.func.count()).where(_job.c.team_id == team_id, _job.c.state.not_in(sorted(ENDED)))
    return int((await connection.execute(question)).scalar_one())


async def lock(tx: AsyncConnection, job_id: str) -> Job:
    """The job, kept as it is until the transaction ends; ``JobNotFound``."""
    await tx.execute(sa.select(_job.c.id).where(_job.c.id == job_id).with_for_update())
    return await find(tx, job_id)


async def account(connection: AsyncConnection) -> sa.Row[Any]:
    """What is known of the upstream account, whether it rests, and why."""
    return (await connection.execute(sa.select(tables.upstream_account))).one()


async def prices(connection: AsyncConnection) -> dict[tuple[str, str], sa.Row[Any]]:
    """The operator's prices and the blocks, by model and resolution."""
    rows = await connection.execute(sa.select(tables.prices))
    return {(row.model, row.resolution): row for row in rows}


async def of_team(connection: AsyncConnection, team_id: str) -> Sequence[Job]:
    """All of the team's jobs, oldest first, for its export."""
    rows = await connection.execute(sa.select(_job).where(_job.c.team_id == team_id).order_by(_job.c.created_at))
    return [record.job(row) for row in rows]


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
