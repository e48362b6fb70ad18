"""What a team or one of its keys may spend and hold in a day, a month, or ever. Reads and writes limits; posts nothing.

Windows are in UTC. No new hold takes spent plus held past a hard limit, at any concurrency: ``book.hold`` looks at the
balances after it has moved them, while it has them locked. A soft limit only warns.

A key that takes another's place goes on with its budget: limits are kept under the first key of such a chain, and what
its keys have spent and held, each under its own id, counts together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, money
from gateway.ledger import entries
from gateway.ledger.entries import Windows
from gateway.storage import tables
from gateway.tenancy import keys

#: The period of the balances that never ends.
TOTAL: Final = "total"

_budget = tables.budgets
_balance = tables.balances
_key = tables.api_keys


class Window(StrEnum):
    """The windows a budget can be for."""

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"

    def period(self, windows: Windows) -> str:
        """The period of the balances that this window looks at."""
        return {Window.DAY: windows.day, Window.MONTH: windows.month, Window.TOTAL: TOTAL}[self]


@dataclass(frozen=True)
class Budget:
    """A limit. ``key_id`` is empty for the team as a whole, else the first key of the chain that is held to it."""

    team_id: str
    key_id: str
    window: Window
    limit_micros: int
    soft_micros: int | None = None


@dataclass(frozen=True)
class Standing:
    """A budget and what is used of it in a period."""

    budget: Budget
    period: str
    spent_micros: int
    held_micros: int

    @property
    def left_micros(self) -> int:
        """What a new hold may still take; never negative, though an overrun may have passed the limit."""
        return max(self.budget.limit_micros - self.spent_micros - self.held_micros, 0)

    @property
    def over(self) -> bool:
        """Whether more is spent and held than the hard limit allows."""
        return self.spent_micros + self.held_micros > self.budget.limit_micros


def asked(team_id: sa.ColumnElement[str], key_id: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Which budgets hold the team and that key, as a part of a statement."""
    one = _key.alias()
    first = sa.select(sa.func.coalesce(one.c.lineage, one.c.id)).where(one.c.id == key_id).scalar_subquery()
    return sa.and_(_budget.c.team_id == team_id, sa.or_(_budget.c.key_id == "", _budget.c.key_id == first))


def checked(budget: Budget) -> Budget:
    """The budget itself; ``InvalidParameter`` names what is wrong with it."""
    if budget.limit_micros < 0:
        raise errors.InvalidParameter("limit: must not be negative", param="limit")
    if budget.soft_micros is not None and not 0 <= budget.soft_micros <= budget.limit_micros:
        raise errors.InvalidParameter("soft: must be between 0 and the limit", param="soft")
    return budget


async def put(tx: AsyncConnection, budget: Budget) -> None:
    """Set a limit, in place of the one that this window had."""
    checked(budget)
    await remove(tx, budget.team_id, budget.key_id, budget.window)
    await tx.execute(
        _budget.insert().values(
            team_id=budget.team_id,
            key_id=budget.key_id,
            window=budget.window,
            limit_micros=budget.limit_micros,
            soft_micros=budget.soft_micros,
        )
    )


async def remove(tx: AsyncConnection, team_id: str, key_id: str, window: Window) -> bool:
    """Take a limit away; whether there was one."""
    gone = await tx.execute(
        _budget.delete().where(_budget.c.team_id == team_id, _budget.c.key_id == key_id, _budget.c.window == window)
    )
    return gone.rowcount > 0


async def of(connection: AsyncConnection, team_id: str, key_id: str | None = None) -> list[Budget]:
    """The team's own limits and, with a key, those of its chain too; with none, those of all its keys."""
    question = sa.select(_budget).where(_budget.c.team_id == team_id)
    if key_id is None:
        later = sa.select(_key.c.id).where(_key.c.team_id == team_id, _key.c.lineage.is_not(None))
        question = question.where(_budget.c.key_id.not_in(later))
    else:
        question = question.where(sa.or_(_budget.c.key_id == "", _budget.c.key_id == keys.first_of(key_id)))
    rows = await connection.execute(question.order_by(_budget.c.key_id, _budget.c.window))
    return [Budget(row.team_id, row.key_id, Window(row.window), row.limit_micros, row.soft_micros) for row in rows]


async def standing(
    connection: AsyncConnection, team_id: str, at: datetime, key_id: str | None = None
) -> list[Standing]:
    """Where the team's (and the key's) budgets stand at a moment."""
    limits = await of(connection, team_id, key_id)
    if not limits:
        return []
    windows = entries.windows(at)
    return stand(limits, windows, await used(connection, limits, windows, key_id))


