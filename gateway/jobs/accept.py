"""Accepting an order: answered by what was made before, joined to what is being made, or a new job. The main deed.

What makes a job does so in one transaction, with its hold where it leads, and then a nudge. Row first, nudge after:
once ``accept`` returns, the job exists whatever happens to Redis or to this process.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final, TypeAlias

import sqlalchemy as sa

from gateway import errors
from gateway.images import parameters
from gateway.jobs import crossing, draft, gate, idempotency, joining, lookup, orders, references, reusing
from gateway.jobs.draft import Accepted, Caller, Draft, Wish
from gateway.jobs.gate import Admit
from gateway.jobs.idempotency import Ticket
from gateway.jobs.parts import Counter
from gateway.jobs.reusing import Hit
from gateway.jobs.states import State
from gateway.reuse import hits, places
from gateway.reuse.directives import Handling
from gateway.reuse.places import Places
from gateway.reuse.shelf import Look

__all__ = ("Accepted", "Caller", "accept")

#: Each round lost means that a whole flight ended, or an answer was purged, between two looks.
_ROUNDS: Final = 20

#: What an order's transaction does, but for what comes with every order.
Deed: TypeAlias = Callable[..., Awaitable[Accepted | None]]


async def accept(
    counter: Counter,
    caller: Caller,
    model_id: str,
    body: Mapping[str, object],
    idempotency_key: str | None = None,
    admit: Admit | None = None,
    wish: Wish = draft.ANEW,
) -> Accepted:
    """What that body comes to, which is as the upstream takes it (pixeldojo.md 1.1).

    ``admit`` is asked after the body was checked and before anything is held; a repeat under an ``Idempotency-Key``
    does not come by it. Raises what it raises, ``ModelNotFound``, an ``InvalidRequest`` that names the field,
    ``RateLimited`` when too many wait already, ``BudgetExhausted``, ``PriceBlocked``, ``NotCached``,
    ``TeamDrained``, ``KeyReused``, ``RequestInFlight``, ``ArchiveUnavailable`` or ``StoreUnavailable``; but for the
    last, nothing was created and nothing is held. After a ``StoreUnavailable`` only the same ``Idempotency-Key`` finds
    out.
    """
    asked = None
    if idempotency_key is not None:
        asked = idempotency.ticket(idempotency_key, wish.route or f"run/{model_id}", body)
        if earlier := await _earlier(counter, caller, asked, counter.clock.now()):
            return earlier
    model = counter.catalogue.model(model_id)
    order = orders.read(body, counter.webhook_nets)
    canonical = parameters.canonical(model, order.parameters)
    sources = await references.look(counter, caller.team_id, model, canonical)
    gatekeeper = gate.Anyone() if admit is None else admit
    admitted = await gatekeeper.look(model, canonical)
    said = references.said(sources, model, admitted.parameters)
    where = None if said is None else places.of(counter.library.prints, caller.team_id, wish.choices, model, said)
    made = Draft(caller, model, gatekeeper, admitted, order, wish, where, asked, counter.traces.parent(), sources)
    return await _decide(counter, made)


async def _earlier(counter: Counter, caller: Caller, asked: Ticket, now: datetime) -> Accepted | None:
    async with counter.database.read() as connection:
        job_id = await idempotency.find(connection, caller.team_id, asked, now)
        if job_id is None:
            return None
        job = await lookup.find(connection, caller.team_id, job_id)
    # Whoever replays reads the job as it is now, and what is left with it.
    return Accepted(job, None, replayed=True)


async def _decide(counter: Counter, made: Draft) -> Accepted:
    directives = made.wish.directives
    if made.wish.drained:
        raise errors.TeamDrained
    if made.places is not None and not directives.no_cache:
        return await _reuse(counter, made, made.places)
    if directives.only_if_cached:
        raise errors.NotCached
    return _sure(await _paced(counter, made, None))


async def _reuse(counter: Counter, made: Draft, where: Places) -> Accepted:
    """Ask the shelf; then, one for all who ask alike in this process, SQL; then lead or follow."""
    waited = False
    for _ in range(_ROUNDS):
        found = await reusing.on_shelf(counter, made, where, counter.clock.now())
        if isinstance(found, Hit):
            done = await _given(counter, made, where, found)
        elif waited:
            done = await _join(counter, made, where) or await _anew(counter, made, where, found)
        else:
            async with counter.library.scouts.turn(where.flight) as first:
                done = await _anew(counter, made, where, found) if first else None
            waited = not first
        if done is not None:
            return done
    raise errors.StoreUnavailable


async def _anew(counter: Counter, made: Draft, where: Places, look: Look | None) -> Accepted | None:
    """What is not on the shelf; none when it changed between the look and the deed."""
    seen = await reusing.in_store(counter, made, where, look)
    if seen.hit is not None:
        return await _given(counter, made, where, seen.hit)
    if made.wish.directives.only_if_cached:
        raise errors.NotCached
    if seen.led:
        return await _join(counter, made, where)
    try:
        return await _paced(counter, made, partial(joining.lead, draft=made, places=where, handling=seen.handling))
    except errors.RateLimited:
        # Who may begin nothing new may still follow whoever began it this very moment.
        done = await _join(counter, made, where)
        if done is None:
            raise
        return done


async def _given(counter: Counter, made: Draft, where: Places, hit: Hit) -> Accepted | None:
    answer, caller, library = hit.answer, made.caller, counter.library
    if hit.place != where.own or not made.writes_nothing(answer):
        return await _write(counter, made, partial(joining.from_hit, draft=made, places=where, hit=hit))
    if not hit.counted:
        await library.shelf.count(hits.field(caller.team_id, answer.model, counter.clock.now()), answer.cost_micros)
    remaining = await library.purse.remaining(caller.team_id, caller.key_id)
    job, images = reusing.job(answer, made.order.details), reusing.images(answer)
    place = where.own if made.led_by_body else None
    return Accepted(job, remaining, handling=Handling.HIT, images=images, answer=answer, place=place)


async def _join(counter: Counter, made: Draft, where: Places) -> Accepted | None:
    if made.wish.directives.only_if_cached:
        return None
    async with counter.library.scouts.few(where.flight):
        return await _write(counter, made, partial(joining.join, draft=made, places=where))


async def _paced(counter: Counter, made: Draft, deed: Deed | None) -> Accepted | None:
    """Write what may be a new generation; what comes to none is not counted."""
    standing = await made.admit.pace()
    done = await _write(counter, made, deed)
    if done is None or done.replayed or done.handling is Handling.COLLAPSED:
        if standing is not None:
            await made.admit.give_back()
        return done
    return replace(done, standing=standing)


async def _commit(counter: Counter, made: Draft, deed: Deed | None, now: datetime) -> Accepted | None:
    """One transaction, with the ``Idempotency-Key`` in it; without a deed the order makes a job that shares nothing."""
    if deed is None and counter.ferry is not None and crossing.takes(made):
        return await crossing.carry(counter.ferry, counter, made)
    async with counter.database.write() as tx:
        done = await (deed or partial(joining.make, draft=made))(tx, now=now)
        if done is not None and made.wish.beside is not None:
            await made.wish.beside(tx, done.job, now)
        if done is not None and made.ticket is not None:
            await idempotency.keep(tx, made.caller.team_id, made.ticket, done.job.id, now)
    return done


async def _write(counter: Counter, made: Draft, deed: Deed | None) -> Accepted | None:
    """The rows, committed, and then the nudge."""
    now, asked = counter.clock.now(), made.ticket
    try:
        done = await _commit(counter, made, deed, now)
    except (sa.exc.IntegrityError, idempotency.KeyTaken, errors.BudgetExhausted, errors.RateLimited) as refusal:
        # Another request with this key may have been quicker; it has committed by now, or it never will. Then it took
        # the very credits, or the place in the line, that this one was refused for.
        earlier = None if asked is None else await _earlier(counter, made.caller, asked, now)
        if earlier is not None:
            return earlier
        if isinstance(refusal, sa.exc.IntegrityError | idempotency.KeyTaken):
            raise errors.RequestInFlight(param="Idempotency-Key", retry_after_s=1) from None
        raise
    if done is not None:
        counter.library.purse.note(made.caller.team_id, made.caller.key_id, done.remaining_micros)
    if done is not None and done.job.state is State.COMPLETED:
        await counter.queue.ended(done.job)
    elif done is not None and done.job.follows is None:
        await counter.queue.submit(hint=done.job.id)
    return done


def _sure(done: Accepted | None) -> Accepted:
    if done is None:
        raise errors.StoreUnavailable
    return done
