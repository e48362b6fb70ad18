"""The book of credits: every entry, and the balances that it moves, in the caller's own transaction.

Entries are only ever added. An entry of a job is unique by (job, attempt, kind), so a deed done twice fails loudly
instead of moving money twice. Opens no transaction and decides no state: the story of the job does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import ids
from gateway.ledger import budgets, entries, posting
from gateway.ledger.budgets import Budget
from gateway.ledger.entries import Kind, Payer, Windows
from gateway.ledger.posting import Posting
from gateway.storage import tables
from gateway.storage.statements import Addition

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Hold:
    """An amount set aside for one attempt of a job."""

    payer: Payer
    job_id: str
    attempt: int
    amount_micros: int
    windows: Windows


@dataclass(frozen=True)
class Correction:
    """What an operator books by hand, for a job or for a team alone; unique by its reference, not by an attempt."""

    payer: Payer
    job_id: str | None
    windows: Windows
    reference: str
    note: str | None


async def hold(tx: AsyncConnection, opened: Hold, at: datetime) -> int | None:
    """Set the amount aside within every budget, and say what is left of the tightest; none where nothing limits.

    Raises ``BudgetExhausted``. The balances are looked at after they were moved: their rows are locked by then, so that
    of any number of holds at once exactly those that fit are taken. The team's row is among them and is locked first,
    so whatever other keys of the same chain hold is committed, and read, or waits for this hold.
    """
    return await hold_all(tx, [opened], at)


async def hold_all(
    tx: AsyncConnection,
    opened: Sequence[Hold],
    at: datetime,
    limits: Sequence[Budget] | None = None,
    beside: Addition | None = None,
) -> int | None:
    """As ``hold``, for several holds of one key in the same windows: all of them within the budgets, or none.

    ``limits`` are the budgets of team and key, where the caller has just read them; ``beside`` is written along.
    """
    payer, windows = opened[0].payer, opened[0].windows
    if limits is None:
        limits = await budgets.of(tx, payer.team_id, payer.key_id)
    used = await _post_all(tx, [(each, each.amount_micros) for each in opened], Kind.HOLD, at, beside=beside)
    if not limits:
        return None
    if any(each.key_id for each in limits):
        used = dict(await budgets.used(tx, limits, windows, payer.key_id))
    standings = budgets.stand(limits, windows, used)
    budgets.require(standings, sum(each.amount_micros for each in opened))
    for passed in await budgets.warn(tx, standings):
        log.warning(
            "budget_soft_limit_passed",
            team_id=payer.team_id,
            key=passed.budget.key_id,
            window=passed.budget.window,
            period=passed.period,
        )
    return budgets.left_micros(standings)


async def find(tx: AsyncConnection, job_id: str, attempt: int) -> Hold:
    """The hold of an attempt as it was taken; it exists for every attempt, or the story is broken."""
    entry = tables.ledger_entries
    row = (
        await tx.execute(
            sa.select(entry).where(entry.c.job_id == job_id, entry.c.attempt == attempt, entry.c.kind == Kind.HOLD)
        )
    ).one()
    return Hold(
        payer=Payer(row.team_id, row.key_id, row.model),
        job_id=job_id,
        attempt=attempt,
        amount_micros=row.amount_micros,
        windows=Windows(row.day, row.month),
    )


async def charge(tx: AsyncConnection, held: Hold, cost_micros: int, at: datetime) -> None:
    """Book what the attempt cost and give its hold back. The cost may exceed the hold: it is already spent."""
    await _post(tx, held, Kind.CHARGE, cost_micros, at)
    await release(tx, held, at)


async def release(tx: AsyncConnection, held: Hold, at: datetime) -> None:
    """Give the whole hold back."""
    await _post(tx, held, Kind.RELEASE, held.amount_micros, at)


async def renew(tx: AsyncConnection, held: Hold, at: datetime) -> Hold:
    """Exchange the hold of an attempt that was surely not accepted for the next attempt's, in the same windows."""
    following = Hold(held.payer, held.job_id, held.attempt + 1, held.amount_micros, held.windows)
    await release(tx, held, at)
    # Not a new hold: what was within the budget when the job was accepted is not taken back by a refusal.
    await _post(tx, following, Kind.HOLD, following.amount_micros, at)
    return following


