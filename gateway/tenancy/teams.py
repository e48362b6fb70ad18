"""The teams of the installation. A team's id never changes; its name is for people."""

import re
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, ids
from gateway.storage import tables

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)


@dataclass(frozen=True)
class Team:
    """A team as the store has it."""

    id: str
    name: str
    created_at: datetime
    max_queue_s: int


async def create(tx: AsyncConnection, name: str, at: datetime) -> Team:
    """A new team; ``InvalidParameter`` for a bad name, ``Conflict`` for one that is taken."""
    if not _NAME.fullmatch(name):
        raise errors.InvalidParameter(
            "name: use 1 to 63 lower-case letters, digits, dots, dashes or underscores, a letter or digit first",
            param="name",
        )
    try:
        async with tx.begin_nested():
            row = (
                await tx.execute(
                    tables.teams.insert().values(id=ids.team(), name=name, created_at=at).returning(tables.teams)
                )
            ).one()
    except sa.exc.IntegrityError:
        raise errors.Conflict(f"name: there is a team {name!r} already", param="name") from None
    return _team(row)


async def find(connection: AsyncConnection, name_or_id: str) -> Team:
    """The team of that name or id; ``TeamNotFound``."""
    team = tables.teams
    row = (
        await connection.execute(sa.select(team).where(sa.or_(team.c.name == name_or_id, team.c.id == name_or_id)))
    ).first()
    if row is None:
        raise errors.TeamNotFound(f"there is no team {name_or_id[:80]!r}", param="team")
    return _team(row)


async def listing(connection: AsyncConnection) -> list[Team]:
    """All teams by name."""
    rows = await connection.execute(sa.select(tables.teams).order_by(tables.teams.c.name))
    return [_team(row) for row in rows]


def _team(row: sa.Row[tuple[object, ...]]) -> Team:
    return Team(id=row.id, name=row.name, created_at=row.created_at, max_queue_s=row.max_queue_s)