async def used(
    connection: AsyncConnection, limits: Sequence[Budget], windows: Windows, key_id: str | None = None
) -> Mapping[tuple[str, str], tuple[int, int]]:
    """What is used of one team's limits: (spent, held) by (key, period), a chain's keys summed under its first.

    With a key, of no other chain than its own.
    """
    team_id = limits[0].team_id
    whose: sa.ColumnElement[bool] = _balance.c.key_id == ""
    if any(limit.key_id for limit in limits):
        whose = sa.true() if key_id is None else sa.or_(whose, _balance.c.key_id.in_(keys.kin(team_id, key_id)))
    first = sa.func.coalesce(_key.c.lineage, _balance.c.key_id)
    rows = await connection.execute(
        sa.select(
            first.label("key_id"),
            _balance.c.period,
            sa.func.sum(_balance.c.spent_micros).label("spent_micros"),
            sa.func.sum(_balance.c.held_micros).label("held_micros"),
        )
        .join_from(_balance, _key, _key.c.id == _balance.c.key_id, isouter=True)
        .where(_balance.c.team_id == team_id, _balance.c.period.in_(windows.periods), whose)
        .group_by(first, _balance.c.period)
    )
    return {(row.key_id, row.period): (int(row.spent_micros), int(row.held_micros)) for row in rows}


async def everyone(connection: AsyncConnection, at: datetime) -> list[Standing]:
    """Where every team's own budgets stand; keys are left out, since nobody labels a series by them."""
    rows = await connection.execute(sa.select(_budget).where(_budget.c.key_id == ""))
    limits = [Budget(row.team_id, "", Window(row.window), row.limit_micros, row.soft_micros) for row in rows]
    windows = entries.windows(at)
    used = {
        (row.team_id, row.period): (row.spent_micros, row.held_micros)
        for row in await connection.execute(
            sa.select(_balance).where(_balance.c.key_id == "", _balance.c.period.in_(windows.periods))
        )
    }
    return [
        Standing(limit, period, *used.get((limit.team_id, period), (0, 0)))
        for limit in limits
        for period in (limit.window.period(windows),)
    ]


def stand(
    limits: Sequence[Budget], windows: Windows, used: Mapping[tuple[str, str], tuple[int, int]]
) -> list[Standing]:
    """Each limit beside what is used of it: (spent, held) by (key, period)."""
    return [
        Standing(limit, period, *used.get((limit.key_id, period), (0, 0)))
        for limit in limits
        for period in (limit.window.period(windows),)
    ]


def left_micros(standings: Sequence[Standing]) -> int | None:
    """The least that is left of any of them; none where nothing limits."""
    return min((each.left_micros for each in standings), default=None)


def require(standings: Sequence[Standing], needed_micros: int) -> None:
    """``BudgetExhausted`` unless the balances, which hold the new amount already, keep within every hard limit."""
    for each in standings:
        if each.over:
            used = each.spent_micros + each.held_micros - needed_micros
            whose = "the key's" if each.budget.key_id else "the team's"
            raise errors.BudgetExhausted(
                f"{whose} budget ({each.budget.window}) does not cover this order: it needs up to "
                f"{money.credits(needed_micros)} credits, and {money.credits(max(used, 0))} of "
                f"{money.credits(each.budget.limit_micros)} are spent or held"
            )


async def glance(connection: AsyncConnection, team_id: str, key_id: str, needed_micros: int, at: datetime) -> None:
    """``BudgetExhausted`` when the amount surely does not fit: asked before anything is locked or written.

    What passes is looked at again under the lock; what is refused here does not stand in anybody's way.
    """
    for each in await standing(connection, team_id, at, key_id):
        more = each.held_micros + needed_micros
        require([Standing(each.budget, each.period, each.spent_micros, more)], needed_micros)


async def warn(tx: AsyncConnection, standings: Sequence[Standing]) -> list[Standing]:
    """Those whose soft limit is passed for the first time in their period; marked, so that each passing warns once."""
    passed = []
    for each in standings:
        soft_micros = each.budget.soft_micros
        if soft_micros is None or each.spent_micros + each.held_micros <= soft_micros:
            continue
        marked = await tx.execute(
            _budget.update()
            .where(
                _budget.c.team_id == each.budget.team_id,
                _budget.c.key_id == each.budget.key_id,
                _budget.c.window == each.budget.window,
                sa.func.coalesce(_budget.c.warned_period, "") != each.period,
            )
            .values(warned_period=each.period)
        )
        if marked.rowcount:
            passed.append(each)
    return passed
