"""The upstream's balance as evidence: by how much it fell around an unknown attempt. Only where nobody else spends.

Compared are two quiet points, answers that told the balance while no other attempt was under way, one before the
attempt in doubt and one after it was quiet. Whatever else may have moved the balance between them makes it no evidence:
another doubt, a topup, a job that failed or may still fail and be refunded.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import discovery, settlement, traced
from gateway.jobs.outcomes import Evidence, Outcome
from gateway.jobs.parts import Shop
from gateway.jobs.settlement import Verdict
from gateway.jobs.states import Failure, State
from gateway.storage import tables

#: The quiet point before a doubt is looked for so far back.
_LOOKBACK = timedelta(hours=6)
#: With more attempts than this around it nothing was ever quiet.
_MOST = 1_000
#: Evidence from the list of jobs names the job, so it has this long to come first.
LIST_FIRST = timedelta(minutes=2)

_job = tables.jobs
_attempt = tables.attempts
_TAKEN = frozenset({Outcome.ACCEPTED, Outcome.ORPHANED})
_NOT_TAKEN = frozenset({Outcome.REFUSED, Outcome.REJECTED})
_REFUNDABLE = frozenset({Failure.UPSTREAM_FAILED, Failure.UPSTREAM_LOST})


@dataclass(frozen=True)
class Spell:
    """An attempt as the balance knows it: when its debit can have been made, and what that was."""

    opened_at: datetime
    #: Its debit was made before, if at all; none while that cannot be said.
    ended_at: datetime | None
    #: In micro-credits; none where nobody knows.
    cost_micros: int | None
    remaining_micros: int | None = None


@dataclass(frozen=True)
class Stir:
    """A stretch of time in which something else may have moved the balance; open at its end if that is not over."""

    since: datetime
    until: datetime | None


def weigh(doubt: Spell, hold_micros: int, others: Sequence[Spell], stirs: Iterable[Stir]) -> Verdict | None:
    """What the balance says of one quiet attempt: charged, not charged, or nothing."""
    before, after = _points(doubt, others)
    if before is None or after is None or hold_micros <= 0:
        return None
    begun_at, ended_at = before.ended_at, after.ended_at
    if begun_at is None or ended_at is None or before.remaining_micros is None or after.remaining_micros is None:
        return None
    if any(stir.since < ended_at and (stir.until is None or stir.until > begun_at) for stir in stirs):
        return None
    between = [
        other
        for other in others
        if other is not before and other.opened_at <= ended_at and (other.ended_at is None or other.ended_at > begun_at)
    ]
    costs = [other.cost_micros for other in between if other.cost_micros is not None]
    if len(costs) < len(between):
        return None
    unexplained = before.remaining_micros - after.remaining_micros - sum(costs)
    return {0: Verdict.NOT_CHARGED, hold_micros: Verdict.CHARGED}.get(unexplained)


def _points(doubt: Spell, others: Sequence[Spell]) -> tuple[Spell | None, Spell | None]:
    """The quiet points next to the doubt on either side."""
    told = [other for other in others if other.remaining_micros is not None and other.ended_at is not None]
    quiet = [point for point in told if not any(_overlap(point, other) for other in (*others, doubt))]
    before = [point for point in quiet if point.ended_at is not None and point.ended_at < doubt.opened_at]
    after = [point for point in quiet if doubt.ended_at is not None and point.opened_at > doubt.ended_at]
    return (
        max(before, key=lambda point: point.opened_at, default=None),
        min(after, key=lambda point: point.opened_at, default=None),
    )


def _overlap(point: Spell, other: Spell) -> bool:
    if other is point or point.ended_at is None:
        return False
    return other.opened_at <= point.ended_at and (other.ended_at is None or other.ended_at >= point.opened_at)


async def look(shop: Shop) -> None:
    """Weigh each quiet, unknown attempt for which no better evidence has come."""
    now = shop.clock.now()
    async with shop.database.read() as connection:
        rows = await connection.execute(
            sa.select(_attempt.c.job_id, _attempt.c.number).where(
                _attempt.c.outcome == Outcome.UNKNOWN, _attempt.c.quiet_at <= now, ready(now)
            )
        )
        waiting = rows.all()
    for row in waiting:
        async with shop.database.read() as connection:
            verdict = await _weigh(connection, row.job_id, row.number)
        if verdict is None:
            continue
        async with shop.database.write() as tx:
            case = await settlement.quiet(tx, row.job_id, row.number, shop.clock.now())
            if case is None:
                continue
            if verdict is Verdict.CHARGED:
                job = await settlement.conclude(tx, case, verdict, Evidence.BALANCE)
            else:
                job = await settlement.not_taken(tx, case, Evidence.BALANCE, shop.unknown_wait_s)
        traced.settled(shop, job, row.number, case.opened_at, Evidence.BALANCE)
        await discovery.nudge(shop, job)


def ready(now: datetime) -> sa.ColumnElement[bool]:
    """Attempts that the list of jobs has had its chance with: it was read and said nothing, or there is none."""
    silent = sa.select(tables.upstream_account.c.list_silences > 0).scalar_subquery()
    read = sa.and_(_attempt.c.looked_at >= _attempt.c.quiet_at, _attempt.c.absent_at.is_(None))
    return sa.and_(
        sa.or_(silent, read, _attempt.c.quiet_at <= now - LIST_FIRST),
        # What the upstream called about is verified first.
        _attempt.c.hint_due_at.is_(None),
    )


async def _weigh(connection: AsyncConnection, job_id: str, number: int) -> Verdict | None:
    mine = sa.and_(_attempt.c.job_id == job_id, _attempt.c.number == number)
    doubt = (await connection.execute(sa.select(_attempt).where(mine))).one()
    since = doubt.opened_at - _LOOKBACK
    rows = await connection.execute(
        sa.select(_attempt).where(_attempt.c.opened_at >= since, sa.not_(mine)).limit(_MOST + 1)
    )
    others = [_spell(row) for row in rows]
    if len(others) > _MOST:
        return None
    return weigh(_spell(doubt), doubt.hold_micros, others, await _stirs(connection, since))


def _spell(row: sa.Row[Any]) -> Spell:
    if row.outcome in _TAKEN:
        return Spell(row.opened_at, row.answered_at, row.cost_micros, row.remaining_micros)
    if row.outcome in _NOT_TAKEN:
        return Spell(row.opened_at, row.answered_at, 0)
    return Spell(row.opened_at, None if row.outcome == Outcome.OPEN else row.quiet_at, None)


async def _stirs(connection: AsyncConnection, since: datetime) -> list[Stir]:
    topup = tables.topups
    topups = await connection.execute(sa.select(topup.c.created_at).where(topup.c.created_at >= since))
    # A topup is seen, or told, some time after or before it was made.
    stirs = [Stir(at - _LOOKBACK, at + _LOOKBACK) for at in topups.scalars()]
    refundable = sa.and_(
        _job.c.state == State.FAILED, _job.c.error_code.in_(sorted(_REFUNDABLE)), _job.c.ended_at >= since
    )
    rows = await connection.execute(
        sa.select(_job.c.accepted_at, _job.c.ended_at).where(
            sa.or_(_job.c.state == State.RUNNING, refundable), _job.c.accepted_at.is_not(None)
        )
    )
    return stirs + [Stir(row.accepted_at, row.ended_at) for row in rows]
