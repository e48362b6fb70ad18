"""What an operator has stopped: everything, a team, or a model. Accepted jobs wait meanwhile; what was sent goes on.

A pause does not count as waiting: at its end the deadlines of the jobs that it held are pushed by as long as it held
them, though never beyond a day after their acceptance. Time under two pauses counts once, for the one that began first.

The upstream account can hold jobs too, when it has no credits or its key is refused. That stops nothing here, since one
real job finds out now and then whether it still does; but it counts as waiting just as little.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import states
from gateway.jobs.states import State
from gateway.storage import database, schema, tables
from gateway.storage.columns import Moment

_pause = tables.pauses
_account = tables.upstream_account
_job = tables.jobs


class Scope(StrEnum):
    """What a pause is about."""

    ALL = "all"
    TEAM = "team"
    MODEL = "model"


@dataclass(frozen=True)
class Pause:
    """One pause in force. ``subject`` is the team's or the model's id, and empty for everything."""

    scope: Scope
    subject: str
    since_at: datetime


@dataclass(frozen=True)
class Standing:
    """All pauses in force, as a claim asks for them."""

    everything: bool
    teams: frozenset[str]
    models: frozenset[str]


async def pause(tx: AsyncConnection, scope: Scope, subject: str, at: datetime) -> bool:
    """Stop sending; false if it was paused already, and then since its own time."""
    try:
        async with tx.begin_nested():
            await tx.execute(_pause.insert().values(scope=scope, subject=subject, since_at=at))
    except sa.exc.IntegrityError:
        return False
    return True


async def resume(tx: AsyncConnection, scope: Scope, subject: str, at: datetime) -> bool:
    """Let the jobs go on, with as much patience as they had; false if it was not paused. Nudges nobody."""
    # One pause ends after the other, or each would leave the time under both to the other.
    await schema.lock_account(tx)
    ended = await tx.execute(
        _pause.delete().where(_pause.c.scope == scope, _pause.c.subject == subject).returning(_pause.c.since_at)
    )
    since_at = ended.scalar_one_or_none()
    if since_at is None:
        return False
    await _push_deadlines(tx, Pause(scope, subject, since_at), at)
    return True


async def release(tx: AsyncConnection, at: datetime) -> bool:
    """Push the deadlines of what the account held, once it does so no more; false if there is nothing to push."""
    account = await schema.lock_account(tx)
    if account.held_since_at is None or account.pause_reason is not None:
        return False
    await tx.execute(_account.update().values(held_since_at=None))
    await _push_deadlines(tx, Pause(Scope.ALL, "", account.held_since_at), at)
    return True


async def listing(connection: AsyncConnection) -> list[Pause]:
    """The pauses in force, the oldest first."""
    rows = await connection.execute(sa.select(_pause).order_by(_pause.c.since_at, _pause.c.scope, _pause.c.subject))
    return [Pause(Scope(row.scope), row.subject, row.since_at) for row in rows]


async def standing(connection: AsyncConnection) -> Standing:
    """The pauses in force by what they hold."""
    found = await listing(connection)
    return Standing(
        everything=any(pause.scope is Scope.ALL for pause in found),
        teams=frozenset(pause.subject for pause in found if pause.scope is Scope.TEAM),
        models=frozenset(pause.subject for pause in found if pause.scope is Scope.MODEL),
    )


def holds() -> sa.ColumnElement[bool]:
    """Whether a pause in force, or the account, holds the job of the row."""
    by_account = sa.exists().where(_account.c.held_since_at.is_not(None))
    return sa.or_(sa.exists().where(_of_job()).correlate(_job), by_account)


def _of_job() -> sa.ColumnElement[bool]:
    return sa.or_(
        _pause.c.scope == Scope.ALL,
        sa.and_(_pause.c.scope == Scope.TEAM, _pause.c.subject == _job.c.team_id),
        sa.and_(_pause.c.scope == Scope.MODEL, _pause.c.subject == _job.c.model),
    )


async def _push_deadlines(tx: AsyncConnection, over: Pause, at: datetime) -> None:
    # A long line takes longer than a transaction may.
    await database.take_long(tx)
    # What another pause that is still in force began to hold is pushed at the end of that one.
    other = sa.select(sa.func.min(_pause.c.since_at)).where(_of_job()).correlate(_job).scalar_subquery()
    account = sa.select(_account.c.held_since_at).scalar_subquery()
    end = _least(
        _least(sa.func.coalesce(other, _moment(at)), sa.func.coalesce(account, _moment(at))),
        _moment(at),
    )
    start = sa.case((_job.c.created_at > over.since_at, _job.c.created_at), else_=_moment(over.since_at))
    longest = _later(tx, _job.c.created_at, _moment(at), _moment(at + states.LONGEST_QUEUE))
    held = sa.and_(_job.c.state == State.QUEUED, end > start)
    if over.scope is Scope.MODEL:
        held = sa.and_(held, _job.c.model == over.subject)
    teams = sa.select(tables.teams.c.id)
    if over.scope is Scope.TEAM:
        held = sa.and_(held, _job.c.team_id == over.subject)
        teams = teams.where(tables.teams.c.id == over.subject)
    await _lock_in_turn(tx, held)
    pushes = [
        # A follower's own deadline is kept aside as long as it follows.
        _job.update().where(held, follows).values({deadline.name: _least(_later(tx, deadline, start, end), longest)})
        for follows, deadline in (
            (_job.c.follows.is_(None), _job.c.queue_deadline_at),
            (_job.c.follows.is_not(None), _job.c.follows_until),
        )
    ]
    for team_id in (await tx.execute(teams)).scalars().all():
        for push in pushes:
            await tx.execute(push.where(_job.c.team_id == team_id))


async def _lock_in_turn(tx: AsyncConnection, held: sa.ColumnElement[bool]) -> None:
    """Lock those jobs in the order in which the end of a flight locks its leader and who follows, of whatever team."""
    if tx.dialect.name != "postgresql":
        # SQLite has one writer.
        return
    turn = (_job.c.follows.is_not(None), _job.c.created_at, _job.c.id)
    line = sa.select(_job.c.id).where(held).order_by(*turn).with_for_update().subquery()
    await tx.execute(sa.select(sa.func.count()).select_from(line))


def _moment(at: datetime) -> sa.ColumnElement[datetime]:
    return sa.literal(at, Moment())


def _least(one: sa.ColumnElement[datetime], other: sa.ColumnElement[datetime]) -> sa.ColumnElement[datetime]:
    return sa.case((one < other, one), else_=other)


def _later(
    tx: AsyncConnection,
    moment: sa.ColumnElement[datetime],
    start: sa.ColumnElement[datetime],
    end: sa.ColumnElement[datetime],
) -> sa.ColumnElement[datetime]:
    """The moment as much later as the end is after the start; SQLite counts in days and keeps milliseconds."""
    if tx.dialect.name == "postgresql":
        return moment.op("+")(end.op("-")(start))
    days = sa.func.julianday(moment) + sa.func.julianday(end) - sa.func.julianday(start)
    text = sa.func.strftime("%Y-%m-%d %H:%M:%f", days).op("||")("000")
    return sa.type_coerce(text, Moment())
