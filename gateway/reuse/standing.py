"""What the cache holds and what reuse has saved, summed for people and their reports. Reads; changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.reuse.places import POOL
from gateway.storage import reuse_tables

_entry = reuse_tables.cache_entries
_saving = reuse_tables.savings
#: What savings can be summed by; of a key nothing is known, since a hit is counted for its team.
COLUMNS: Final = ("team_id", "model", "day")


@dataclass(frozen=True, slots=True)
class Held:
    """How many requests can be answered again: a team's own, and those it shares with others."""

    entries: int = 0
    shared: int = 0


@dataclass(frozen=True, slots=True)
class Savings:
    """Answers that cost nothing, and what they would have cost in micro-credits."""

    answers: int = 0
    micros: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """Whose savings, of which model, and of which days, such as ``2026-11-23``; ``until`` itself is not among them."""

    team_id: str | None = None
    model: str | None = None
    since: str | None = None
    until: str | None = None


async def held(
    connection: AsyncConnection, team_id: str | None = None, model: str | None = None
) -> dict[tuple[str, str], Held]:
    """What the cache holds by team and model; those whose time is over count until they are swept."""
    shared = sa.func.sum(sa.case((_entry.c.scope == POOL, 1), else_=0))
    rows = await connection.execute(
        sa.select(_entry.c.team_id, _entry.c.model, sa.func.count().label("entries"), shared.label("shared"))
        .where(*_same(_entry, team_id, model))
        .group_by(_entry.c.team_id, _entry.c.model)
    )
    return {(row.team_id, row.model): Held(int(row.entries) - int(row.shared), int(row.shared)) for row in rows}


async def saved(
    connection: AsyncConnection, by: Sequence[str], span: Span | None = None
) -> dict[tuple[str, ...], Savings]:
    """What was saved, by some of ``COLUMNS``; by none of them all in one, under ``()``, if there is anything."""
    span = span or Span()
    columns = [_saving.c[name] for name in by]
    days: list[sa.ColumnElement[bool]] = []
    if span.since is not None:
        days.append(_saving.c.day >= span.since)
    if span.until is not None:
        days.append(_saving.c.day < span.until)
    rows = await connection.execute(
        sa.select(*columns, sa.func.sum(_saving.c.hits), sa.func.sum(_saving.c.saved_micros))
        .where(*_same(_saving, span.team_id, span.model), *days)
        .group_by(*columns)
    )
    return {tuple(row[:-2]): Savings(int(row[-2]), int(row[-1])) for row in rows if row[-2] is not None}


def _same(table: sa.Table, team_id: str | None, model: str | None) -> list[sa.ColumnElement[bool]]:
    wanted: dict[str, Any] = {"team_id": team_id, "model": model}
    return [table.c[name] == value for name, value in wanted.items() if value is not None]
