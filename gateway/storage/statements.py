"""Statements that both databases need and SQLAlchemy spells twice, and rows that are given as lists, on PostgreSQL."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Addition:
    """New rows that somebody else's statement shall write along: columns with a value for each row, and for all."""

    table: sa.Table
    own: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]
    shared: Mapping[str, Any]


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
    statement: sa.Executable = _changing(insert, table, add, replace).returning(table)
    return statement


def _changing(insert: Any, table: sa.Table, add: Iterable[str], replace: Iterable[str]) -> Any:  # noqa: ANN401  two kinds
    return insert.on_conflict_do_update(
        index_elements=[column.name for column in table.primary_key.columns],
        set_={name: table.c[name] + insert.excluded[name] for name in add}
        | {name: insert.excluded[name] for name in replace},
    )


def inserting(table: sa.Table, own: Sequence[str], shared: Sequence[str], lists: str) -> sa.Insert:
    """An ``INSERT`` for PostgreSQL of as many rows as the lists are long: to be a part of a greater statement.

    The columns of ``own`` have a list each, in the parameter of that name behind ``lists``; those that are ``shared``
    have one value for all rows. One text for any number of rows, so that it is built and prepared once.
    """
    return postgresql.insert(table).from_select([*own, *shared], _listed(table, own, shared, lists))


def upserting(
    table: sa.Table,
    own: Sequence[str],
    shared: Sequence[str],
    lists: str,
    add: Sequence[str],
    after: sa.CTE | None = None,
) -> Any:  # noqa: ANN401  the dialect's own kind
    """As ``inserting``, but the ``add`` columns of a row that is there grow. Locks in the order of the lists.

    With ``after`` it begins when that part has come to its end, and has locked what it locks.
    """
    rows = _listed(table, own, shared, lists)
    if after is not None:
        rows = rows.where(sa.select(sa.func.count()).select_from(after).scalar_subquery() >= 0)
    return _changing(postgresql.insert(table).from_select([*own, *shared], rows), table, add, ())


def listed(table: sa.Table, rows: Sequence[Mapping[str, Any]], own: Sequence[str], lists: str) -> dict[str, Any]:
    """The parameters for the ``own`` columns of such rows."""
    given: dict[str, Any] = {}
    for name in own:
        values = [row[name] for row in rows]
        given[lists + name] = [json.dumps(value) for value in values] if _is_json(table, name) else values
    return given


def _sent_as(kind: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any]:
    """JSON is text, or a list of it would have to be told from JSON that is a list; text has no length.

    A parameter of a length would be cut to it without a word, where the column itself refuses it.
    """
    return sa.Text() if isinstance(kind, sa.JSON | sa.String) else kind


def _is_json(table: sa.Table, name: str) -> bool:
    return isinstance(table.c[name].type, sa.JSON)


def _listed(table: sa.Table, own: Sequence[str], shared: Sequence[str], lists: str) -> sa.Select[Any]:
    kinds = {name: _sent_as(table.c[name].type) for name in own}
    given = (
        sa.func.unnest(*(sa.bindparam(lists + name, type_=postgresql.ARRAY(kinds[name], dimensions=1)) for name in own))
        .table_valued(*(sa.column(name, kinds[name]) for name in own), name=f"{lists}rows")
        .render_derived()
    )
    columns = [sa.cast(given.c[name], table.c[name].type) if _is_json(table, name) else given.c[name] for name in own]
    return sa.select(*columns, *(sa.bindparam(lists + name, type_=_sent_as(table.c[name].type)) for name in shared))
