"""The ledger as its readers see it, and the entries that an operator makes by hand.

An operator's entry has a reference of its own, such as a ticket's number; the same one twice is a ``Conflict``, so that
a correction repeated after a lost answer moves nothing twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, money
from gateway.ledger import book
from gateway.ledger.book import Correction
from gateway.ledger.entries import Kind
from gateway.storage import pages, tables
from gateway.storage.pages import Page, Slice

_entry = tables.ledger_entries


@dataclass(frozen=True)
class Filter:
    """Which entries are asked for; an empty one asks for all. ``until`` itself is not among them."""

    team_id: str | None = None
    key_id: str | None = None
    job_id: str | None = None
    model: str | None = None
    kind: Kind | None = None
    since: datetime | None = None
    until: datetime | None = None


async def page(connection: AsyncConnection, wanted: Filter, asked: Slice) -> Page:
    """A slice of the entries, newest first."""
    question = sa.select(_entry)
    for name in ("team_id", "key_id", "job_id", "model", "kind"):
        value = getattr(wanted, name)
        if value is not None:
            question = question.where(_entry.c[name] == value)
    if wanted.since is not None:
        question = question.where(_entry.c.created_at >= wanted.since)
    if wanted.until is not None:
        question = question.where(_entry.c.created_at < wanted.until)
    return await pages.page(connection, question, (_entry.c.created_at, _entry.c.id), asked, newest_first=True)


async def of_team(connection: AsyncConnection, team_id: str) -> Sequence[sa.Row[Any]]:
    """All entries of the team, oldest first, for its export."""
    question = sa.select(_entry).where(_entry.c.team_id == team_id).order_by(_entry.c.created_at, _entry.c.id)
    return (await connection.execute(question)).all()


async def spent_micros(connection: AsyncConnection, job_id: str) -> int:
    """What the job has cost by all of its entries."""
    moved = sa.case(
        (_entry.c.kind.in_([Kind.CHARGE, Kind.ADJUST]), _entry.c.amount_micros),
        (_entry.c.kind == Kind.REFUND, -_entry.c.amount_micros),
        else_=0,
    )
    total = await connection.execute(
        sa.select(sa.func.coalesce(sa.func.sum(moved), 0)).where(_entry.c.job_id == job_id)
    )
    return int(total.scalar_one())


async def adjust(tx: AsyncConnection, entered: Correction, amount_micros: int, at: datetime) -> None:
    """Correct by hand: positive takes more, negative gives back. ``Conflict`` for a reference that was used before."""
    if amount_micros == 0:
        raise errors.InvalidParameter("credits: an adjustment of nothing is none", param="credits")
    await _enter(tx, entered, Kind.ADJUST, amount_micros, at)


async def refund(tx: AsyncConnection, entered: Correction, amount_micros: int, at: datetime) -> None:
    """Give back by hand; of a job no more than it has cost. ``Conflict`` for a reference that was used before."""
    if amount_micros <= 0:
        raise errors.InvalidParameter("credits: a refund is more than nothing", param="credits")
    # First: a repeated refund shall read that it is a repetition, not that nothing is left.
    await _require_unused(tx, entered.reference)
    if entered.job_id is not None:
        left_micros = await spent_micros(tx, entered.job_id)
        if amount_micros > left_micros:
            raise errors.Conflict(
                f"the job has cost {money.credits(left_micros)} credits; no more can be refunded", param="credits"
            )
    await _enter(tx, entered, Kind.REFUND, amount_micros, at)


async def _enter(tx: AsyncConnection, entered: Correction, kind: Kind, amount_micros: int, at: datetime) -> None:
    try:
        async with tx.begin_nested():
            await book.correct(tx, entered, kind, amount_micros, at)
    except sa.exc.IntegrityError:
        raise _used(entered.reference) from None


async def _require_unused(connection: AsyncConnection, reference: str) -> None:
    """``Conflict`` for a reference that an entry has already."""
    if (await connection.execute(sa.select(_entry.c.id).where(_entry.c.reference == reference))).first() is not None:
        raise _used(reference)


def _used(reference: str) -> errors.Conflict:
    return errors.Conflict(f"reference: there is an entry {reference[:80]!r} already", param="reference")
