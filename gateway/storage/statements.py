"""Statements that both databases need and SQLAlchemy spells twice. Builds them; runs nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


async def upsert(
    tx: AsyncConnection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    add: Sequence[str] = (),
    replace: Sequence[str] = (),
) -> Sequence[sa.Row[Any]]:
    """Insert each row, or change the one under the same primary key: its ``add`` columns grow, ``replace`` are set.

    Gives the rows as they are now; they stay locked until the transaction ends.

    Rows are sorted by key first, so that two transactions lock the same rows in the same order and cannot deadlock.
    """
    keys = [column.name for column in table.primary_key.columns]
    ordered = sorted(rows, key=lambda row: tuple(row[key] for key in keys))
    insert: Any = (postgresql if tx.dialect.name == "postgresql" else sqlite).insert(table).values(ordered)
    written = await tx.execute(
        insert.on_conflict_do_update(
            index_elements=keys,
            set_={name: table.c[name] + insert.excluded[name] for name in add}
            | {name: insert.excluded[name] for name in replace},
        ).returning(table)
    )
    return written.all()
