"""Accepting an order: one transaction that makes the job and takes its hold, then a nudge. The front door's main deed.

Row first, nudge after: once ``accept`` returns, the job exists whatever happens to Redis or to this process.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, ids
from gateway.admission import depth
from gateway.admission.rate import Standing
from gateway.images import parameters, price
from gateway.images.model import Model
from gateway.jobs import gate, idempotency, lookup, orders, pricing, record, states
from gateway.jobs.gate import Admit, Admitted
from gateway.jobs.idempotency import Ticket
from gateway.jobs.orders import Order
from gateway.jobs.parts import Counter
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.ledger import book, budgets, entries
from gateway.ledger.book import Hold
from gateway.storage import tables
from gateway.tenancy import audit

#: Built once: with its values beside it, it is neither built nor hashed anew for each order.
_INSERT = tables.jobs.insert().returning(tables.jobs)


@dataclass(frozen=True)
class Caller:
    """On whose behalf: a key and its team."""

    team_id: str
    key_id: str


@dataclass(frozen=True)
class Accepted:
    """What an order came to: a job, and what its caller may still spend, as far as that is known."""

    job: Job
    remaining_micros: int | None
    #: The job is an earlier request's, under the same ``Idempotency-Key``.
    replayed: bool = False
    #: How the caller stands with its limits, where that was asked.
    standing: Standing | None = None


async def accept(
    counter: Counter,
    caller: Caller,
    model_id: str,
    body: Mapping[str, object],
    idempotency_key: str | None = None,
    admit: Admit = gate.anyone,
) -> Accepted:
    """The new, queued job of that body, which is as the upstream takes it (pixeldojo.md 1.1).

    ``admit`` is asked after the body was checked and before anything is held; a repeat under an ``Idempotency-Key``
    does not come by it. Raises what it raises, ``ModelNotFound``, an ``InvalidRequest`` that names the field,
    ``RateLimited`` when too many wait already, ``BudgetExhausted``, ``PriceBlocked``,
    ``TeamDrained``, ``KeyReused``, ``RequestInFlight`` or ``StoreUnavailable``; but for the last, nothing was
    created and nothing is held. After a ``StoreUnavailable`` only the same ``Idempotency-Key`` finds out.
    """
    now = counter.clock.now()
    asked = None
    if idempotency_key is not None:
        asked = idempotency.ticket(idempotency_key, f"run/{model_id}", body)
        if earlier := await _earlier(counter, caller, asked, now):
            return earlier
    draft = await _draft(counter, caller, model_id, body, admit)
    try:
        async with counter.database.write() as tx:
            accepted = await _create(tx, draft, now)
            if asked is not None:
                await idempotency.keep(tx, caller.team_id, asked, accepted.job.id, now)
    except (sa.exc.IntegrityError, errors.BudgetExhausted, errors.RateLimited) as refusal:
        # Another request with this key may have been quicker; it has committed by now, or it never will. Then it took
        # the very credits, or the place in the line, that this one was refused for.
        earlier = None if asked is None else await _earlier(counter, caller, asked, now)
        if earlier is not None:
            return earlier
        if isinstance(refusal, sa.exc.IntegrityError):
            raise errors.RequestInFlight(param="Idempotency-Key", retry_after_s=1) from None
        raise
    await counter.queue.submit(hint=accepted.job.id)
    return accepted


async def _earlier(counter: Counter, caller: Caller, asked: Ticket, now: datetime) -> Accepted | None:
    async with counter.database.read() as connection:
        job_id = await idempotency.find(connection, caller.team_id, asked, now)
        if job_id is None:
            return None
        job = await lookup.find(connection, caller.team_id, job_id)
    # Whoever replays reads the job as it is now, and what is left with it.
    return Accepted(job, None, replayed=True)


@dataclass(frozen=True)
class _Draft:
    """An order that was checked and is not yet a job."""

    caller: Caller
    model: Model
    admitted: Admitted
    order: Order


async def _draft(counter: Counter, caller: Caller, model_id: str, body: Mapping[str, object], admit: Admit) -> _Draft:
    model = counter.catalogue.model(model_id)
    order = orders.read(body, counter.webhook_nets)
    canonical = parameters.canonical(model, order.parameters)
    return _Draft(caller, model, await admit(model, canonical), order)


async def _create(tx: AsyncConnection, draft: _Draft, now: datetime) -> Accepted:
    caller, model, asked = draft.caller, draft.model, draft.admitted.parameters
    max_queue_s = await _open_team(tx, caller.team_id)
    patience_s = min(max_queue_s, draft.order.start_within_s or max_queue_s)
    hold_micros = await pricing.hold_micros(tx, model, asked)
    await budgets.glance(tx, caller.team_id, caller.key_id, hold_micros, now)
    row = await tx.execute(
        _INSERT,
        {
            "id": ids.job(),
            "team_id": caller.team_id,
            "key_id": caller.key_id,
            "model": model.api_id,
            "model_version": model.version,
            "resolution": price.resolution(model, asked),
            "parameters": dict(asked),
            "details": draft.order.details,
            "webhook_url": draft.order.webhook_url,
            "priority": draft.order.priority,
            "state": State.QUEUED,
            "version": 1,
            "attempt": 1,
            "hold_micros": hold_micros,
            "created_at": now,
            "due_at": now,
            "queue_deadline_at": now + min(timedelta(seconds=patience_s), states.LONGEST_QUEUE),
        },
    )
    job = record.job(row.one())
    payer = entries.Payer(job.team_id, job.key_id, job.model)
    left_micros = await book.hold(tx, Hold(payer, job.id, job.attempt, job.hold_micros, entries.windows(now)), now)
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
    remaining = await lookup.balance_seen(tx) if left_micros is None else left_micros
    return Accepted(job, remaining, standing=draft.admitted.standing)


async def _open_team(tx: AsyncConnection, team_id: str) -> int:
    """How long the team's jobs may wait; raises if the team takes no orders, or has too many waiting."""
    team = tables.teams
    row = (
        await tx.execute(
            sa.select(team.c.max_queue_s, team.c.queue_depth, team.c.drained_at).where(
                team.c.id == team_id, team.c.deleted_at.is_(None)
            )
        )
    ).first()
    if row is None:
        raise errors.NotAuthenticated
    if row.drained_at is not None:
        raise errors.TeamDrained
    await depth.check(tx, team_id, State.QUEUED, row.queue_depth)
    return int(row.max_queue_s)
