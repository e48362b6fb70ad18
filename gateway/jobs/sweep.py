"""The sweeps: whatever was not nudged, whoever died, whatever has waited too long. Each is safe to run twice at once.

They look at SQL only, so a Redis that forgot everything costs time, never a job.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa
import structlog

from gateway.jobs import (
    account,
    batch_sweep,
    booking,
    claims,
    delivery_sweep,
    endings,
    erasure_sweep,
    evidence,
    handing,
    idempotency,
    liveness,
    outcomes,
    pauses,
    record,
    repeats,
    reuse_sweep,
    settlement,
    states,
    traced,
    upload_sweep,
)
from gateway.jobs.outcomes import Evidence, Outcome
from gateway.jobs.parts import Shop
from gateway.jobs.queue import Step
from gateway.jobs.record import Job
from gateway.jobs.states import Failure, State
from gateway.reuse import flights
from gateway.storage import repeat_tables, reuse_tables, tables
from gateway.upstream import answers
from gateway.upstream.answers import Refusal

EVERY_S = 1.0
#: A step that is overdue by this much was not nudged, or its nudge was lost.
OVERDUE = timedelta(seconds=1)
#: One that was swept is swept again only after this long: a long line is not nudged at each sweep.
SWEEP_AGAIN = timedelta(seconds=10)
#: No step of a living worker takes this long; a claim that old was never given back.
LONGEST_CLAIM = timedelta(minutes=5)
_AT_ONCE = 500

_job = tables.jobs
_attempt = tables.attempts
_STEPS: Final = MappingProxyType({State.RUNNING: Step.POLL, State.ARCHIVING: Step.ARCHIVE})

log = structlog.get_logger(__name__)


async def queued(shop: Shop) -> None:
    """Nudge the submit step while a queued job could be taken."""
    async with shop.database.read() as connection:
        outlook = await claims.outlook(connection, shop.concurrency, shop.clock.now())
    if outlook.open:
        await shop.queue.submit()


async def overdue(shop: Shop) -> None:
    """Nudge polls and archivings whose time has come and whose nudge has not, nearest to the result's expiry first."""
    now = shop.clock.now()
    late = (
        sa.select(_job.c.id)
        .where(
            _job.c.state.in_(list(_STEPS)),
            _job.c.claim.is_(None),
            _job.c.due_at < now - OVERDUE,
            sa.or_(_job.c.swept_at.is_(None), _job.c.swept_at < now - SWEEP_AGAIN),
        )
        .order_by(_job.c.results_expire_at.is_(None), _job.c.results_expire_at, _job.c.due_at)
        .limit(_AT_ONCE)
    )
    async with shop.database.read() as connection:
        if (await connection.execute(late.limit(1))).first() is None:
            return
    async with shop.database.write() as tx:
        rows = await tx.execute(
            _job.update()
            .where(_job.c.id.in_(late.with_for_update(skip_locked=True)))
            # An id that is still known to arq is dropped silently, so each nudge has a number of its own.
            .values(nudges=_job.c.nudges + 1, swept_at=now)
            .returning(_job)
        )
        jobs = [record.job(row) for row in rows]
    for job in sorted(jobs, key=lambda job: (job.results_expire_at is None, job.results_expire_at, job.due_at)):
        await shop.queue.step(_STEPS[job.state], job)


async def queue_deadlines(shop: Shop) -> None:
    """End queued jobs that nobody waits for any more, and give their holds back.

    One that a pause holds waits on, but never longer than a day. One that follows another waits while that one waits.
    """
    now = shop.clock.now()
    async with shop.database.read() as connection:
        late = [record.job(row) for row in await connection.execute(past_deadline(now))]
        late += [record.job(row) for row in await connection.execute(following_past_deadline(now))]
    for job in late:
        await _time_out(shop, job)


def past_deadline(now: datetime) -> sa.Select[Any]:
    """The queued jobs that nobody waits for any more, as a statement."""
    return (
        sa.select(_job)
        .where(
            _job.c.state == State.QUEUED,
            # No deadline is later than a day, so the index of deadlines finds those that no pause holds any longer too.
            _job.c.queue_deadline_at <= now,
            _forgotten(now),
        )
        .limit(_AT_ONCE)
    )


def following_past_deadline(now: datetime) -> sa.Select[Any]:
    """The jobs that nobody waits for any more and whose leader was not sent yet, as a statement."""
    flight, leader = reuse_tables.flights, _job.alias("leader")
    return (
        sa.select(_job)
        .join_from(flight, leader, leader.c.id == flight.c.leader_job_id)
        .join(_job, _job.c.follows == leader.c.id)
        .where(
            flight.c.closed_at.is_(None),
            leader.c.state == State.QUEUED,
            _job.c.state == State.QUEUED,
            _job.c.follows_until <= now,
            _forgotten(now),
        )
        .limit(_AT_ONCE)
    )


