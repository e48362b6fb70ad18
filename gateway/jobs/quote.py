"""What an order would cost and how long it would take, without ordering. Spends, holds, counts and stores nothing.

It reads: whether the order would be answered from the cache, or share a generation under way, is so at this moment. The
archive is not asked; a picture that is missing there is found out by the order itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.admission import policy
from gateway.admission.policy import Policy
from gateway.images import parameters, price
from gateway.images.model import Model, Parameters
from gateway.jobs import desk, draft, expect, lookup, orders, pricing, references
from gateway.jobs.draft import Caller, Wish
from gateway.jobs.parts import Counter
from gateway.jobs.record import Job
from gateway.jobs.references import Sources
from gateway.jobs.states import State
from gateway.reuse import entries, flights, places
from gateway.reuse.places import Places
from gateway.storage import tables

_job = tables.jobs


@dataclass(frozen=True)
class Quote:
    """The answer; amounts in micro-credits, the wait in seconds."""

    model: str
    #: The upper bound that would be held; nothing for what is not made anew.
    cost_micros: int
    #: The upstream's price is known, so that the bound is the cost.
    firm: bool
    remaining_micros: int | None
    affordable: bool
    wait_s: float
    #: It would be answered from the cache.
    cached: bool = False
    #: It would share a generation under way.
    collapsed: bool = False


@dataclass(frozen=True, slots=True)
class _Found:
    """What is there for a request: an answer, or the job that is to give one."""

    cached: bool = False
    leader: Job | None = None


async def quote(
    counter: Counter,
    caller: Caller,
    model_id: str,
    body: Mapping[str, object],
    concurrency: int,
    wish: Wish = draft.ANEW,
    rules: Policy | None = None,
) -> Quote:
    """The quote for a run's body; raises what ordering it would raise about the body, the model and its price."""
    model = counter.catalogue.model(model_id)
    canonical = parameters.canonical(model, orders.read(body, counter.webhook_nets).parameters)
    sources = await references.look(counter, caller.team_id, model, canonical)
    where = _places(counter, caller, model, canonical, wish, rules, sources)
    async with counter.database.read() as connection:
        now = counter.clock.now()
        found = _Found() if where is None else await _found(connection, where, wish, now)
        free = found.cached or found.leader is not None
        # Of what costs nothing the price is nothing, also where there is no price at present.
        cost_micros = 0 if free else await pricing.hold_micros(connection, model, canonical)
        remaining = await desk.remaining_micros(connection, caller, now)
        usual_s = await typical_s(connection, model.api_id, price.resolution(model, canonical), model.typical_s)
        before = await ahead(connection)
    return Quote(
        model=model.api_id,
        cost_micros=cost_micros,
        firm=free or price.firm(model, canonical),
        remaining_micros=remaining,
        affordable=remaining is None or cost_micros <= remaining or free,
        wait_s=_wait_s(found, usual_s, usual_s * (1 + before // concurrency), now),
        cached=found.cached,
        collapsed=found.leader is not None,
    )


def _places(
    counter: Counter,
    caller: Caller,
    model: Model,
    canonical: Parameters,
    wish: Wish,
    rules: Policy | None,
    sources: Sources | None,
) -> Places | None:
    """Where the answer would be; none where the order would not look, or would be refused."""
    if wish.directives.no_cache:
        return None
    try:
        held = canonical if rules is None else policy.apply(rules, model, canonical)
    except errors.NotAllowed:
        return None
    said = references.said(sources, model, held)
    return None if said is None else places.of(counter.library.prints, caller.team_id, wish.choices, model, said)


async def _found(connection: AsyncConnection, where: Places, wish: Wish, now: datetime) -> _Found:
    """What the order would find, looked for in its own order."""
    answer = await entries.find(connection, where.own, now)
    if answer is None and where.pool is not None:
        answer = await entries.find(connection, where.pool, now)
    if answer is not None and wish.directives.takes(answer, now):
        return _Found(cached=True)
    leader_id = None if wish.directives.only_if_cached else await flights.peek(connection, where.flight)
    return _Found() if leader_id is None else _Found(leader=await lookup.any_team(connection, leader_id))


def _wait_s(found: _Found, usual_s: float, anew_s: float, now: datetime) -> float:
    if found.cached:
        return 0.0
    leader = found.leader
    began_at = None if leader is None else leader.accepted_at or leader.submitted_at
    if began_at is None:
        return anew_s
    return max(usual_s - (now - began_at).total_seconds(), 0.0)


async def ahead(connection: AsyncConnection) -> int:
    """How many jobs wait to be sent, whoever's they are; who follows another job waits for no turn."""
    waiting = (_job.c.state.in_([State.QUEUED, State.SUBMITTING]), _job.c.follows.is_(None))
    return int((await connection.execute(sa.select(sa.func.count()).select_from(_job).where(*waiting))).scalar_one())


async def typical_s(connection: AsyncConnection, model: str, resolution: str, catalogue_s: float) -> float:
    """What the model took lately, in the middle; the catalogue's word before enough was seen."""
    duration = tables.durations
    rows = await connection.execute(
        sa.select(duration.c.high_s)
        .where(duration.c.model == model, duration.c.resolution == resolution)
        .order_by(duration.c.recorded_at.desc())
        .limit(expect.MEMORY)
    )
    seen = sorted(rows.scalars())
    return seen[len(seen) // 2] if len(seen) >= expect.ENOUGH else catalogue_s
