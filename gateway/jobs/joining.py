"""The rows of an order, each kind in one transaction: a job that is made, one that follows, one that is there already.

A job that leads opens its flight before anything else is locked, and looks into the cache once more under it. A job
that follows locks the flight and then only makes rows that nobody has seen; it holds nothing and takes no place in the
line. A job made from a hit is complete at once.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, ids
from gateway.admission import depth
from gateway.images import price
from gateway.jobs import announce, flying, lookup, pricing, record, states, tally
from gateway.jobs.draft import Accepted, Draft
from gateway.jobs.record import Job
from gateway.jobs.reusing import Hit
from gateway.jobs.states import State
from gateway.jobs.tally import Ended
from gateway.ledger import book, budgets, entries
from gateway.ledger.book import Hold
from gateway.reuse import entries as cache
from gateway.reuse import flights, hits
from gateway.reuse.directives import Handling
from gateway.reuse.entries import Keeping
from gateway.reuse.flights import Flight
from gateway.reuse.hits import Saved
from gateway.reuse.places import Places
from gateway.storage import tables
from gateway.tenancy import audit

#: Built once: with its values beside it, it is neither built nor hashed anew for each order.
_INSERT = tables.jobs.insert().returning(tables.jobs)
_image = tables.images


@dataclass(frozen=True)
class _Team:
    """How long a team's jobs may wait, in seconds, and how many of them."""

    max_queue_s: int
    queue_depth: int


async def make(tx: AsyncConnection, draft: Draft, now: datetime) -> Accepted:
    """A job that shares nothing: it asked for a picture of its own."""
    return await _make(tx, draft, await _team(tx, draft), ids.job(), draft.handling, now)


async def lead(tx: AsyncConnection, draft: Draft, places: Places, handling: Handling, now: datetime) -> Accepted | None:
    """A job that leads its flight, or follows whoever came first; none, and no flight, if the answer is there now."""
    team, job_id = await _team(tx, draft), ids.job()
    flight = await flights.enter(tx, places.flight, job_id, now)
    if flight is None:
        raise errors.StoreUnavailable
    if flight.leader_job_id != job_id:
        remaining = await lookup.remaining_micros(tx, draft.caller.team_id, draft.caller.key_id, now)
        return await _follow(tx, draft, team, flight, remaining, now)
    # The flight before this one may have ended since this order looked.
    for place in (places.own, places.pool):
        found = None if place is None else await cache.find(tx, place, now)
        if found is not None and draft.takes(found, now):
            await flights.withdraw(tx, flight)
            return None
    return await _make(tx, draft, team, job_id, handling, now)


async def join(tx: AsyncConnection, draft: Draft, places: Places, now: datetime) -> Accepted | None:
    """A job that follows whoever leads; none if nobody does."""
    team = await _team(tx, draft)
    remaining = await lookup.remaining_micros(tx, draft.caller.team_id, draft.caller.key_id, now)
    # Last of all, so that it is locked for as short as can be.
    flight = await flights.enter(tx, places.flight, "", now, may_lead=False)
    return None if flight is None else await _follow(tx, draft, team, flight, remaining, now)


async def from_hit(tx: AsyncConnection, draft: Draft, places: Places, hit: Hit, now: datetime) -> Accepted | None:
    """A completed job with that answer's pictures; none if the answer is not there any more."""
    await _team(tx, draft)
    answer = await cache.find_pinned(tx, hit.place, now)
    if answer is None:
        return None
    state = {"state": State.COMPLETED, "ended_at": now, "cost_micros": 0, "reused_from": answer.job_id}
    job = await _insert(tx, draft, {"id": ids.job(), "queue_deadline_at": now, **state}, now)
    rows = await tx.execute(sa.select(_image).where(_image.c.job_id == answer.job_id).order_by(_image.c.position))
    copies = [flying.copy(dict(row), job.id, job.team_id, now) for row in rows.mappings()]
    await tx.execute(_image.insert(), copies)
    if hit.place != places.own and draft.fingerprint is not None:
        kept = Keeping(job.team_id, job.model, job.id, answer.cost_micros, draft.wish.choices.ttl_s)
        await cache.put(tx, places.own, kept, now)
    remaining = await lookup.remaining_micros(tx, job.team_id, job.key_id, now)
    await tally.count(tx, [Ended(job, State.COMPLETED)])
    await hits.count(tx, [Saved(job.team_id, job.model, entries.windows(now).day, 1, answer.cost_micros)])
    event_id = await announce.ended(tx, job, now)
    images = tuple(await lookup.images(tx, job.team_id, job.id))
    return Accepted(replace(job, event_id=event_id), remaining, handling=Handling.HIT, images=images, answer=answer)


