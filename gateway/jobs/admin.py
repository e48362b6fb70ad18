"""What an operator asks of jobs, of the account, and of a team with all that it has; a team's end is recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.jobs import lookup, record
from gateway.jobs.record import Job
from gateway.jobs.states import ENDED, State
from gateway.storage import pages, tables
from gateway.storage.pages import Slice
from gateway.tenancy import audit, keys, teams
from gateway.tenancy.teams import Team

_job = tables.jobs


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


async def attempts(connection: AsyncConnection, job_id: str) -> Sequence[sa.Row[Any]]:
    """Each time a paid POST for the job may have been sent, in order."""
    attempt = tables.attempts
    question = sa.select(attempt).where(attempt.c.job_id == job_id).order_by(attempt.c.number)
    return (await connection.execute(question)).all()


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


async def prices(connection: AsyncConnection, *, lock: bool = False) -> dict[tuple[str, str], sa.Row[Any]]:
    """The operator's prices and the blocks, by model and resolution; ``lock`` keeps them until the transaction ends."""
    question = sa.select(tables.prices).order_by(tables.prices.c.model, tables.prices.c.resolution)
    rows = await connection.execute(question.with_for_update() if lock else question)
    return {(row.model, row.resolution): row for row in rows}


async def of_team(connection: AsyncConnection, team_id: str) -> Sequence[Job]:
    """All of the team's jobs, oldest first, for its export."""
    rows = await connection.execute(sa.select(_job).where(_job.c.team_id == team_id).order_by(_job.c.created_at))
    return [record.job(row) for row in rows]
