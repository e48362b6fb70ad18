"""Where the credits went: the ledger's entries summed by team, model, key or day. Reads; the proof is ``proof``'s.

A day is the one that a hold was taken in, in UTC, as with budgets: what a job costs later counts for the day of its
order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.ledger.entries import Kind
from gateway.storage import tables

_entry = tables.ledger_entries
_image = tables.images


class By(StrEnum):
    """What usage can be summed by."""

    TEAM = "team"
    MODEL = "model"
    KEY = "key"
    DAY = "day"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of an entry that make a group."""
        return {By.TEAM: ("team_id",), By.MODEL: ("model",), By.KEY: ("team_id", "key_id"), By.DAY: ("day",)}[self]


@dataclass(frozen=True)
class Span:
    """Whose usage, and of which days, such as ``2026-11-23``; ``until`` itself is not among them."""

    team_id: str | None = None
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True)
class Usage:
    """The sums of one group; ``group`` has the values of the columns it is made by."""

    group: tuple[str, ...]
    jobs: int = 0
    pictures: int = 0
    charged_micros: int = 0
    refunded_micros: int = 0
    adjusted_micros: int = 0
    held_micros: int = 0

    @property
    def spent_micros(self) -> int:
        """What it all came to."""
        return self.charged_micros + self.adjusted_micros - self.refunded_micros


async def summed(connection: AsyncConnection, by: By, span: Span) -> list[Usage]:
    """The usage of each group in order; none for a group without entries."""
    columns = [_entry.c[name] for name in by.columns]
    moved = await connection.execute(
        sa.select(*columns, _entry.c.kind, sa.func.sum(_entry.c.amount_micros).label("micros"))
        .where(*_within(span))
        .group_by(*columns, _entry.c.kind)
    )
    sums: dict[tuple[str, ...], dict[str, int]] = {}
    for row in moved:
        sums.setdefault(tuple(row[: len(columns)]), {})[row.kind] = int(row.micros)
    jobs = await _counted(connection, by, span, pictures=False)
    pictures = await _counted(connection, by, span, pictures=True)
    return [
        Usage(
            group=group,
            jobs=jobs.get(group, 0),
            pictures=pictures.get(group, 0),
            charged_micros=kinds.get(Kind.CHARGE, 0),
            refunded_micros=kinds.get(Kind.REFUND, 0),
            adjusted_micros=kinds.get(Kind.ADJUST, 0),
            held_micros=kinds.get(Kind.HOLD, 0) - kinds.get(Kind.RELEASE, 0),
        )
        for group, kinds in sorted(sums.items())
    ]


async def _counted(connection: AsyncConnection, by: By, span: Span, *, pictures: bool) -> dict[tuple[str, ...], int]:
    """How many jobs, or pictures, each group has: every job has one first hold, which names its group."""
    columns = [_entry.c[name] for name in by.columns]
    question = sa.select(*columns, sa.func.count()).where(
        *_within(span), _entry.c.kind == Kind.HOLD, _entry.c.attempt == 1
    )
    if pictures:
        question = question.join_from(_entry, _image, _image.c.job_id == _entry.c.job_id)
    rows = await connection.execute(question.group_by(*columns))
    return {tuple(row[:-1]): int(row[-1]) for row in rows}


def total(usages: Sequence[Usage]) -> Usage:
    """The sums of all groups."""
    names = ("jobs", "pictures", "charged_micros", "refunded_micros", "adjusted_micros", "held_micros")
    return Usage((), **{name: sum(getattr(usage, name) for usage in usages) for name in names})


def _within(span: Span) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if span.team_id is not None:
        found.append(_entry.c.team_id == span.team_id)
    if span.since is not None:
        found.append(_entry.c.day >= span.since)
    if span.until is not None:
        found.append(_entry.c.day < span.until)
    return found
