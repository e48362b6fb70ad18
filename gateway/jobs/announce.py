"""What a caller is told of its job by webhook: events, each written in the transaction that made it true.

An event is a row of ``deliveries``; its id is the ``webhook-id`` of each message about it. Sends nothing and renders
nothing. An event goes to the job's own URL, else to the team's; without either none is written.
The jobs of a batch tell their own URLs alone: the team is told once, of the batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, ids
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.storage import outbox, tables
from gateway.storage.columns import Moment

_delivery = outbox.deliveries
_team = tables.teams


class Event(StrEnum):
    """What a message is about."""

    COMPLETED = "job.completed"
    FAILED = "job.failed"
    CANCELLED = "job.cancelled"
    BATCH_FINISHED = "batch.finished"


class Status(StrEnum):
    """How it stands with an event's delivery."""

    #: Not tried yet, or not since it was asked for again.
    PENDING = "pending"
    #: Tried, not taken, and to be tried again.
    RETRYING = "retrying"
    #: The receiver took it.
    DELIVERED = "delivered"
    #: Given up: the round is over, or the receiver wants no more of it.
    DEAD = "dead"
    #: It is not so any more; a later event says what is.
    SUPERSEDED = "superseded"


_AT_ONCE: Final = 1000
#: Still to be tried.
OPEN: Final = (Status.PENDING, Status.RETRYING)
_EVENTS: Final[Mapping[State, Event]] = MappingProxyType(
    {State.COMPLETED: Event.COMPLETED, State.FAILED: Event.FAILED, State.CANCELLED: Event.CANCELLED}
)


@dataclass(frozen=True)
class Delivery:
    """One row of ``deliveries``; see ``gateway.storage.outbox`` for the meaning of each column."""

    id: str
    team_id: str
    job_id: str | None
    version: int | None
    type: Event
    provisional: bool
    url: str
    state: Status
    created_at: datetime
    due_at: datetime
    round_at: datetime
    round_tries: int
    tries: int
    replays: int
    outcome: str | None
    ended_at: datetime | None
    claim: str | None
    #: What it is about, if that is no job.
    batch_id: str | None = None


_COLUMNS: Final = tuple(field.name for field in fields(Delivery))


def read(row: sa.Row[Any]) -> Delivery:
    """The delivery of a whole row."""
    values = {name: getattr(row, name) for name in _COLUMNS}
    return Delivery(**{**values, "type": Event(values["type"]), "state": Status(values["state"])})


async def ended(tx: AsyncConnection, job: Job, now: datetime) -> str | None:
    """Write that the job has ended; the event's id, or none where nobody is to be told."""
    return await _write(tx, job, _EVENTS[job.state], now, provisional=False)


async def all_ended(tx: AsyncConnection, jobs: Sequence[Job], now: datetime) -> None:
    """Write that each of these jobs has ended, as ``ended`` does; the sweep of deliveries finds what is to be told."""
    told = [_values(job, _EVENTS[job.state], now, provisional=False) for job in jobs]
    for start in range(0, len(told), _AT_ONCE):
        await tx.execute(_insert(tx.dialect.name, many=True), told[start : start + _AT_ONCE])


async def doubted(tx: AsyncConnection, job: Job, now: datetime) -> str | None:
    """Write that the job counts as failed until its unknown submission is settled; as ``ended``."""
    return await _write(tx, job, Event.FAILED, now, provisional=True)


async def batch_finished(tx: AsyncConnection, batch_id: str, team_id: str, own_url: str | None, now: datetime) -> None:
    """Write that the last job of a batch has ended, if somebody is to be told; called once a batch."""
    default = await tx.execute(sa.select(_team.c.webhook_url).where(_team.c.id == team_id))
    url = own_url or default.scalar_one()
    if url is not None:
        when = {"created_at": now, "due_at": now, "round_at": now}
        about = {"team_id": team_id, "batch_id": batch_id, "type": Event.BATCH_FINISHED, "url": url}
        await tx.execute(_delivery.insert().values(id=ids.message(), state=Status.PENDING, **about, **when))


