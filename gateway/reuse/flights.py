"""One generation for all who ask for it at once: who leads, who follows. Moves no credits and ends no job.

A flight is open from the transaction that creates its leader to the one that ends it, and at most one is open for a
request. A follower is a queued job that nobody can claim, in no release: its claim is taken, by no worker. Its deadline
is kept aside until it leads.

The order of locks, for all who touch a flight: an ended leader's row, then the flight, then followers' rows, oldest
first. A follower that leaves by itself locks its own row and no flight. Whoever enters locks the flight and then only
makes rows that nobody has seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, ids
from gateway.reuse.places import Place
from gateway.reuse.succession import Follower
from gateway.storage import reuse_tables, tables

#: The claim of a job that follows. It names no worker and has no moment, so no sweep of any release gives it back.
FOLLOWING: Final = "following"
#: A deadline that never comes: the release before this one would end a follower as if it held credits.
NEVER: Final = datetime(9000, 1, 1, tzinfo=UTC)
#: How long closed flights are kept for whoever looks into what happened.
REMEMBER: Final = timedelta(days=7)
#: Each round lost means that another opened and closed a whole flight meanwhile.
_ROUNDS: Final = 20

#: A transaction must not last.
_FORGOTTEN_AT_ONCE: Final = 1000

_flight = reuse_tables.flights
_job = tables.jobs
_key = tables.api_keys

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Flight:
    """An open flight."""

    id: str
    place: Place
    leader_job_id: str
    opened_at: datetime


async def peek(connection: AsyncConnection, place: Place) -> str | None:
    """The leader of the open flight, if there is one at this moment; promises nothing."""
    question = sa.select(_flight.c.leader_job_id).where(_open_at(place))
    leader: str | None = (await connection.execute(question)).scalar_one_or_none()
    return leader


async def enter(
    tx: AsyncConnection, place: Place, job_id: str, now: datetime, *, may_lead: bool = True
) -> Flight | None:
    """The place's open flight, locked: another's, or one that this job leads. None if it may not lead and nobody does.

    Who leads has to look into the cache once more, in the same transaction: the flight before it may have ended
    between its look and this. If the answer is there, the flight is to be withdrawn.
    Raises ``StoreUnavailable`` when flights open and close too quickly to get hold of one.
    """
    for _ in range(_ROUNDS):
        if may_lead and (row := await _insert(tx, place, job_id, now)) is not None:
            return _read(row)
        row = (await tx.execute(sa.select(_flight).where(_open_at(place)).with_for_update())).first()
        if row is not None:
            return _read(row)
        if not may_lead:
            return None
    log.error("flight_not_entered", scope=place.scope)
    raise errors.StoreUnavailable


async def withdraw(tx: AsyncConnection, flight: Flight) -> None:
    """Take back a flight that was opened in this transaction: there is nothing to fly for."""
    await tx.execute(_flight.delete().where(_flight.c.id == flight.id))


async def led_by(tx: AsyncConnection, job_id: str) -> Flight | None:
    """The open flight that a job leads, locked; the caller has the job's row locked already."""
    question = sa.select(_flight).where(_flight.c.leader_job_id == job_id, _flight.c.closed_at.is_(None))
    row = (await tx.execute(question.with_for_update())).first()
    return None if row is None else _read(row)


async def close(tx: AsyncConnection, flight: Flight, outcome: str, now: datetime) -> None:
    """End the flight; whoever comes later reads the cache, or opens another."""
    await tx.execute(_flight.update().where(_flight.c.id == flight.id).values(closed_at=now, outcome=outcome))


def following(flight: Flight, until: datetime) -> dict[str, Any]:
    """What a new job's row has as long as it follows; ``until`` is its own deadline."""
    return {
        "follows": flight.leader_job_id,
        "follows_until": until,
        "queue_deadline_at": NEVER,
        "claim": FOLLOWING,
        "hold_micros": 0,
        "cost_micros": 0,
    }


async def followers(tx: AsyncConnection, leader_job_id: str) -> list[Follower]:
    """Who follows and has not ended, oldest first, their rows locked; the flight or its leader is locked already."""
    rows = await tx.execute(
        sa.select(
            _job.c.id,
            _job.c.team_id,
            _job.c.key_id,
            sa.func.coalesce(_key.c.lineage, _key.c.id).label("chain"),
        )
        .join_from(_job, _key, _key.c.id == _job.c.key_id)
        .where(_job.c.follows == leader_job_id, _job.c.ended_at.is_(None))
        .order_by(_job.c.created_at, _job.c.id)
        .with_for_update(of=_job)
    )
    return [Follower(row.id, row.team_id, row.key_id, row.chain) for row in rows]