async def move(tx: AsyncConnection, held: Hold, job_id: str, key_id: str, at: datetime) -> Hold:
    """Let another job of the team have the hold, in the same windows: its first attempt's, and its key's."""
    payer = Payer(held.payer.team_id, key_id, held.payer.model)
    moved = Hold(payer, job_id, 1, held.amount_micros, held.windows)
    await release(tx, held, at)
    # As in ``renew``, no budget is asked: it is the same amount of the same team.
    await _post(tx, moved, Kind.HOLD, moved.amount_micros, at)
    return moved


async def refund(tx: AsyncConnection, held: Hold, amount_micros: int, at: datetime) -> None:
    """Book what came back of the attempt's charge."""
    await _post(tx, held, Kind.REFUND, amount_micros, at)


async def adjust(tx: AsyncConnection, held: Hold, amount_micros: int, at: datetime, note: str) -> None:
    """Correct an attempt's charge by late evidence; positive takes more, negative gives back."""
    await _post(tx, held, Kind.ADJUST, amount_micros, at, note)


async def correct(tx: AsyncConnection, entered: Correction, kind: Kind, amount_micros: int, at: datetime) -> None:
    """Book an operator's entry; an ``IntegrityError`` says that its reference was used before."""
    await _post(tx, entered, kind, amount_micros, at, entered.note)


async def _post(
    tx: AsyncConnection, held: Hold | Correction, kind: Kind, amount_micros: int, at: datetime, note: str | None = None
) -> dict[tuple[str, str], tuple[int, int]]:
    """Write the entry and move the sums; the balances as they are now: (spent, held) by (key, period)."""
    return await _post_all(tx, [(held, amount_micros)], kind, at, note)


async def _post_all(
    tx: AsyncConnection,
    posted: Sequence[tuple[Hold | Correction, int]],
    kind: Kind,
    at: datetime,
    note: str | None = None,
    beside: Addition | None = None,
) -> dict[tuple[str, str], tuple[int, int]]:
    """As ``_post``, for several of one key in the same windows; the sums are moved once."""
    payer, windows = posted[0][0].payer, posted[0][0].windows
    effects = [(held.payer.model, entries.effect(kind, amount_micros)) for held, amount_micros in posted]
    made = Posting(
        entries=[_entry(held, amount_micros) for held, amount_micros in posted],
        common={
            "team_id": payer.team_id,
            "key_id": payer.key_id,
            "kind": kind,
            "day": windows.day,
            "month": windows.month,
            "note": note,
            "created_at": at,
        },
        # In the order of their keys; an entry of the team alone has no key.
        balances=sorted((key_id, period) for key_id in {"", payer.key_id} for period in windows.periods),
        held_micros=sum(effect.held_micros for _, effect in effects),
        spent_micros=sum(effect.spent_micros for _, effect in effects),
        spending=[
            {
                "model": model,
                "charged_micros": sum(effect.charged_micros for of, effect in effects if of == model),
                "refunded_micros": sum(effect.refunded_micros for of, effect in effects if of == model),
            }
            for model in sorted({of for of, _ in effects})
        ],
    )
    balances = await posting.write(tx, made, beside)
    return {(row.key_id, row.period): (row.spent_micros, row.held_micros) for row in balances}


def _entry(held: Hold | Correction, amount_micros: int) -> dict[str, Any]:
    return {
        "id": ids.entry(),
        "model": held.payer.model,
        "job_id": held.job_id,
        "attempt": held.attempt if isinstance(held, Hold) else None,
        "amount_micros": amount_micros,
        "reference": held.reference if isinstance(held, Correction) else None,
    }
