"""Accepting an order: one transaction that makes the job and takes its hold, then a nudge. The front door's main deed.

Row first, nudge after: once ``accept`` returns, the job exists whatever happens to Redis or to this process.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, ids
from gateway.images import parameters, price
from gateway.jobs import orders, record
from gateway.jobs.parts import Counter
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.ledger import book, entries
from gateway.ledger.book import Hold
from gateway.storage import tables

#: Nobody listens any more after a day, and would pay for what nobody reads.
LONGEST_QUEUE = timedelta(hours=24)


@dataclass(frozen=True)
class Caller:
    """On whose behalf: a key and its team."""

    team_id: str
    key_id: str


async def accept(counter: Counter, caller: Caller, model_id: str, body: Mapping[str, object]) -> Job:
    """The new, queued job of that body, which is as the upstream takes it (pixeldojo.md 1.1).

    Raises ``ModelNotFound``, an ``InvalidRequest`` that names the field, or ``StoreUnavailable``; then nothing was
    created and nothing is held.
    """
    model = counter.catalogue.model(model_id)
    order = orders.read(body)
    canonical = parameters.canonical(model, order.parameters)
    now = counter.clock.now()
    values = {
        "id": ids.job(),
        "team_id": caller.team_id,
        "key_id": caller.key_id,
        "model": model.api_id,
        "model_version": model.version,
        "resolution": price.resolution(model, canonical),
        "parameters": dict(canonical),
        "details": order.details,
        "state": State.QUEUED,
        "version": 1,
        "attempt": 1,
        "hold_micros": price.hold(model, canonical),
        "created_at": now,
        "due_at": now,
    }
    async with counter.database.write() as tx:
        job = await _create(tx, values, order.start_within_s, now)
    await counter.queue.submit(hint=job.id)
    return job


async def _create(tx: AsyncConnection, values: dict[str, Any], start_within_s: int | None, now: datetime) -> Job:
    team = tables.teams
    max_queue_s = (
        await tx.execute(sa.select(team.c.max_queue_s).where(team.c.id == values["team_id"]))
    ).scalar_one_or_none()
    if max_queue_s is None:
        raise errors.NotAuthenticated
    patience = min(timedelta(seconds=min(max_queue_s, start_within_s or max_queue_s)), LONGEST_QUEUE)
    row = await tx.execute(
        tables.jobs.insert().values(**values, queue_deadline_at=now + patience).returning(tables.jobs)
    )
    job = record.job(row.one())
    payer = entries.Payer(job.team_id, job.key_id, job.model)
    await book.hold(tx, Hold(payer, job.id, job.attempt, job.hold_micros, entries.windows(now)), now)
    return job