def holds(delivery: Delivery, job: Job) -> bool:
    """Whether what the event says is still so: a job may be found after all, or its pictures be erased."""
    if delivery.provisional:
        # Another doubt, after another try, has an event of its own.
        return job.state is State.SUBMISSION_UNKNOWN and job.version == delivery.version
    if delivery.type is Event.COMPLETED and job.pictures_erased_at is not None:
        return False
    return _EVENTS.get(job.state) is delivery.type


async def again(tx: AsyncConnection, delivery_id: str, now: datetime) -> Delivery:
    """Have it sent once more, under the same id and with a whole round of tries; it may be dead or delivered.

    ``Conflict`` for one that is superseded.
    """
    row = (
        await tx.execute(
            _delivery.update()
            .where(_delivery.c.id == delivery_id, _delivery.c.state != Status.SUPERSEDED)
            .values(
                state=Status.PENDING,
                due_at=now,
                round_at=now,
                round_tries=0,
                replays=_delivery.c.replays + 1,
                ended_at=None,
            )
            .returning(_delivery)
        )
    ).first()
    if row is None:
        raise errors.Conflict("a later event of this job has taken its place; send that one again", param="delivery")
    return read(row)


async def _write(tx: AsyncConnection, job: Job, event: Event, now: datetime, *, provisional: bool) -> str | None:
    # One statement for what each end of a job pays, and never a reason for the end itself to fail.
    found = await tx.execute(_insert(tx.dialect.name), _values(job, event, now, provisional=provisional))
    message_id: str | None = found.scalar_one_or_none()
    return message_id


def _values(job: Job, event: Event, now: datetime, *, provisional: bool) -> dict[str, object]:
    return {
        "message": ids.message(),
        "team": job.team_id,
        "job": job.id,
        "job_version": job.version,
        "event": event,
        "doubtful": provisional,
        "own_url": job.webhook_url,
        # A batch is told of once, as a whole.
        "alone": job.batch_id is None,
        "fresh": Status.PENDING,
        "now": now,
    }


@lru_cache
def _insert(dialect: str, *, many: bool = False) -> sa.Executable:
    at = sa.bindparam("now", type_=Moment)
    default = sa.case((sa.bindparam("alone", type_=sa.Boolean), _team.c.webhook_url))
    url = sa.func.coalesce(sa.bindparam("own_url", type_=outbox.URL), default)
    values = {
        "id": sa.bindparam("message", type_=sa.String),
        "team_id": _team.c.id,
        "job_id": sa.bindparam("job", type_=sa.String),
        "version": sa.bindparam("job_version", type_=sa.Integer),
        "type": sa.bindparam("event", type_=sa.String),
        "provisional": sa.bindparam("doubtful", type_=sa.Boolean),
        "url": url,
        "state": sa.bindparam("fresh", type_=sa.String),
        "created_at": at,
        "due_at": at,
        "round_at": at,
        "round_tries": sa.literal(0),
        "tries": sa.literal(0),
        "replays": sa.literal(0),
    }
    # PostgreSQL cannot tell the type of a parameter in a list of columns; SQLite makes a number of a time that is cast.
    typed = dialect == "postgresql"
    columns = [
        (sa.cast(value, _delivery.c[name].type) if typed else value).label(name) for name, value in values.items()
    ]
    told = sa.select(*columns).where(_team.c.id == sa.bindparam("team", type_=sa.String), url.is_not(None))
    insert: Any = (postgresql if dialect == "postgresql" else sqlite).insert(_delivery)
    statement: Any = insert.from_select(list(values), told).on_conflict_do_nothing()
    # The drivers have no way to give back rows of many statements at once.
    written: sa.Executable = statement if many else statement.returning(_delivery.c.id)
    return written
