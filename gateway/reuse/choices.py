"""What each team has chosen about reuse, as the store has it. Decides nothing; ``places`` does."""

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.reuse.places import POOL
from gateway.storage import reuse_tables, statements
from gateway.tenancy.choices import Choices

#: A year; who wants more wants none.
TTL_MAX_S = 366 * 86_400

_choice = reuse_tables.reuse_choices
_entry = reuse_tables.cache_entries


async def of(connection: AsyncConnection, team_id: str) -> Choices:
    """The team's choices."""
    row = (await connection.execute(sa.select(_choice).where(_choice.c.team_id == team_id))).first()
    return Choices() if row is None else Choices(row.ttl_s, row.unseeded, row.pool)


async def of_all(connection: AsyncConnection, team_ids: Iterable[str]) -> dict[str, Choices]:
    """The choices of those teams that have chosen anything."""
    rows = await connection.execute(sa.select(_choice).where(_choice.c.team_id.in_(sorted(team_ids))))
    return {row.team_id: Choices(row.ttl_s, row.unseeded, row.pool) for row in rows}


async def put(tx: AsyncConnection, team_id: str, chosen: Choices) -> None:
    """Set the team's choices; ``InvalidParameter`` for a life that is none.

    Who leaves the pool takes its pictures along: none of them is found there from the commit on.
    """
    if chosen.ttl_s is not None and not 1 <= chosen.ttl_s <= TTL_MAX_S:
        raise errors.InvalidParameter(f"cache.ttlS: use 1 to {TTL_MAX_S} seconds, or none", param="cache.ttlS")
    values = {"team_id": team_id, "ttl_s": chosen.ttl_s, "unseeded": chosen.unseeded, "pool": chosen.pool}
    await statements.upsert(tx, _choice, [values], replace=("ttl_s", "unseeded", "pool"))
    if not chosen.pool:
        await tx.execute(_entry.delete().where(_entry.c.scope == POOL, _entry.c.team_id == team_id))
