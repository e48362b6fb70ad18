"""The teams of the installation: their names, limits and policies, and their end. Counts no jobs and moves no credits.

A team's id never changes; its name is for people. A deleted team keeps its row, since the ledger names it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, ids
from gateway.storage import pages, tables
from gateway.storage.pages import Slice

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_team = tables.teams

#: What each limit may be; a day is the longest that any job waits.
BOUNDS: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {
        "rpm": (1, 1_000_000),
        "concurrency": (1, 1_000_000),
        "queue_depth": (1, 10_000_000),
        "max_queue_s": (1, 86_400),
    }
)


@dataclass(frozen=True)
class Team:
    """A team as the store has it."""

    id: str
    name: str
    created_at: datetime
    max_queue_s: int
    #: New generations a minute, jobs in flight (none: no limit but the account's), jobs waiting.
    rpm: int
    concurrency: int | None
    queue_depth: int
    policy: Mapping[str, Any] | None
    drained_at: datetime | None
    deleted_at: datetime | None
    #: Where it is told of its jobs' ends, unless an order says so itself.
    webhook_url: str | None = None


async def create(tx: AsyncConnection, name: str, at: datetime) -> Team:
    """A new team; ``InvalidParameter`` for a bad name, ``Conflict`` for one that is taken."""
    _require_name(name)
    return await _named(tx, name, _team.insert().values(id=ids.team(), name=name, created_at=at))


async def find(connection: AsyncConnection, name_or_id: str, *, deleted: bool = False, lock: bool = False) -> Team:
    """The team of that name or id; ``TeamNotFound``. A deleted one only if asked for, by its id.

    With ``lock`` it stays as it is until the transaction ends, so that what is noted of it before a change was so.
    """
    question = sa.select(_team).where(sa.or_(_team.c.name == name_or_id, _team.c.id == name_or_id))
    if not deleted:
        question = question.where(_team.c.deleted_at.is_(None))
    if lock:
        question = question.with_for_update(key_share=True)
    # PostgreSQL takes no text with U+0000, and no team has a name like that.
    row = (await connection.execute(question)).first() if name_or_id.isprintable() else None
    if row is None:
        raise errors.TeamNotFound(f"there is no team {name_or_id[:80]!r}", param="team")
    return _read(row)


async def listing(connection: AsyncConnection) -> list[Team]:
    """All teams by name."""
    rows = await connection.execute(sa.select(_team).where(_team.c.deleted_at.is_(None)).order_by(_team.c.name))
    return [_read(row) for row in rows]


async def page(connection: AsyncConnection, asked: Slice) -> tuple[list[Team], str | None]:
    """A slice of the teams by name, and the cursor of the next."""
    question = sa.select(_team).where(_team.c.deleted_at.is_(None))
    found = await pages.page(connection, question, (_team.c.name,), asked)
    return [_read(row) for row in found.rows], found.next_cursor


async def names(connection: AsyncConnection, team_ids: set[str]) -> dict[str, str]:
    """The names of those teams by id; a deleted one is called by its id."""
    rows = await connection.execute(sa.select(_team.c.id, _team.c.name).where(_team.c.id.in_(sorted(team_ids))))
    return {row.id: row.name for row in rows}


async def limit(tx: AsyncConnection, team_id: str, limits: Mapping[str, int | None]) -> Team:
    """The team with those limits in place of its own; ``InvalidParameter`` names the one that cannot be."""
    for name, value in limits.items():
        _require_bound(name, value)
    return await _set(tx, team_id, **limits)


async def rename(tx: AsyncConnection, team_id: str, name: str) -> Team:
    """The team under another name; ``InvalidParameter`` for a bad one, ``Conflict`` for one that is taken."""
    _require_name(name)
    return await _named(tx, name, _team.update().where(_team.c.id == team_id).values(name=name))


async def set_policy(tx: AsyncConnection, team_id: str, policy: Mapping[str, Any] | None) -> Team:
    """The team with that policy, which ``gateway.admission.policy`` has checked; none allows everything."""
    return await _set(tx, team_id, policy=sa.null() if policy is None else dict(policy))


async def set_webhook(tx: AsyncConnection, team_id: str, url: str | None) -> Team:
    """The team with that address for its webhooks, which ``gateway.webhooks.urls`` has checked; none takes it away."""
    return await _set(tx, team_id, webhook_url=url)


async def drain(tx: AsyncConnection, team_id: str, at: datetime | None) -> Team:
    """The team, taking no new orders from then on; with none, taking them again."""
    return await _set(tx, team_id, drained_at=at)


async def delete(tx: AsyncConnection, team_id: str, at: datetime) -> Team:
    """End the team: its name is free again. Its keys are the caller's to revoke, in the same transaction."""
    return await _set(tx, team_id, name=team_id, deleted_at=at, drained_at=at)


async def _set(tx: AsyncConnection, team_id: str, **values: object) -> Team:
    found = _team.c.id == team_id
    if values:
        row = (await tx.execute(_team.update().where(found).values(**values).returning(_team))).one()
    else:
        row = (await tx.execute(sa.select(_team).where(found))).one()
    return _read(row)


async def _named(tx: AsyncConnection, name: str, statement: sa.Insert | sa.Update) -> Team:
    try:
        async with tx.begin_nested():
            row = (await tx.execute(statement.returning(_team))).one()
    except sa.exc.IntegrityError:
        raise errors.Conflict(f"name: there is a team {name!r} already", param="name") from None
    return _read(row)


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise errors.InvalidParameter(
            "name: use 1 to 63 lower-case letters, digits, dots, dashes or underscores, a letter or digit first",
            param="name",
        )


def _require_bound(name: str, value: int | None) -> None:
    least, most = BOUNDS[name]
    spelled = re.sub(r"_([a-z])", lambda match: match[1].upper(), name)
    if value is None:
        if name != "concurrency":
            raise errors.InvalidParameter(f"{spelled}: give a number", param=spelled)
    elif not least <= value <= most:
        raise errors.InvalidParameter(f"{spelled}: use {least} to {most}, not {value}", param=spelled)


def _read(row: sa.Row[tuple[object, ...]]) -> Team:
    return Team(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        max_queue_s=row.max_queue_s,
        rpm=row.rpm,
        concurrency=row.concurrency,
        queue_depth=row.queue_depth,
        policy=row.policy,
        drained_at=row.drained_at,
        deleted_at=row.deleted_at,
        webhook_url=row.webhook_url,
    )
