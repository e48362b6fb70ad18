"""Reading jobs and pictures. The team comes first in each question that a caller can ask."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.jobs import record
from gateway.jobs.record import Image, Job
from gateway.jobs.states import ENDED
from gateway.ledger import budgets
from gateway.storage import tables
from gateway.tenancy import keys

_job = tables.jobs
_image = tables.images
#: What a follower shows of its leader beside the state.
_SHOWN: Final = ("submitted_at", "accepted_at", "due_at")
#: So many ids are put into one statement.
_AT_ONCE: Final = 500


async def find(connection: AsyncConnection, team_id: str, job_id: str, key_id: str | None = None) -> Job:
    """The team's job; with a key, only if that key or one of its chain of rotations ordered it.

    ``JobNotFound`` for another team's as for no job at all.
    """
    question = sa.select(_job).where(_job.c.team_id == team_id, _job.c.id == job_id)
    if key_id is not None:
        question = question.where(_job.c.key_id.in_(keys.kin(team_id, key_id)))
    row = (await connection.execute(question)).first()
    if row is None:
        raise errors.JobNotFound(f"there is no job {job_id[:80]!r}", param="jobId")
    return record.job(row)


async def shown(connection: AsyncConnection, job: Job) -> Job:
    """The job as its caller sees it: one that follows another shows how it stands with that one."""
    return (await all_shown(connection, [job]))[0]


async def all_shown(connection: AsyncConnection, jobs: Sequence[Job]) -> list[Job]:
    """As ``shown``, with one more question for all of them, and none where nobody follows."""
    found = await _by_id(connection, {job.follows for job in jobs if job.follows and job.state not in ENDED})
    leaders = {each.id: each for each in found if each.state not in ENDED}
    # Whose leader has ended since its row was read has ended with it, or leads: it is read once more.
    late = {job.id for job in jobs if job.follows and job.state not in ENDED and job.follows not in leaders}
    anew = {each.id: each for each in await _by_id(connection, late)}
    return [anew[job.id] if job.id in anew else _as_its_leader(job, leaders) for job in jobs]


async def _by_id(connection: AsyncConnection, job_ids: Collection[str]) -> list[Job]:
    wanted, found = sorted(job_ids), []
    for start in range(0, len(wanted), _AT_ONCE):
        rows = await connection.execute(sa.select(_job).where(_job.c.id.in_(wanted[start : start + _AT_ONCE])))
        found += [record.job(row) for row in rows]
    return found


def _as_its_leader(job: Job, leaders: Mapping[str, Job]) -> Job:
    leader = None if job.follows is None or job.state in ENDED else leaders.get(job.follows)
    if leader is None:
        return job
    told = {name: getattr(leader, name) for name in _SHOWN}
    return replace(job, state=leader.state, version=job.version + leader.version, **told)


async def any_team(connection: AsyncConnection, job_id: str) -> Job | None:
    """A job whoever owns it, for workers and operators."""
    row = (await connection.execute(sa.select(_job).where(_job.c.id == job_id))).first()
    return None if row is None else record.job(row)


async def images(connection: AsyncConnection, team_id: str, job_id: str) -> list[Image]:
    """The team's job's pictures in order."""
    rows = await connection.execute(
        sa.select(_image).where(_image.c.team_id == team_id, _image.c.job_id == job_id).order_by(_image.c.position)
    )
    return [record.image(row) for row in rows]


async def image(connection: AsyncConnection, image_id: str) -> Image:
    """The picture that a signed link names; the signature has stood for the team.

    ``ImageGone`` for one that is not there: no link was ever signed for one that was not.
    """
    row = (await connection.execute(sa.select(_image).where(_image.c.id == image_id))).first()
    if row is None:
        raise errors.ImageGone
    return record.image(row)


async def latest(
    connection: AsyncConnection, *, team_id: str | None = None, state: str | None = None, limit: int = 50
) -> list[Job]:
    """The newest jobs first, of one team or, for an operator, of all."""
    question = sa.select(_job).order_by(_job.c.created_at.desc(), _job.c.id.desc()).limit(limit)
    if team_id is not None:
        question = question.where(_job.c.team_id == team_id)
    if state is not None:
        question = question.where(_job.c.state == state)
    return [record.job(row) for row in await connection.execute(question)]


async def remaining_micros(connection: AsyncConnection, team_id: str, key_id: str, now: datetime) -> int | None:
    """What is left of the tightest budget of team and key; without any, the upstream's balance as last seen."""
    left = budgets.left_micros(await budgets.standing(connection, team_id, now, key_id))
    return await balance_seen(connection) if left is None else left


async def balance_seen(connection: AsyncConnection) -> int | None:
    """The upstream's balance in micro-credits as its last answer told it; none before the first."""
    account = tables.upstream_account
    seen = (await connection.execute(sa.select(account.c.remaining_micros))).scalar_one_or_none()
    return None if seen is None else int(seen)