def _forgotten(now: datetime) -> sa.ColumnElement[bool]:
    """Whether a late job of the row waits by nobody's order."""
    return sa.or_(_job.c.created_at <= now - states.LONGEST_QUEUE, sa.not_(pauses.holds()))


async def released(shop: Shop) -> None:
    """Push the deadlines of what the upstream account held, once it holds nothing any more.

    Not done by the answer that ends the hold: it is booked in one short transaction.
    """
    held = tables.upstream_account.c
    over = sa.select(held.id).where(held.held_since_at.is_not(None), held.pause_reason.is_(None))
    async with shop.database.read() as connection:
        if (await connection.execute(over)).first() is None:
            return
    async with shop.database.write() as tx:
        await pauses.release(tx, shop.clock.now())


async def _time_out(shop: Shop, job: Job) -> None:
    now = shop.clock.now()
    failure = Failure.EXPIRED if now - job.created_at >= states.LONGEST_QUEUE else Failure.QUEUE_TIMEOUT
    heir_id: str | None = None
    async with shop.database.write() as tx:
        if job.follows is not None and not await flights.leave(tx, job.id):
            return
        ended = await endings.fail(tx, job, failure, "it could not be started in time; nothing was charged", now)
        if ended is not None:
            if job.follows is None:
                heir_id = await handing.over(tx, ended, now)
            else:
                await endings.count_left(tx, ended)
    if ended is not None:
        log.info("queue_timeout", job_id=job.id, team_id=job.team_id)
        await shop.queue.ended(ended)
    if heir_id is not None:
        await shop.queue.submit(hint=f"heir:{heir_id}")


async def stranded_flights(shop: Shop) -> None:
    """End, or hand on, flights whose leader was ended by the release before this one, which knows of none."""
    async with shop.database.read() as connection:
        leaders = await flights.stranded(connection, sorted(states.ENDED))
    for leader_id in leaders:
        now = shop.clock.now()
        async with shop.database.write() as tx:
            row = (await tx.execute(sa.select(_job).where(_job.c.id == leader_id).with_for_update())).one()
            leader = record.job(row)
            if leader.state is State.CANCELLED or leader.error_code in endings.LEAVES:
                await handing.without_hold(tx, leader, now)
            elif leader.state in states.ENDED:
                await endings.landed(tx, leader, now)
        log.warning("flight_was_stranded", job_id=leader_id)


def dead_workers(watch: liveness.Watch) -> Callable[[Shop], Awaitable[None]]:
    """The sweep that takes up the work of workers that died, by this observer's watch."""

    async def sweep(shop: Shop) -> None:
        async with shop.database.read() as connection:
            dead = await watch.dead(connection)
        for worker_id in dead:
            await free(shop, worker_id)

    return sweep


async def free(shop: Shop, worker_id: str) -> None:
    """Take up a dead worker's work: open attempts become unknown, everything else can be claimed at once."""
    log.warning("worker_dead", worker_id=worker_id)
    async with shop.database.read() as connection:
        rows = await connection.execute(
            sa.select(_attempt.c.job_id, _attempt.c.number).where(
                _attempt.c.worker_id == worker_id, _attempt.c.outcome == Outcome.OPEN
            )
        )
        orphans = rows.all()
    for orphan in orphans:
        await booking.book(shop, orphan.job_id, orphan.number, answers.Ambiguous("worker_died"))
    async with shop.database.write() as tx:
        await tx.execute(
            _job.update()
            .where(_job.c.claimed_by == worker_id, _job.c.state != State.SUBMITTING)
            .values(claim=None, claimed_by=None, claimed_at=None, swept_at=None)
        )
        await delivery_sweep.free(tx, worker_id)
        await liveness.strike_off(tx, worker_id)


