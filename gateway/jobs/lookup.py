"""Reading jobs and pictures. The team comes first in each question that a caller can ask."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.jobs import record
from gateway.jobs.record import Image, Job
from gateway.storage import tables
from gateway.tenancy import keys

_job = tables.jobs
_image = tables.images


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
    """The picture that a signed link names; the signature has stood for the team. ``ImageNotFound``."""
    row = (await connection.execute(sa.select(_image).where(_image.c.id == image_id))).first()
    if row is None:
        raise errors.ImageNotFound
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


async def balance_seen(connection: AsyncConnection) -> int | None:
    """The upstream's balance in micro-credits as its last answer told it; none before the first."""
    account = tables.upstream_account
    seen = (await connection.execute(sa.select(account.c.remaining_micros))).scalar_one_or_none()
    return None if seen is None else int(seen)
