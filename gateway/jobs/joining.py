"""The rows of an order, each kind in one transaction: a job that is made, one that follows, one that is there already.

A job that leads opens its flight before anything else is locked, and looks into the cache once more under it. A job
that follows locks the flight and then only makes rows that nobody has seen; it holds nothing and takes no place in the
line. A job made from a hit is complete at once.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, ids
from gateway.jobs import announce, flying, founding, lookup, record, references, tally, terms
from gateway.jobs.draft import Accepted, Draft
from gateway.jobs.founding import Plot
from gateway.jobs.record import Job
from gateway.jobs.reusing import Hit
from gateway.jobs.states import State
from gateway.jobs.tally import Ended
from gateway.jobs.terms import Terms
from gateway.ledger import entries
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


async def make(tx: AsyncConnection, draft: Draft, now: datetime) -> Accepted:
    """A job that shares nothing: it asked for a picture of its own."""
    return await _make(tx, draft, await terms.ask(tx, draft, now), ids.job(), draft.handling, now)


async def lead(tx: AsyncConnection, draft: Draft, places: Places, handling: Handling, now: datetime) -> Accepted | None:
    """A job that leads its flight, or follows whoever came first; none, and no flight, if the answer is there now."""
    found_terms, job_id = await terms.ask(tx, draft, now), ids.job()
    flight = await flights.enter(tx, places.flight, job_id, now)
    if flight is None:
        raise errors.StoreUnavailable
    if flight.leader_job_id != job_id:
        return await _follow(tx, draft, found_terms, flight, now)
    # The flight before this one may have ended since this order looked.
    for place in (places.own, places.pool):
        found = None if place is None else await cache.find(tx, place, now)
        if found is not None and draft.takes(found, now):
            await flights.withdraw(tx, flight)
            return None
    return await _make(tx, draft, found_terms, job_id, handling, now)


async def join(tx: AsyncConnection, draft: Draft, places: Places, now: datetime) -> Accepted | None:
    """A job that follows whoever leads; none if nobody does."""
    found_terms = await terms.ask(tx, draft, now)
    # Last of all, so that it is locked for as short as can be.
    flight = await flights.enter(tx, places.flight, "", now, may_lead=False)
    return None if flight is None else await _follow(tx, draft, found_terms, flight, now)


async def from_hit(tx: AsyncConnection, draft: Draft, places: Places, hit: Hit, now: datetime) -> Accepted | None:
    """A completed job with that answer's pictures; none if the answer is not there any more."""
    found_terms = await terms.ask(tx, draft, now)
    answer = await cache.find_pinned(tx, hit.place, now)
    if answer is None:
        return None
    state = {"state": State.COMPLETED, "ended_at": now, "cost_micros": 0, "reused_from": answer.job_id}
    job = await _insert(tx, draft, found_terms, {"id": ids.job(), "queue_deadline_at": now, **state}, now)
    rows = await tx.execute(sa.select(_image).where(_image.c.job_id == answer.job_id).order_by(_image.c.position))
    copies = [flying.copy(dict(row), job.id, job.team_id, now) for row in rows.mappings()]
    await tx.execute(_image.insert(), copies)
    if hit.place != places.own and draft.fingerprint is not None:
        kept = Keeping(job.team_id, job.model, job.id, answer.cost_micros, draft.wish.choices.ttl_s)
        await cache.put(tx, places.own, kept, now)
    await tally.count(tx, [Ended(job, State.COMPLETED)])
    await hits.count(tx, [Saved(job.team_id, job.model, entries.windows(now).day, 1, answer.cost_micros)])
    event_id = await announce.ended(tx, job, now)
    images = tuple(await lookup.images(tx, job.team_id, job.id))
    remaining = found_terms.remaining_micros
    return Accepted(replace(job, event_id=event_id), remaining, handling=Handling.HIT, images=images, answer=answer)


async def _make(
    tx: AsyncConnection, draft: Draft, found_terms: Terms, job_id: str, handling: Handling, now: datetime
) -> Accepted:
    await references.pin(tx, draft.sources, draft.caller.team_id, now)
    plot = Plot(job_id, draft, found_terms.require(draft))
    await _note_decision(tx, draft, job_id, now)
    (made,) = await founding.found(tx, [plot], found_terms, now)
    await references.use(tx, (job_id, draft.sources))
    return Accepted(made.job, made.remaining_micros, handling=handling)


async def _follow(tx: AsyncConnection, draft: Draft, found_terms: Terms, flight: Flight, now: datetime) -> Accepted:
    own = {"id": ids.job(), **flights.following(flight, until=found_terms.deadline(draft, now))}
    # It may come to lead, and is then sent with uploads of its own.
    await references.pin(tx, draft.sources, draft.caller.team_id, now)
    job = await _insert(tx, draft, found_terms, own, now)
    await references.use(tx, (job.id, draft.sources))
    return Accepted(job, found_terms.remaining_micros, handling=Handling.COLLAPSED)


async def _insert(tx: AsyncConnection, draft: Draft, found_terms: Terms, own: dict[str, Any], now: datetime) -> Job:
    values = {**founding.common(draft, now), "hold_micros": 0, **founding.own(draft, found_terms, now), **own}
    job = record.job((await tx.execute(_INSERT, values)).one())
    await _note_decision(tx, draft, job.id, now)
    return job


async def _note_decision(tx: AsyncConnection, draft: Draft, job_id: str, now: datetime) -> None:
    """Note in the audit log what the moderation allowed."""
    if draft.admitted.decision is not None:
        await audit.note(
            tx,
            actor=f"key {draft.caller.key_id}",
            action="order.allowed",
            subject=job_id,
            at=now,
            team_id=draft.caller.team_id,
            after=draft.admitted.decision,
        )