async def leave(tx: AsyncConnection, job_id: str) -> bool:
    """Let a follower go its own way, to be ended by the caller in the same transaction; false if it follows no more.

    It may have ended with its leader, or lead itself by now: then the caller reads it again.
    """
    left = await tx.execute(_job.update().where(_following(job_id)).values(_alone()))
    return left.rowcount == 1


async def promote(tx: AsyncConnection, flight: Flight, heir_job_id: str, hold_micros: int, now: datetime) -> Flight:
    """Let a follower lead, from whose row on everything goes as for any queued job; its hold is the caller's to take.

    The others follow it. What a caller sees as a job's version never falls: the heir starts above the old leader's.
    """
    old = _job.alias("old")
    above = sa.select(old.c.version + 1).where(old.c.id == flight.leader_job_id).scalar_subquery()
    await tx.execute(
        _job.update()
        .where(_following(heir_job_id))
        .values(
            _alone()
            | {
                "queue_deadline_at": _job.c.follows_until,
                "due_at": now,
                "hold_micros": hold_micros,
                "cost_micros": None,
                "version": _job.c.version + above,
            }
        )
    )
    await tx.execute(
        _job.update()
        .where(_job.c.follows == flight.leader_job_id, _job.c.ended_at.is_(None))
        .values(follows=heir_job_id)
    )
    await tx.execute(_flight.update().where(_flight.c.id == flight.id).values(leader_job_id=heir_job_id))
    return Flight(flight.id, flight.place, heir_job_id, flight.opened_at)


async def stranded(connection: AsyncConnection, ended: Sequence[str], at_most: int = 100) -> list[str]:
    """Leaders that have ended, in one of those states, while their flight is open.

    The release before this one ends jobs without knowing of flights.
    """
    rows = await connection.execute(
        sa.select(_flight.c.leader_job_id)
        .join_from(_flight, _job, _job.c.id == _flight.c.leader_job_id)
        .where(_flight.c.closed_at.is_(None), _job.c.state.in_(ended))
        .order_by(_flight.c.opened_at)
        .limit(at_most)
    )
    return [row.leader_job_id for row in rows]


async def any_old(connection: AsyncConnection, now: datetime) -> bool:
    """Whether there are flights that closed long ago."""
    old = sa.select(_flight.c.id).where(_flight.c.closed_at < now - REMEMBER).limit(1)
    return (await connection.execute(old)).first() is not None


async def forget_old(tx: AsyncConnection, now: datetime) -> int:
    """Delete flights that closed long ago, a thousand at most; how many there were."""
    old = sa.select(_flight.c.id).where(_flight.c.closed_at < now - REMEMBER).limit(_FORGOTTEN_AT_ONCE)
    return (await tx.execute(_flight.delete().where(_flight.c.id.in_(old)))).rowcount


async def _insert(tx: AsyncConnection, place: Place, job_id: str, now: datetime) -> sa.Row[Any] | None:
    row = {
        "id": ids.flight(),
        "scope": place.scope,
        "fingerprint": place.fingerprint,
        "leader_job_id": job_id,
        "opened_at": now,
    }
    return (await tx.execute(_opening(tx.dialect.name), row)).first()


@lru_cache
def _opening(dialect: str) -> sa.Executable:
    insert: Any = (postgresql if dialect == "postgresql" else sqlite).insert(_flight)
    statement: sa.Executable = insert.on_conflict_do_nothing(
        index_elements=["scope", "fingerprint"], index_where=sa.text("closed_at IS NULL")
    ).returning(_flight)
    return statement


def _open_at(place: Place) -> sa.ColumnElement[bool]:
    return sa.and_(
        _flight.c.scope == place.scope, _flight.c.fingerprint == place.fingerprint, _flight.c.closed_at.is_(None)
    )


def _following(job_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(_job.c.id == job_id, _job.c.follows.is_not(None), _job.c.ended_at.is_(None))


def _alone() -> dict[str, Any]:
    return {"follows": None, "follows_until": None, "claim": None, "claimed_by": None, "claimed_at": None}


def _read(row: sa.Row[Any]) -> Flight:
    return Flight(row.id, Place(row.scope, row.fingerprint), row.leader_job_id, row.opened_at)
