"""The statements that a posting is: its entries, the balances that they move, and the sums that a scrape reads.

On PostgreSQL all of it is one statement, with the caller's own new rows in it: while the balances are locked nobody
waits for this process. On SQLite there is one writer anyway, and a statement cannot hold another one that writes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage import statements, tables
from gateway.storage.statements import Addition

_ROWS_AT_ONCE: Final = 200
_ENTRY: Final = tables.ledger_entries
_BALANCE: Final = tables.balances
_SPENDING: Final = tables.spending
#: What differs between the rows of one posting.
_OF_ENTRY: Final = ("id", "model", "job_id", "attempt", "amount_micros", "reference")
_OF_BALANCE: Final = ("key_id", "period")
_OF_SPENDING: Final = ("model", "charged_micros", "refunded_micros")
_SUMS: Final = ("held_micros", "spent_micros")
#: Built once, its values given beside it.
_ONE: Final = _ENTRY.insert()


@dataclass(frozen=True)
class Posting:
    """Entries of one kind and one payer, and what they move; the sums by key and period, and by model."""

    entries: Sequence[Mapping[str, Any]]
    #: What all its entries have in common.
    common: Mapping[str, Any]
    #: Whose balances, in the order of their keys, and by how much each.
    balances: Sequence[tuple[str, str]]
    held_micros: int
    spent_micros: int
    #: Of each model, what was charged and given back.
    spending: Sequence[Mapping[str, Any]]


async def write(tx: AsyncConnection, posting: Posting, beside: Addition | None = None) -> Sequence[sa.Row[Any]]:
    """Write it, and with it those rows; the balances as they are now, locked until the transaction ends.

    An ``IntegrityError`` says that it was written before.
    """
    on_postgresql = tx.dialect.name == "postgresql"
    at_once = posting.entries
    if len(at_once) > _ROWS_AT_ONCE:
        # By and by, so that nobody is taken for stalled while its rows are made up.
        for start in range(0, len(at_once), _ROWS_AT_ONCE):
            await tx.execute(_ONE, [{**row, **posting.common} for row in at_once[start : start + _ROWS_AT_ONCE]])
        at_once = ()
    if on_postgresql:
        return await _in_one(tx, posting, at_once, beside)
    if beside is not None:
        await tx.execute(_plain(beside.table), [{**row, **beside.shared} for row in beside.rows])
    if at_once:
        await tx.execute(_ONE, [{**row, **posting.common} for row in at_once])
    team_id = posting.common["team_id"]
    moved = {"team_id": team_id, "held_micros": posting.held_micros, "spent_micros": posting.spent_micros}
    rows = [{"key_id": key_id, "period": period, **moved} for key_id, period in posting.balances]
    balances = await statements.upsert(tx, _BALANCE, rows, add=_SUMS)
    spent = [{"team_id": team_id, **row} for row in posting.spending]
    await statements.upsert(tx, _SPENDING, spent, add=_OF_SPENDING[1:])
    return balances


async def _in_one(
    tx: AsyncConnection, posting: Posting, rows: Sequence[Mapping[str, Any]], beside: Addition | None
) -> Sequence[sa.Row[Any]]:
    team_id = posting.common["team_id"]
    given = {
        **statements.listed(_ENTRY, rows, _OF_ENTRY, "entry_"),
        **{f"entry_{name}": value for name, value in posting.common.items()},
        **statements.listed(_SPENDING, posting.spending, _OF_SPENDING, "sum_"),
        "balance_key_id": [key_id for key_id, _ in posting.balances],
        "balance_period": [period for _, period in posting.balances],
        "balance_held_micros": posting.held_micros,
        "balance_spent_micros": posting.spent_micros,
        "balance_team_id": team_id,
        "sum_team_id": team_id,
    }
    part: tuple[Any, ...] = ()
    if beside is not None:
        given |= statements.listed(beside.table, beside.rows, beside.own, "beside_")
        given |= {f"beside_{name}": value for name, value in beside.shared.items()}
        part = (beside.table, beside.own, tuple(beside.shared))
    moved: Sequence[sa.Row[Any]] = (await tx.execute(_statement(tuple(posting.common), *part), given)).all()
    return moved


@lru_cache
def _statement(
    common: tuple[str, ...],
    table: sa.Table | None = None,
    own: tuple[str, ...] = (),
    shared: tuple[str, ...] = (),
) -> sa.Select[Any]:
    """Balances first, in the order given, then the sums; new rows, which nobody waits for, at any time."""
    moved = (
        statements.upserting(_BALANCE, _OF_BALANCE, ("team_id", *_SUMS), "balance_", add=_SUMS)
        .returning(_BALANCE.c.key_id, _BALANCE.c.period, _BALANCE.c.held_micros, _BALANCE.c.spent_micros)
        .cte("moved")
    )
    summed = statements.upserting(_SPENDING, _OF_SPENDING, ("team_id",), "sum_", add=_OF_SPENDING[1:], after=moved)
    parts = [statements.inserting(_ENTRY, _OF_ENTRY, common, "entry_").cte("entered"), summed.cte("summed")]
    if table is not None:
        parts.insert(0, statements.inserting(table, own, shared, "beside_").cte("beside"))
    return sa.select(moved).add_cte(*parts)


@lru_cache
def _plain(table: sa.Table) -> sa.Insert:
    return table.insert()
