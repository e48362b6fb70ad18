"""Accepting a batch: many orders in one transaction, with all their holds, or none of them.

Each item is checked as an order by itself would be, and what is wrong is named by its place. What was made before is
handed out again: such an item is complete at once and costs nothing. What is being made at the moment is not shared
(see ``_insert``): an item neither leads a flight nor follows one, but what it makes is kept for others.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, ids
from gateway.admission import depth
from gateway.admission.rate import Standing
from gateway.images import price
from gateway.jobs import (
    announce,
    batch_body,
    batch_items,
    batches,
    flying,
    idempotency,
    lookup,
    pricing,
    record,
    references,
    reusing,
    states,
    tally,
)
from gateway.jobs.batch_body import Body
from gateway.jobs.batches import Batch
from gateway.jobs.draft import Caller, Draft, Wish
from gateway.jobs.gate import Admit
from gateway.jobs.idempotency import Ticket
from gateway.jobs.parts import Counter
from gateway.jobs.reusing import Hit
from gateway.jobs.states import State
from gateway.jobs.tally import Ended
from gateway.ledger import book, budgets, entries
from gateway.ledger.book import Hold
from gateway.ledger.entries import Payer
from gateway.reuse import hits
from gateway.reuse.directives import Handling
from gateway.reuse.hits import Saved
from gateway.storage import batch_tables, database, reuse_tables, tables
from gateway.tenancy import audit

#: Moderation endpoints and archives are asked by so many hands.
_HANDS: Final = 8
_NUDGES: Final = 50
_ROWS_AT_ONCE: Final = 200
_ROUTE: Final = "batches"

_image = tables.images
_job = tables.jobs
_entry = reuse_tables.cache_entries


@dataclass(frozen=True)
class Made:
    """A batch, and what its caller may still spend, as far as that is known."""

    batch: Batch
    remaining_micros: int | None
    #: It is an earlier request's, under the same ``Idempotency-Key``.
    replayed: bool = False
    #: How the caller stands with its limits.
    standing: Standing | None = None
    #: What the cache had to do with each item.
    handled: Sequence[Handling] = ()


@dataclass(frozen=True)
class _Lot:
    """A batch on its way: its orders, what of them is there already, and what the rest holds."""

    caller: Caller
    wish: Wish
    body: Body
    drafts: Sequence[Draft]
    found: Mapping[int, Hit]


async def make(
    counter: Counter,
    caller: Caller,
    body: Mapping[str, object],
    idempotency_key: str | None,
    admit: Admit,
    wish: Wish,
) -> Made:
    """The batch of that body, which exists as a whole, or not at all.

    Raises what an order raises, its ``param`` and message with the item's place; counts as one new generation.
    """
    asked = None if idempotency_key is None else idempotency.ticket(idempotency_key, _ROUTE, body)
    if asked is not None and (earlier := await _earlier(counter, caller, asked)):
        return earlier
    if wish.drained:
        raise errors.TeamDrained
    wanted = batch_body.read(body, counter.webhook_nets)
    drafts = await batch_items.drafts(counter, caller, wanted, admit, wish)
    found = await _look(counter, drafts)
    if wish.directives.only_if_cached and len(found) < len(drafts):
        raise errors.NotCached
    standing = await admit.pace()
    made = await _write(counter, _Lot(caller, wish, wanted, drafts, found), asked)
    if made.replayed:
        return made
    counter.library.purse.note(caller.team_id, caller.key_id, made.remaining_micros)
    nudges = min(made.batch.concurrency, len(drafts), _NUDGES)
    await asyncio.gather(*(counter.queue.submit(hint=f"{made.batch.id}:{number}") for number in range(nudges)))
    if made.batch.finished_at is not None:
        await counter.queue.deliver(hint=made.batch.id)
    return replace(made, standing=standing)


async def _earlier(counter: Counter, caller: Caller, asked: Ticket) -> Made | None:
    now = counter.clock.now()
    async with counter.database.read() as connection:
        job_id = await idempotency.find(connection, caller.team_id, asked, now)
        if job_id is None:
            return None
        job = await lookup.find(connection, caller.team_id, job_id)
        batch = await batches.find(connection, caller.team_id, job.batch_id or "")
        remaining = await lookup.remaining_micros(connection, caller.team_id, caller.key_id, now)
    return Made(batch, remaining, replayed=True)


async def _look(counter: Counter, drafts: Sequence[Draft]) -> dict[int, Hit]:
    """What of it was made before, and is in the archive."""
    hands = asyncio.Semaphore(_HANDS)

    async def one(draft: Draft) -> Hit | None:
        if draft.places is None or not _reads_cache(draft):
            return None
        async with hands:
            return (await reusing.in_store(counter, draft, draft.places, None)).hit

    try:
        async with asyncio.TaskGroup() as looks:
            found = [looks.create_task(one(draft)) for draft in drafts]
    except* errors.ToriiError as refused:
        # The others have been called off; the first says why.
        raise _first(refused) from None
    return {index: hit for index, look in enumerate(found) if (hit := look.result()) is not None}


def _first(refused: BaseExceptionGroup[errors.ToriiError]) -> errors.ToriiError:
    found = refused.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


def _reads_cache(draft: Draft) -> bool:
    return draft.places is not None and not draft.wish.directives.no_cache


async def _write(counter: Counter, lot: _Lot, asked: Ticket | None) -> Made:
    now = counter.clock.now()
    try:
        async with counter.database.write() as tx:
            await database.take_long(tx)
            made, first_id = await _insert(tx, lot, now)
            if asked is not None:
                await idempotency.keep(tx, lot.caller.team_id, asked, first_id, now)
            return made
    except (sa.exc.IntegrityError, idempotency.KeyTaken, errors.BudgetExhausted, errors.RateLimited) as refusal:
        # As for one order: another request with this key may have been quicker.
        earlier = None if asked is None else await _earlier(counter, lot.caller, asked)
        if earlier is not None:
            return earlier
        if isinstance(refusal, sa.exc.IntegrityError | idempotency.KeyTaken):
            raise errors.RequestInFlight(param="Idempotency-Key", retry_after_s=1) from None
        raise


async def _insert(tx: AsyncConnection, lot: _Lot, now: datetime) -> tuple[Made, str]:
    """All rows of a batch: what it came to, and the id of its first job.

    The holds come last of what others wait for. No flight is touched: whoever ends a job may have its team's balances
    and want its flight, and this has many at once and would want the balances.
    """
    caller, order = lot.caller, lot.body.order
    taken = await _pinned(tx, lot)
    waiting = [index for index in range(len(lot.drafts)) if index not in taken]
    allowed = await _queue_depth(tx, caller)
    if waiting:
        await depth.check(tx, caller.team_id, State.QUEUED, allowed, len(waiting))
    await _pin_uploads(tx, lot, waiting, now)
    holds = dict(zip(waiting, await _prices(tx, lot, waiting), strict=True))
    total = sum(holds.values())
    await budgets.glance(tx, caller.team_id, caller.key_id, total, now)
    batch = Batch(
        id=ids.batch(),
        team_id=caller.team_id,
        key_id=caller.key_id,
        items=len(lot.drafts),
        concurrency=lot.body.concurrency,
        details=order.details,
        webhook_url=order.webhook_url,
        created_at=now,
        cancelled_at=None,
        finished_at=None,
    )
    await tx.execute(batch_tables.batches.insert().values(**vars(batch)))
    rows: list[dict[str, Any]] = []
    for start in range(0, len(lot.drafts), _ROWS_AT_ONCE):
        # By and by, so that the store does not take the transaction for stalled while its rows are made up.
        some = range(start, min(start + _ROWS_AT_ONCE, len(lot.drafts)))
        rows += [_row(lot, batch, index, holds.get(index), taken.get(index), now) for index in some]
        await tx.execute(_job.insert(), rows[start:])
    await _note_decisions(tx, lot, rows, now)
    await references.use(
        tx, *((row["id"], lot.drafts[row["batch_index"]].sources) for row in rows if row["batch_index"] in holds)
    )
    sources = {row["id"]: taken[row["batch_index"]] for row in rows if row["batch_index"] in taken}
    await _copy_pictures(tx, caller.team_id, sources, now)
    left: int | None = None
    if waiting:
        windows = entries.windows(now)
        held = [
            Hold(Payer(caller.team_id, caller.key_id, row["model"]), row["id"], 1, row["hold_micros"], windows)
            for row in rows
            if row["batch_index"] in holds
        ]
        left = await book.hold_all(tx, held, now)
    if taken:
        await _count_hits(tx, batch, taken, now)
    if not waiting and await batches.settle_in(tx, batch.id, now):
        batch = replace(batch, finished_at=now)
    remaining = await lookup.remaining_micros(tx, caller.team_id, caller.key_id, now) if left is None else left
    handled = [
        Handling.HIT if index in taken else Handling.MISS if _reads_cache(draft) else draft.handling
        for index, draft in enumerate(lot.drafts)
    ]
    return Made(batch, remaining, handled=handled), str(rows[0]["id"])


async def _pinned(tx: AsyncConnection, lot: _Lot) -> dict[int, Hit]:
    """What was found and is still there, locked against erasure until the transaction ends."""
    if not lot.found:
        return {}
    sources = sorted({hit.answer.job_id for hit in lot.found.values()})
    pin = sa.select(_job.c.id).where(_job.c.id.in_(sources)).order_by(_job.c.id).with_for_update(read=True)
    await tx.execute(pin)
    rows = await tx.execute(
        sa.select(_entry.c.scope, _entry.c.fingerprint, _entry.c.job_id).where(_entry.c.job_id.in_(sources))
    )
    there = {(row.scope, row.fingerprint, row.job_id) for row in rows}
    return {
        index: hit
        for index, hit in lot.found.items()
        if (hit.place.scope, hit.place.fingerprint, hit.answer.job_id) in there
    }


async def _pin_uploads(tx: AsyncConnection, lot: _Lot, waiting: Sequence[int], now: datetime) -> None:
    sources = [lot.drafts[index].sources for index in waiting]
    for place, wrong in (await references.pin_all(tx, sources, lot.caller.team_id, now)).items():
        raise batch_items.placed(wrong, waiting[place])


async def _queue_depth(tx: AsyncConnection, caller: Caller) -> int:
    """How many jobs of the team may wait; raises if the team takes no orders."""
    team = tables.teams
    question = sa.select(team.c.queue_depth, team.c.drained_at).where(
        team.c.id == caller.team_id, team.c.deleted_at.is_(None)
    )
    row = (await tx.execute(question)).first()
    if row is None:
        raise errors.NotAuthenticated
    if row.drained_at is not None:
        raise errors.TeamDrained
    return int(row.queue_depth)


async def _prices(tx: AsyncConnection, lot: _Lot, waiting: Sequence[int]) -> list[int]:
    orders_ = [(lot.drafts[index].model, lot.drafts[index].admitted.parameters) for index in waiting]
    held: list[int] = []
    for index, micros in zip(waiting, await pricing.hold_each(tx, orders_) if orders_ else [], strict=True):
        if micros is None:
            raise batch_items.placed(errors.PriceBlocked(param="resolution"), index)
        held.append(micros)
    return held


def _row(
    lot: _Lot, batch: Batch, index: int, hold_micros: int | None, hit: Hit | None, now: datetime
) -> dict[str, Any]:
    draft = lot.drafts[index]
    asked = draft.admitted.parameters
    patience_s = draft.order.start_within_s or lot.body.order.start_within_s
    # A batch is worked off by and by: its jobs wait for as long as any may, unless it says otherwise.
    deadline = now + (states.LONGEST_QUEUE if patience_s is None else timedelta(seconds=patience_s))
    return {
        "id": ids.job(),
        "team_id": batch.team_id,
        "key_id": batch.key_id,
        "model": draft.model.api_id,
        "model_version": draft.model.version,
        "resolution": price.resolution(draft.model, asked),
        "parameters": dict(asked),
        "details": draft.order.details,
        "webhook_url": draft.order.webhook_url,
        "trace_parent": draft.trace_parent,
        "priority": draft.order.priority,
        "fingerprint": draft.fingerprint,
        "state": State.QUEUED if hit is None else State.COMPLETED,
        "version": 1,
        "attempt": 1,
        "hold_micros": hold_micros or 0,
        "cost_micros": None if hit is None else 0,
        "reused_from": None if hit is None else hit.answer.job_id,
        # In the order of the items, which is the order of their turns.
        "created_at": now + timedelta(microseconds=index),
        "due_at": now,
        "ended_at": None if hit is None else now,
        "queue_deadline_at": deadline,
        "batch_id": batch.id,
        "batch_index": index,
    }


async def _note_decisions(tx: AsyncConnection, lot: _Lot, rows: Sequence[Mapping[str, Any]], now: datetime) -> None:
    for draft, row in zip(lot.drafts, rows, strict=True):
        if draft.admitted.decision is not None:
            await audit.note(
                tx,
                actor=f"key {lot.caller.key_id}",
                action="order.allowed",
                subject=row["id"],
                at=now,
                team_id=lot.caller.team_id,
                after=draft.admitted.decision,
            )


async def _copy_pictures(tx: AsyncConnection, team_id: str, sources: Mapping[str, Hit], now: datetime) -> None:
    """Give each job that is complete at once the pictures of the answer that it was found in."""
    if not sources:
        return
    wanted = sorted({hit.answer.job_id for hit in sources.values()})
    of: dict[str, list[dict[str, Any]]] = {}
    found = await tx.execute(sa.select(_image).where(_image.c.job_id.in_(wanted)).order_by(_image.c.position))
    for row in found.mappings():
        of.setdefault(row["job_id"], []).append(dict(row))
    copies = [
        flying.copy(picture, job_id, team_id, now)
        for job_id, hit in sources.items()
        for picture in of[hit.answer.job_id]
    ]
    await tx.execute(_image.insert(), copies)


async def _count_hits(tx: AsyncConnection, batch: Batch, taken: Mapping[int, Hit], now: datetime) -> None:
    """Count what is complete at once, and tell those who want to hear of one."""
    done = sa.select(_job).where(_job.c.batch_id == batch.id, _job.c.state == State.COMPLETED)
    jobs = [record.job(row) for row in await tx.execute(done)]
    await tally.count(tx, [Ended(job, State.COMPLETED) for job in jobs])
    day = entries.windows(now).day
    saved = {job.batch_index: job for job in jobs}
    await hits.count(
        tx, [Saved(batch.team_id, saved[index].model, day, 1, hit.answer.cost_micros) for index, hit in taken.items()]
    )
    await announce.all_ended(tx, jobs, now)
