"""Looking through what a team has: its jobs and its pictures, newest first, a page at a time. Changes nothing.

The team comes first in each question; with a key, only what that key or one of its chain of rotations ordered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import record
from gateway.jobs.record import Image, Job
from gateway.jobs.states import State
from gateway.storage import pages, tables
from gateway.storage.pages import Slice
from gateway.tenancy import keys

_job = tables.jobs
_image = tables.images


@dataclass(frozen=True)
class Wanted:
    """Which of them are asked for; an empty one asks for all. ``until`` itself is not among them."""

    model: str | None = None
    #: Of jobs alone: a picture's job has completed.
    state: State | None = None
    since: datetime | None = None
    until: datetime | None = None
    #: A part of the prompt, in any case.
    said: str | None = None
    key_id: str | None = None


@dataclass(frozen=True)
class Found:
    """A picture, and what its job asked for."""

    image: Image
    model: str
    parameters: Mapping[str, Any]
    created_at: datetime

    @property
    def prompt(self) -> str:
        """What it should show."""
        return str(self.parameters.get("prompt", ""))


async def jobs(connection: AsyncConnection, team_id: str, wanted: Wanted, asked: Slice) -> tuple[list[Job], str | None]:
    """A slice of the team's jobs, newest first, and the cursor of the next."""
    question = sa.select(_job).where(_job.c.team_id == team_id, *_of_job(team_id, wanted))
    if wanted.state is not None:
        question = question.where(_job.c.state == wanted.state)
    question = question.where(*_within(_job.c.created_at, wanted))
    found = await pages.page(connection, question, (_job.c.created_at, _job.c.id), asked, newest_first=True)
    return [record.job(row) for row in found.rows], found.next_cursor


async def pictures(
    connection: AsyncConnection, team_id: str, wanted: Wanted, asked: Slice
) -> tuple[list[Found], str | None]:
    """A slice of the team's pictures, newest first, and the cursor of the next."""
    question = (
        sa.select(_image, _job.c.model.label("job_model"), _job.c.parameters.label("job_parameters"))
        .join(_job, _job.c.id == _image.c.job_id)
        .where(_image.c.team_id == team_id, *_of_job(team_id, wanted), *_within(_image.c.created_at, wanted))
    )
    order = (_image.c.created_at, _image.c.id)
    found = await pages.page(connection, question, order, asked, newest_first=True)
    shown = [Found(record.image(row), row.job_model, row.job_parameters, row.created_at) for row in found.rows]
    return shown, found.next_cursor


async def picture(connection: AsyncConnection, team_id: str, image_id: str, key_id: str | None = None) -> Image | None:
    """The team's picture of that id; with a key, only of that key's jobs."""
    question = sa.select(_image).where(_image.c.team_id == team_id, _image.c.id == image_id)
    if key_id is not None:
        question = question.join(_job, _job.c.id == _image.c.job_id).where(_job.c.key_id.in_(keys.kin(team_id, key_id)))
    row = (await connection.execute(question)).first()
    return None if row is None else record.image(row)


def _of_job(team_id: str, wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if wanted.model is not None:
        found.append(_job.c.model == wanted.model)
    if wanted.said is not None:
        prompt = sa.func.lower(_job.c.parameters["prompt"].as_string())
        found.append(prompt.contains(wanted.said.lower(), autoescape=True))
    if wanted.key_id is not None:
        found.append(_job.c.key_id.in_(keys.kin(team_id, wanted.key_id)))
    return found


def _within(column: sa.Column[Any], wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if wanted.since is not None:
        found.append(column >= wanted.since)
    if wanted.until is not None:
        found.append(column < wanted.until)
    return found
