"""The rows of the whole record into a backup's file and back, the same from and into either database.

Writing reads one moment of the database; loading is one transaction of the caller's, in portions. What a restored job
has to become is not known here.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.storage import backup_file, declared
from gateway.storage.backup_file import Table, Writer
from gateway.storage.columns import Moment

#: Processes that beat and browsers that are signed in: a restore must bring neither back.
NOT_KEPT: Final = frozenset({"workers", "sessions"})
#: Made by the migrations themselves, so an empty database has rows in them.
BORN_WITH_ROWS: Final = frozenset({"schema_info", "upstream_account", "installation"})
#: Alembic's own; the file's header says what is in it.
_ALEMBIC: Final = "alembic_version"
_PORTION: Final = 500

Spell = Callable[[Any], Any]


async def write(connection: AsyncConnection, out: Writer) -> None:
    """Write every table that there is; ``SchemaMismatch`` if one is not known, or has a column that is not."""
    there = await connection.run_sync(_columns)
    for name in sorted(there.keys() - declared.metadata.tables.keys()):
        raise _unknown(f"table {name}")
    for table in declared.metadata.sorted_tables:
        if table.name in there and table.name not in NOT_KEPT:
            await _write_table(connection, out, table, there[table.name])


async def _write_table(connection: AsyncConnection, out: Writer, table: sa.Table, there: Sequence[str]) -> None:
    for name in there:
        if name not in table.c:
            raise _unknown(f"column {table.name}.{name}")
    columns = [column for column in table.c if column.name in there]
    out.table(str(table.name), [str(column.name) for column in columns])
    spells = [_spelling(column) for column in columns]
    # JSON is taken as the text that it is kept as: nothing is read into it.
    asked = sa.select(*(sa.cast(column, sa.Text) if isinstance(column.type, sa.JSON) else column for column in columns))
    async with connection.stream(asked, execution_options={"yield_per": _PORTION}) as rows:
        async for row in rows:
            out.row([None if cell is None else spell(cell) for spell, cell in zip(spells, row, strict=True)])


async def occupied(connection: AsyncConnection) -> str | None:
    """A table of ours that has rows which no migration made; none in an empty place."""
    there = await connection.run_sync(_columns)
    for table in declared.metadata.sorted_tables:
        if table.name in there and table.name not in BORN_WITH_ROWS:
            asked = sa.select(sa.literal(1)).select_from(table).limit(1)
            if (await connection.execute(asked)).first() is not None:
                return table.name
    return None


async def load(tx: AsyncConnection, items: Iterable[Table | list[Any]]) -> dict[str, int]:
    """Put the rows into the tables, in place of what their migrations put there; how many each has now."""
    for table in reversed(declared.metadata.sorted_tables):
        if table.name in BORN_WITH_ROWS & (await tx.run_sync(_columns)).keys():
            await tx.execute(table.delete())
    counts: dict[str, int] = {}
    waiting = iter(items)
    begun = next(waiting, None)
    while isinstance(begun, Table):
        rows = _Rows(waiting)
        counts[begun.name] = await _load_table(tx, begun, rows)
        begun = rows.following
    return counts


class _Rows:
    """The rows up to the next table, which is ``following`` once they are over."""

    def __init__(self, items: Iterator[Table | list[Any]]) -> None:
        self._items = items
        self.following: Table | None = None

    def __iter__(self) -> Iterator[list[Any]]:
        for item in self._items:
            if isinstance(item, Table):
                self.following = item
                return
            yield item


async def _load_table(tx: AsyncConnection, begun: Table, rows: Iterable[list[Any]]) -> int:
    known = declared.metadata.tables.get(begun.name)
    if known is None or not set(begun.columns) <= set(known.c.keys()):
        raise _unknown(f"table {begun.name}, or a column of it")
    columns = [known.c[name] for name in begun.columns]
    # Without the defaults of today: the row is as it was, in the schema that it had.
    target = sa.table(begun.name, *(sa.column(column.name, _kept_as(column)) for column in columns))
    reads = [_reading(column) for column in columns]
    count, waiting = 0, iter(rows)
    while portion := list(islice(waiting, _PORTION)):
        values = [
            {
                name: None if cell is None else read(cell)
                for name, read, cell in zip(begun.columns, reads, row, strict=True)
            }
            for row in portion
        ]
        await tx.execute(target.insert(), values)
        count += len(portion)
    return count


def _columns(connection: sa.Connection) -> Mapping[str, Sequence[str]]:
    look = sa.inspect(connection)
    names = (name for name in look.get_table_names() if name != _ALEMBIC)
    return {name: [column["name"] for column in look.get_columns(name)] for name in names}


def _kept_as(column: sa.Column[Any]) -> sa.types.TypeEngine[Any]:
    # Nothing and JSON's null are two things, and stay two.
    return sa.JSON(none_as_null=True) if isinstance(column.type, sa.JSON) else column.type


def _same(cell: Any) -> Any:  # noqa: ANN401  whatever the column holds
    return cell


def _read_json(text: str) -> Any:  # noqa: ANN401  as above
    value = json.loads(text)
    return sa.JSON.NULL if value is None else value


def _spelling(column: sa.Column[Any]) -> Spell:
    return _of_type(column)[0]


def _reading(column: sa.Column[Any]) -> Spell:
    return _of_type(column)[1]


_WAYS: Final[Mapping[type[sa.types.TypeEngine[Any]], tuple[Spell, Spell]]] = MappingProxyType(
    {
        Moment: (datetime.isoformat, datetime.fromisoformat),
        sa.LargeBinary: (backup_file.spell_bytes, backup_file.read_bytes),
        sa.JSON: (_same, _read_json),
        sa.Boolean: (bool, _same),
        sa.Integer: (_same, _same),
        sa.Float: (_same, float),
        sa.String: (_same, _same),
    }
)


def _of_type(column: sa.Column[Any]) -> tuple[Spell, Spell]:
    for kind, ways in _WAYS.items():
        if isinstance(column.type, kind):
            return ways
    raise TypeError(f"{column}: no way to write its type into a backup")


def _unknown(what: str) -> errors.SchemaMismatch:
    return errors.SchemaMismatch(
        f"TORII_DATABASE_URL: {what} is not known to this Torii; use the one that made it",
        param="TORII_DATABASE_URL",
    )