async def _make(
    tx: AsyncConnection, draft: Draft, team: _Team, job_id: str, handling: Handling, now: datetime
) -> Accepted:
    caller = draft.caller
    await depth.check(tx, caller.team_id, State.QUEUED, team.queue_depth)
    hold_micros = await pricing.hold_micros(tx, draft.model, draft.admitted.parameters)
    await budgets.glance(tx, caller.team_id, caller.key_id, hold_micros, now)
    own = {"id": job_id, "hold_micros": hold_micros, "queue_deadline_at": _deadline(draft, team, now)}
    job = await _insert(tx, draft, own, now)
    payer = entries.Payer(job.team_id, job.key_id, job.model)
    left_micros = await book.hold(tx, Hold(payer, job.id, job.attempt, job.hold_micros, entries.windows(now)), now)
    remaining = await lookup.balance_seen(tx) if left_micros is None else left_micros
    return Accepted(job, remaining, handling=handling)


async def _follow(
    tx: AsyncConnection, draft: Draft, team: _Team, flight: Flight, remaining: int | None, now: datetime
) -> Accepted:
    own = {"id": ids.job(), **flights.following(flight, until=_deadline(draft, team, now))}
    return Accepted(await _insert(tx, draft, own, now), remaining, handling=Handling.COLLAPSED)


async def _insert(tx: AsyncConnection, draft: Draft, own: dict[str, Any], now: datetime) -> Job:
    caller, model, order = draft.caller, draft.model, draft.order
    asked = draft.admitted.parameters
    common = {
        "team_id": caller.team_id,
        "key_id": caller.key_id,
        "model": model.api_id,
        "model_version": model.version,
        "resolution": price.resolution(model, asked),
        "parameters": dict(asked),
        "details": order.details,
        "webhook_url": order.webhook_url,
        "trace_parent": draft.trace_parent,
        "priority": order.priority,
        "fingerprint": draft.fingerprint,
        "state": State.QUEUED,
        "version": 1,
        "attempt": 1,
        "hold_micros": 0,
        "created_at": now,
        "due_at": now,
    }
    job = record.job((await tx.execute(_INSERT, common | own)).one())
    if draft.admitted.decision is not None:
        await audit.note(
            tx,
            actor=f"key {caller.key_id}",
            action="order.allowed",
            subject=job.id,
            at=now,
            team_id=caller.team_id,
            after=draft.admitted.decision,
        )
    return job


def _deadline(draft: Draft, team: _Team, now: datetime) -> datetime:
    patience_s = min(team.max_queue_s, draft.order.start_within_s or team.max_queue_s)
    return now + min(timedelta(seconds=patience_s), states.LONGEST_QUEUE)


async def _team(tx: AsyncConnection, draft: Draft) -> _Team:
    """How long the team's jobs may wait, and how many; raises if the team takes no orders."""
    team = tables.teams
    row = (
        await tx.execute(
            sa.select(team.c.max_queue_s, team.c.queue_depth, team.c.drained_at).where(
                team.c.id == draft.caller.team_id, team.c.deleted_at.is_(None)
            )
        )
    ).first()
    if row is None:
        raise errors.NotAuthenticated
    if row.drained_at is not None:
        raise errors.TeamDrained
    return _Team(int(row.max_queue_s), int(row.queue_depth))
