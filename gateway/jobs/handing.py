"""Handing a flight on: its leader left before it sent anything, and somebody who follows wants the picture still.

The oldest follower that can pay leads. Within the team the hold moves to it; another team's, or a key's with a budget
of its own, takes a hold of its own or fails. Without anybody left the flight closes and the hold goes back.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.jobs import endings, lookup
from gateway.jobs.record import Job
from gateway.jobs.states import Failure
from gateway.ledger import book, budgets, entries
from gateway.ledger.book import Hold
from gateway.reuse import flights, succession
from gateway.reuse.flights import Flight
from gateway.reuse.succession import Follower, Heir
from gateway.storage import tables

_budget = tables.budgets
_key = tables.api_keys

log = structlog.get_logger(__name__)


async def over(tx: AsyncConnection, ended: Job, now: datetime) -> str | None:
    """Give back the hold of a queued job that was taken back or given up, or let its heir have it; the heir's id.

    In the transaction that ended it, whose end is counted here.
    """
    held = await book.find(tx, ended.id, ended.attempt)
    flight = await flights.led_by(tx, ended.id)
    heir_id = None if flight is None else await _succeed(tx, _Estate(flight, ended, held), now)
    if heir_id is None:
        await book.release(tx, held, now)
    await endings.count_left(tx, ended)
    return heir_id


async def without_hold(tx: AsyncConnection, ended: Job, now: datetime) -> str | None:
    """As ``over`` for one whose hold went back in the transaction that ended and counted it, by the release before."""
    flight = await flights.led_by(tx, ended.id)
    return None if flight is None else await _succeed(tx, _Estate(flight, ended, None), now)


@dataclass(frozen=True)
class _Estate:
    """What a leader leaves behind; no hold where that went back already."""

    flight: Flight
    leader: Job
    held: Hold | None


async def _succeed(tx: AsyncConnection, left: _Estate, now: datetime) -> str | None:
    """The id of who leads now, its hold taken and the old one given back; none if there is nobody: the flight closed.

    Then nothing was given back yet.
    """
    line = await flights.followers(tx, left.leader.id)
    first = await _chain(tx, left.leader)
    budgeted = await _budgeted(tx, {each.chain for each in line})
    for heir in succession.heirs(first, line, budgeted):
        job = await lookup.any_team(tx, heir.follower.job_id)
        if job is None:
            continue
        try:
            hold_micros = await _take_hold(tx, left, heir, job, now)
        except errors.BudgetExhausted as refusal:
            await _fail(tx, job, Failure.BUDGET_EXHAUSTED, refusal.message, now)
            continue
        await flights.promote(tx, left.flight, job.id, hold_micros, now)
        log.info("flight_handed_on", job_id=job.id, from_job_id=left.leader.id, inherits=heir.inherits)
        return job.id
    await flights.close(tx, left.flight, left.leader.error_code or left.leader.state, now)
    return None


async def _take_hold(tx: AsyncConnection, left: _Estate, heir: Heir, job: Job, now: datetime) -> int:
    """The heir's hold in micro-credits, and the leader's given back; ``BudgetExhausted``: nothing was done."""
    if heir.inherits and left.held is not None:
        await book.move(tx, left.held, job.id, job.key_id, now)
        return left.held.amount_micros
    # The same request, and so the same bound; whether it still covers the price is asked when it is sent.
    micros = left.leader.hold_micros
    await budgets.glance(tx, job.team_id, job.key_id, micros, now)
    payer = entries.Payer(job.team_id, job.key_id, job.model)
    taken = Hold(payer, job.id, job.attempt, micros, entries.windows(now))
    held = left.held
    deeds: list[tuple[str, Callable[[], Awaitable[object]]]] = [(job.team_id, lambda: book.hold(tx, taken, now))]
    if held is not None:
        deeds.append((left.leader.team_id, lambda: book.release(tx, held, now)))
    # Two teams' balances in the order of their ids, as everywhere; what is refused leaves no lock behind.
    async with tx.begin_nested():
        for _, deed in sorted(deeds, key=lambda each: each[0]):
            await deed()
    return micros


async def _fail(tx: AsyncConnection, job: Job, failure: Failure, message: str, now: datetime) -> None:
    if await flights.leave(tx, job.id):
        await endings.fail(tx, job, failure, message, now)


async def _chain(tx: AsyncConnection, job: Job) -> Follower:
    chain = await tx.execute(sa.select(sa.func.coalesce(_key.c.lineage, _key.c.id)).where(_key.c.id == job.key_id))
    return Follower(job.id, job.team_id, job.key_id, chain.scalar_one())


async def _budgeted(tx: AsyncConnection, chains: set[str]) -> frozenset[str]:
    """Which of those chains of keys have a budget of their own."""
    rows = await tx.execute(sa.select(_budget.c.key_id).distinct().where(_budget.c.key_id.in_(sorted(chains))))
    return frozenset(rows.scalars())
