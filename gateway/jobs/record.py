"""A job and its pictures as the store has them: frozen values, read from rows. Runs no statement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa

from gateway.jobs.states import State


@dataclass(frozen=True)
class Job:
    """One row of ``jobs``; see ``gateway.storage.tables`` for the meaning of each column."""

    id: str
    team_id: str
    key_id: str
    model: str
    model_version: str
    resolution: str
    parameters: Mapping[str, Any]
    details: Mapping[str, Any] | None
    priority: int
    state: State
    version: int
    attempt: int
    hold_micros: int
    cost_micros: int | None
    created_at: datetime
    queue_deadline_at: datetime
    submitted_at: datetime | None
    accepted_at: datetime | None
    finished_upstream_at: datetime | None
    ended_at: datetime | None
    due_at: datetime
    nudges: int
    claim: str | None
    claimed_by: str | None
    upstream_job_id: str | None
    polls: int
    poll_failures: int
    last_unfinished_at: datetime | None
    missing_since_at: datetime | None
    results: Sequence[Mapping[str, Any]] | None
    results_expire_at: datetime | None
    empty_results: int
    archive_failures: int
    bad_downloads: int
    gone_since_at: datetime | None
    partial: bool
    error_code: str | None
    error_message: str | None
    resubmitted_at: datetime | None = None
    webhook_url: str | None = None
    trace_parent: str | None = None
    #: The request's print in its own team; none for one whose answer is not to be kept.
    fingerprint: str | None = None
    #: The job whose pictures it waits for, or had, in place of its own.
    follows: str | None = None
    #: While it follows, the moment after which its caller no longer waits for a start.
    follows_until: datetime | None = None
    #: The job whose pictures it was given at once.
    reused_from: str | None = None
    #: The batch that it is of, and its place there.
    batch_id: str | None = None
    batch_index: int | None = None
    #: Since when its pictures, and what it was asked for, are not kept any more.
    pictures_erased_at: datetime | None = None
    prompt_erased_at: datetime | None = None
    #: The event that the very change which gave this value wrote; not a column.
    event_id: str | None = None


@dataclass(frozen=True)
class Image:
    """One archived picture."""

    id: str
    job_id: str
    team_id: str
    position: int
    object_key: str
    content_type: str
    extension: str
    width: int
    height: int
    size_bytes: int
    sha256: str
    seed: int | None


#: What a row has that nobody has touched yet.
_UNTOUCHED: Final = MappingProxyType(
    {
        **dict.fromkeys(("cost_micros", "submitted_at", "accepted_at", "finished_upstream_at", "ended_at")),
        **dict.fromkeys(("claim", "claimed_by", "upstream_job_id", "last_unfinished_at", "missing_since_at")),
        **dict.fromkeys(("results", "results_expire_at", "gone_since_at", "error_code", "error_message")),
        **dict.fromkeys(("nudges", "polls", "poll_failures", "empty_results", "archive_failures", "bad_downloads"), 0),
        "partial": False,
    }
)
_JOB_COLUMNS = tuple(field.name for field in fields(Job) if field.name != "event_id")
_IMAGE_COLUMNS = tuple(field.name for field in fields(Image))


def fresh(written: Mapping[str, Any]) -> Job:
    """The job of a row that was just written with these values; the others are as the store begins them."""
    return Job(**{**_UNTOUCHED, **written})


def job(row: sa.Row[Any]) -> Job:
    """The job of a whole row."""
    values = {name: getattr(row, name) for name in _JOB_COLUMNS}
    return Job(**{**values, "state": State(values["state"])})


def image(row: sa.Row[Any]) -> Image:
    """The picture of a whole row."""
    return Image(**{name: getattr(row, name) for name in _IMAGE_COLUMNS})
