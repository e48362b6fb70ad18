"""How many jobs of a team may wait. The rule is pure; the count stops at the limit, so a long line costs no more.

A job that follows another's does not count: it waits for no turn of its own.
"""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.storage import tables

#: A full line gets shorter with each job that a worker takes; nobody can say sooner when it is this one's turn.
RETRY_AFTER_S: Final = 10


def require_room(waiting: int, allowed: int, more: int = 1) -> None:
    """``RateLimited`` unless one more may wait, or so many more."""
    if waiting + more > allowed:
        raise errors.RateLimited(
            f"{allowed} jobs of this team are waiting already, which is as many as may"
            if more == 1
            else f"{waiting} jobs of this team are waiting already; with {more} more there were more than {allowed}",
            retry_after_s=RETRY_AFTER_S,
            limit=errors.Limit.QUEUE_DEPTH,
        )


async def waiting(connection: AsyncConnection, team_id: str, state: str, at_most: int) -> int:
    """How many jobs of the team are in that state (the caller knows which of its states waits), counted to a limit."""
    counted = line(sa.literal(team_id), state, sa.literal(at_most))
    return (await connection.execute(sa.select(sa.func.count()).select_from(counted))).scalar_one()


def line(team_id: sa.ColumnElement[str], state: str, at_most: sa.ColumnElement[int]) -> sa.Subquery:
    """The team's jobs in that state, a row each up to a limit, as a part of a statement."""
    job = tables.jobs
    own = sa.and_(job.c.team_id == team_id, job.c.state == state, job.c.follows.is_(None))
    return sa.select(sa.literal(1)).where(own).limit(at_most).subquery()


async def check(connection: AsyncConnection, team_id: str, state: str, allowed: int, more: int = 1) -> None:
    """``RateLimited`` if as many jobs of the team wait as may, or would with so many more.

    In the transaction that adds one it is exact on SQLite; on PostgreSQL as many more may slip in as run at once.
    """
    require_room(await waiting(connection, team_id, state, allowed), allowed, more)
