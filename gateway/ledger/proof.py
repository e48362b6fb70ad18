"""The proof that the balances are the sums of the entries. Reads; repairs nothing."""

from collections import Counter
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.ledger import entries
from gateway.ledger.entries import Kind, Windows
from gateway.storage import tables


@dataclass(frozen=True)
class Difference:
    """A balance that is not what its entries add up to, in micro-credits."""

    team_id: str
    key_id: str
    period: str
    column: str
    balance_micros: int
    entries_micros: int


async def differences(connection: AsyncConnection) -> list[Difference]:
    """Every balance that differs from its entries; empty when the book is right."""
    entry = tables.ledger_entries
    grouped = await connection.execute(
        sa.select(
            entry.c.team_id,
            entry.c.key_id,
            entry.c.kind,
            entry.c.day,
            entry.c.month,
            sa.func.sum(entry.c.amount_micros).label("amount_micros"),
        ).group_by(entry.c.team_id, entry.c.key_id, entry.c.kind, entry.c.day, entry.c.month)
    )
    sums: Counter[tuple[str, str, str, str]] = Counter()
    for row in grouped:
        moved = entries.effect(Kind(row.kind), int(row.amount_micros))
        for key_id in {"", row.key_id}:  # an entry of the team alone has no key
            for period in Windows(row.day, row.month).periods:
                sums[row.team_id, key_id, period, "held_micros"] += moved.held_micros
                sums[row.team_id, key_id, period, "spent_micros"] += moved.spent_micros
    balances: dict[tuple[str, str, str, str], int] = {}
    for row in await connection.execute(sa.select(tables.balances)):
        for column in ("held_micros", "spent_micros"):
            balances[row.team_id, row.key_id, row.period, column] = getattr(row, column)
    return [
        Difference(*place, balance_micros=balances.get(place, 0), entries_micros=sums[place])
        for place in sorted(sums.keys() | balances.keys())
        if balances.get(place, 0) != sums[place]
    ]
