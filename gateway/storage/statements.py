"""Statements that both databases need and SQLAlchemy spells twice. Builds them; runs nothing."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
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
    # Values go beside the statement, not into it: SQLAlchemy compiles one that holds rows anew each time.
    written = await tx.execute(_upsert(tx.dialect.name, table, tuple(add), tuple(replace)), ordered)
    return written.all()


@lru_cache
def _upsert(dialect: str, table: sa.Table, add: tuple[str, ...], replace: tuple[str, ...]) -> sa.Executable:
    insert: Any = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    statement: sa.Executable = insert.on_conflict_do_update(
        index_elements=[column.name for column in table.primary_key.columns],
        set_={name: table.c[name] + insert.excluded[name] for name in add}
        | {name: insert.excluded[name] for name in replace},
    ).returning(table)
    return statement
