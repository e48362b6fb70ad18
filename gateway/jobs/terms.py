"""On what terms a caller's orders for one model and size come in at this moment: one question to the store, no lock.

How long the team's jobs may wait and how many do, what a picture costs, what the budgets leave. What passes here is
looked at again where it counts: budgets under their lock, the price when the job is sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.admission import depth
from gateway.images import price
from gateway.jobs import pricing, states
from gateway.jobs.draft import Draft
from gateway.jobs.pricing import Priced
from gateway.jobs.states import State
from gateway.ledger import budgets, entries
from gateway.ledger.budgets import Budget, Standing
from gateway.storage import tables

_team = tables.teams
_price = tables.prices
_budget = tables.budgets
_balance = tables.balances
_account = tables.upstream_account


@dataclass(frozen=True)
class Terms:
    """What one question told; amounts in micro-credits."""

    max_queue_s: int
    queue_depth: int
    #: Jobs of the team that wait, counted up to its ``queue_depth``.
    waiting: int
    #: The operator's price, if there is one; none where the catalogue's holds.
    priced: Priced | None
    #: The budgets of team and key, and what is used of each.
    standings: Sequence[Standing]
    #: The upstream's balance as last seen; none before its first answer.
    balance_micros: int | None

    @property
    def limits(self) -> list[Budget]:
        """The budgets of team and key."""
        return [each.budget for each in self.standings]

    @property
    def remaining_micros(self) -> int | None:
        """What is left of the tightest budget; without any, the upstream's balance as last seen."""
        left = budgets.left_micros(self.standings)
        return self.balance_micros if left is None else left

    def require(self, draft: Draft, ahead: int = 0, ahead_micros: int = 0) -> int:
        """What the order is to hold, with so many of its kind, and so much, ahead of it.

        Raises ``RateLimited`` when the line is full, ``PriceBlocked``, or ``BudgetExhausted`` when it surely does not
        fit: what is refused here stands in nobody's way.
        """
        depth.require_room(self.waiting + ahead, self.queue_depth)
        hold_micros = pricing.hold(draft.model, draft.admitted.parameters, self.priced)
        for each in self.standings:
            held = each.held_micros + ahead_micros + hold_micros
            budgets.require([Standing(each.budget, each.period, each.spent_micros, held)], hold_micros)
        return hold_micros

    def deadline(self, draft: Draft, now: datetime) -> datetime:
        """Until when the order's job may wait for its start."""
        patience_s = min(self.max_queue_s, draft.order.start_within_s or self.max_queue_s)
        return now + min(timedelta(seconds=patience_s), states.LONGEST_QUEUE)


async def ask(tx: AsyncConnection, draft: Draft, now: datetime) -> Terms:
    """The terms for that order; ``NotAuthenticated`` for a team that is no more, ``TeamDrained``."""
    caller, windows = draft.caller, entries.windows(now)
    given = {
        "team": caller.team_id,
        "key": caller.key_id,
        "day": windows.day,
        "month": windows.month,
        "model": draft.model.api_id,
        "size": price.resolution(draft.model, draft.admitted.parameters),
    }
    rows = (await tx.execute(_question(), given)).all()
    if not rows:
        raise errors.NotAuthenticated
    first = rows[0]
    if first.drained_at is not None:
        raise errors.TeamDrained
    limits = [
        Budget(caller.team_id, row.key_id, budgets.Window(row.window), row.limit_micros, row.soft_micros)
        for row in rows
        if row.window is not None
    ]
    used = {(row.key_id, row.period): (row.spent_micros or 0, row.held_micros or 0) for row in rows if row.window}
    if any(each.key_id for each in limits):
        # Of a chain of keys the sums of all its keys count.
        used = dict(await budgets.used(tx, limits, windows, caller.key_id))
    return Terms(
        max_queue_s=first.max_queue_s,
        queue_depth=first.queue_depth,
        waiting=first.waiting,
        priced=None if first.priced is None else Priced(first.micros, first.blocked_at is not None),
        standings=budgets.stand(limits, windows, used),
        balance_micros=first.remaining_micros,
    )


@lru_cache
def _question() -> sa.Select[Any]:
    of_team, of_key = sa.bindparam("team", type_=sa.String), sa.bindparam("key", type_=sa.String)
    may_wait = sa.select(_team.c.queue_depth).where(_team.c.id == of_team).scalar_subquery()
    waiting = sa.select(sa.func.count()).select_from(depth.line(of_team, State.QUEUED, may_wait)).scalar_subquery()
    seen = sa.select(_account.c.remaining_micros).limit(1).scalar_subquery()
    period = sa.case(
        (_budget.c.window == budgets.Window.DAY, sa.bindparam("day", type_=sa.String)),
        (_budget.c.window == budgets.Window.MONTH, sa.bindparam("month", type_=sa.String)),
        else_=budgets.TOTAL,
    )
    priced = sa.and_(
        _price.c.model == sa.bindparam("model", type_=sa.String),
        _price.c.resolution == sa.bindparam("size", type_=sa.String),
    )
    moved = sa.and_(
        _balance.c.team_id == _team.c.id, _balance.c.key_id == _budget.c.key_id, _balance.c.period == period
    )
    return (
        sa.select(
            *(_team.c.max_queue_s, _team.c.queue_depth, _team.c.drained_at),
            waiting.label("waiting"),
            seen.label("remaining_micros"),
            *(_price.c.model.label("priced"), _price.c.micros, _price.c.blocked_at),
            *(_budget.c.key_id, _budget.c.window, _budget.c.limit_micros, _budget.c.soft_micros),
            period.label("period"),
            *(_balance.c.spent_micros, _balance.c.held_micros),
        )
        .select_from(
            _team.outerjoin(_price, priced)
            .outerjoin(_budget, budgets.asked(_team.c.id, of_key))
            .outerjoin(_balance, moved)
        )
        .where(_team.c.id == of_team, _team.c.deleted_at.is_(None))
        .order_by(_budget.c.key_id, _budget.c.window)
    )