async def stuck(shop: Shop) -> None:
    """End what no living worker can still be doing: claims never given back, attempts whose answer never came."""
    now = shop.clock.now()
    async with shop.database.read() as connection:
        silent = await connection.execute(
            sa.select(_attempt.c.job_id, _attempt.c.number).where(
                _attempt.c.outcome == Outcome.OPEN, _attempt.c.opened_at < now - outcomes.QUIET
            )
        )
        orphans = silent.all()
        held = await connection.execute(
            # By the claims, which have an index, and not by the moments, which have none.
            sa.select(_job.c.id).where(
                _job.c.claimed_by > "", _job.c.claimed_at < now - LONGEST_CLAIM, _job.c.state != State.SUBMITTING
            )
        )
        forgotten = held.scalars().all()
    for orphan in orphans:
        await booking.book(shop, orphan.job_id, orphan.number, answers.Ambiguous("no_answer_booked"))
    if forgotten:
        log.error("claims_forgotten", jobs=len(forgotten))
        async with shop.database.write() as tx:
            await tx.execute(
                _job.update()
                .where(
                    _job.c.id.in_(forgotten),
                    _job.c.claimed_at < now - LONGEST_CLAIM,
                    _job.c.state != State.SUBMITTING,
                )
                .values(claim=None, claimed_by=None, claimed_at=None, swept_at=None)
            )


async def unknowns(shop: Shop) -> None:
    """Settle submissions that stayed unknown for a day as charged."""
    now = shop.clock.now()
    async with shop.database.read() as connection:
        rows = await connection.execute(
            sa.select(_attempt.c.job_id, _attempt.c.number).where(
                _attempt.c.outcome == Outcome.UNKNOWN,
                # Not by its opening: what a restore put in doubt may have been sent long after that.
                _attempt.c.quiet_at < now - outcomes.SETTLED_AFTER + outcomes.QUIET,
            )
        )
        old = rows.all()
    for attempt in old:
        async with shop.database.write() as tx:
            case = await settlement.quiet(tx, attempt.job_id, attempt.number, now)
            if case is None:
                continue
            job = await settlement.conclude(tx, case, settlement.Verdict.CHARGED, Evidence.TIME)
        traced.settled(shop, job, attempt.number, case.opened_at, Evidence.TIME)


async def look_for_evidence(shop: Shop) -> None:
    """Nudge the search for evidence while a submission is unknown, or the upstream has called."""
    now = shop.clock.now()
    async with shop.database.read() as connection:
        wanted = await evidence.due(connection, now)
    if wanted:
        await shop.queue.evidence(str(int(now.timestamp())))


async def breakers(shop: Shop) -> None:
    """Show on this worker's page whether submitting rests, and why."""
    now = shop.clock.now()
    async with shop.database.read() as connection:
        row = (await connection.execute(sa.select(tables.upstream_account))).one()
    shown = shop.metrics.breaker_open
    shown.labels("submit").set(row.breaker_until is not None and row.breaker_until > now)
    paused = row.paused_until is not None and row.paused_until > now
    for reason in (Refusal.OUT_OF_CREDITS.value, Refusal.KEY_REFUSED.value, account.WRONG_ACCOUNT):
        shown.labels(reason).set(paused and row.pause_reason == reason)


async def old_keys(shop: Shop) -> None:
    """Forget idempotency keys that are older than a day."""
    async with shop.database.read() as connection:
        oldest = (await connection.execute(sa.select(sa.func.min(tables.idempotency_keys.c.created_at)))).scalar_one()
    if oldest is not None and oldest <= shop.clock.now() - idempotency.LIFE:
        async with shop.database.write() as tx:
            await idempotency.forget_old(tx, shop.clock.now())


async def old_claims(shop: Shop) -> None:
    """Forget which orders' answers may not have arrived, once no repeat of theirs can come any more."""
    row, before = repeat_tables.unanswered, shop.clock.now() - repeats.LIFE
    async with shop.database.read() as connection:
        oldest = (await connection.execute(sa.select(sa.func.min(row.c.created_at)))).scalar_one()
    if oldest is not None and oldest <= before:
        async with shop.database.write() as tx:
            await repeats.forget_old(tx, shop.clock.now())


#: Each sweep by the name that its metric carries; ``dead_workers`` is added by the worker, which has the watch.
ALL: Final = MappingProxyType(
    {
        "queued": queued,
        "overdue": overdue,
        "released": released,
        "queue_deadlines": queue_deadlines,
        "stranded_flights": stranded_flights,
        "stuck": stuck,
        "unknowns": unknowns,
        "evidence": look_for_evidence,
        "breakers": breakers,
        "old_keys": old_keys,
        "old_claims": old_claims,
        "deliveries": delivery_sweep.deliveries,
        "old_deliveries": delivery_sweep.old_deliveries,
        "hits": reuse_sweep.take_over_hits,
        "old_hit_batches": reuse_sweep.old_hit_batches,
        "old_flights": reuse_sweep.old_flights,
        "expired_entries": reuse_sweep.expired_entries,
        "batches": batch_sweep.finish,
        "erasures": erasure_sweep.erasures,
        "retention": erasure_sweep.over_time,
        "uploads": upload_sweep.over_time,
    }
)
