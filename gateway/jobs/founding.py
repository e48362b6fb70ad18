"""New jobs of one caller for one model and size, with their holds: the rows of all of them in one statement.

The caller's transaction decides who comes in (``terms``); here the budgets have the last word, under their lock. Knows
no flight and no cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.images import price
from gateway.jobs import record
from gateway.jobs.draft import Draft
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.jobs.terms import Terms
from gateway.ledger import book, entries
from gateway.ledger.book import Hold
from gateway.ledger.entries import Payer
from gateway.storage import tables
from gateway.storage.statements import Addition

#: What each order has of its own.
_OWN: Final = (
    *("id", "parameters", "details", "webhook_url", "trace_parent", "priority", "fingerprint"),
    *("hold_micros", "queue_deadline_at"),
)


@dataclass(frozen=True, slots=True)
class Plot:
    """An order that may come in: the id that its job will have, and what it is to hold."""

    job_id: str
    draft: Draft
    hold_micros: int


@dataclass(frozen=True, slots=True)
class Founded:
    """A job that is there once the transaction is committed, and what its caller may spend after it."""

    job: Job
    remaining_micros: int | None


async def found(tx: AsyncConnection, plots: Sequence[Plot], terms: Terms, now: datetime) -> list[Founded]:
    """The jobs, in that order, with their holds; ``BudgetExhausted`` unless all of these fit."""
    first = plots[0].draft
    shared = common(first, now)
    rows = [{**own(plot.draft, terms, now), "id": plot.job_id, "hold_micros": plot.hold_micros} for plot in plots]
    payer = Payer(first.caller.team_id, first.caller.key_id, first.model.api_id)
    windows = entries.windows(now)
    left = await book.hold_all(
        tx,
        [Hold(payer, plot.job_id, 1, plot.hold_micros, windows) for plot in plots],
        now,
        limits=terms.limits,
        beside=Addition(tables.jobs, _OWN, rows, shared),
    )
    made, behind_micros = [], 0
    for row in reversed(rows):
        # To each as if it had come by itself.
        remaining = terms.balance_micros if left is None else left + behind_micros
        made.append(Founded(record.fresh({**shared, **row}), remaining))
        behind_micros += row["hold_micros"]
    return made[::-1]


def common(draft: Draft, now: datetime) -> dict[str, Any]:
    """What the rows of all orders of that caller, model and size have in common when they come in."""
    return {
        "team_id": draft.caller.team_id,
        "key_id": draft.caller.key_id,
        "model": draft.model.api_id,
        "model_version": draft.model.version,
        "resolution": price.resolution(draft.model, draft.admitted.parameters),
        "state": State.QUEUED,
        "version": 1,
        "attempt": 1,
        "created_at": now,
        "due_at": now,
    }


def own(draft: Draft, terms: Terms, now: datetime) -> dict[str, Any]:
    """What the row of that order has of its own."""
    return {
        "parameters": dict(draft.admitted.parameters),
        "details": draft.order.details,
        "webhook_url": draft.order.webhook_url,
        "trace_parent": draft.trace_parent,
        "priority": draft.order.priority,
        "fingerprint": draft.fingerprint,
        "queue_deadline_at": terms.deadline(draft, now),
    }
