"""A caller's list of jobs: newest first, in pages, by what their callers see of them. Reads; shows nothing."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import lookup, record, states
from gateway.jobs.record import Image, Job
from gateway.jobs.states import State
from gateway.storage import pages, tables
from gateway.storage.pages import Slice
from gateway.tenancy import keys

_job = tables.jobs
_leader = tables.jobs.alias("leader")
_image = tables.images


class Status(StrEnum):
    """The words on the wire for how it stands with a job."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


_STATES: Final = MappingProxyType(
    {status: tuple(state for state in State if states.wire(state) == status) for status in Status}
)


@dataclass(frozen=True)
class Wanted:
    """Which of the team's jobs are asked for."""

    #: Those of this key alone, and of its chain of rotations.
    key_id: str | None = None
    status: Status | None = None
    model: str | None = None
    #: Made at this moment or later.
    since: datetime | None = None


@dataclass(frozen=True)
class Page:
    """One slice of the list, each job with its pictures, and the cursor of the next slice; none at the end."""

    jobs: list[tuple[Job, list[Image]]]
    next_cursor: str | None


async def page(
    connection: AsyncConnection, team_id: str, wanted: Wanted, asked: Slice, now: datetime, unknown_wait_s: int
) -> Page:
    """The slice of the team's jobs; ``InvalidParameter`` for a cursor that is none."""
    question = sa.select(_job).where(_job.c.team_id == team_id)
    if wanted.key_id is not None:
        question = question.where(_job.c.key_id.in_(keys.kin(team_id, wanted.key_id)))
    if wanted.model is not None:
        question = question.where(_job.c.model == wanted.model)
    if wanted.since is not None:
        question = question.where(_job.c.created_at >= wanted.since)
    if wanted.status is not None:
        question = question.outerjoin(_leader, _leader.c.id == _job.c.follows)
        question = question.where(_stands(wanted.status, now - timedelta(seconds=unknown_wait_s)))
    found = await pages.page(connection, question, (_job.c.created_at, _job.c.id), asked, newest_first=True)
    shown = await lookup.all_shown(connection, [record.job(row) for row in found.rows])
    found_pictures = await pictures(connection, team_id, [job.id for job in shown if job.state is State.COMPLETED])
    return Page([(job, found_pictures.get(job.id, [])) for job in shown], found.next_cursor)


def _stands(status: Status, told_before: datetime) -> sa.ColumnElement[bool]:
    """Whether a job is shown with that status: a follower with its leader's, an unknown one in doubt as failed."""
    follows = sa.and_(_leader.c.id.is_not(None), _job.c.ended_at.is_(None))
    state = sa.case((follows, _leader.c.state), else_=_job.c.state)
    submitted_at = sa.case((follows, _leader.c.submitted_at), else_=_job.c.submitted_at)
    in_doubt = sa.and_(state == State.SUBMISSION_UNKNOWN, submitted_at <= told_before)
    listed = state.in_(_STATES[status])
    if status is Status.FAILED:
        return sa.or_(listed, in_doubt)
    # One that was never submitted is in no doubt, whatever SQL makes of a time that is not there.
    return sa.and_(listed, sa.or_(state != State.SUBMISSION_UNKNOWN, submitted_at > told_before))


async def pictures(connection: AsyncConnection, team_id: str, job_ids: list[str]) -> dict[str, list[Image]]:
    """The pictures of those jobs of the team, by job and in order."""
    found: dict[str, list[Image]] = {}
    if not job_ids:
        return found
    rows: Any = await connection.execute(
        sa.select(_image)
        .where(_image.c.team_id == team_id, _image.c.job_id.in_(job_ids))
        .order_by(_image.c.job_id, _image.c.position)
    )
    for row in rows:
        found.setdefault(row.job_id, []).append(record.image(row))
    return found
