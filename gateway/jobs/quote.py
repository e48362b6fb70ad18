"""What an order would cost and how long it would take, without ordering. Spends, holds and stores nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.images import parameters, price
from gateway.jobs import desk, expect, orders, pricing
from gateway.jobs.accept import Caller
from gateway.jobs.parts import Counter
from gateway.jobs.states import State
from gateway.storage import tables

_job = tables.jobs


@dataclass(frozen=True)
class Quote:
    """The answer; amounts in micro-credits, the wait in seconds."""

    model: str
    #: The upper bound that would be held.
    cost_micros: int
    #: The upstream's price is known, so that the bound is the cost.
    firm: bool
    remaining_micros: int | None
    affordable: bool
    wait_s: float


async def quote(counter: Counter, caller: Caller, model_id: str, body: Mapping[str, object], concurrency: int) -> Quote:
    """The quote for a run's body; raises what ordering it would raise about the body, the model and its price."""
    model = counter.catalogue.model(model_id)
    canonical = parameters.canonical(model, orders.read(body, counter.webhook_nets).parameters)
    async with counter.database.read() as connection:
        cost_micros = await pricing.hold_micros(connection, model, canonical)
        remaining = await desk.remaining_micros(connection, caller, counter.clock.now())
        typical_s = await _typical_s(connection, model.api_id, price.resolution(model, canonical), model.typical_s)
        ahead = (
            await connection.execute(
                sa.select(sa.func.count()).select_from(_job).where(_job.c.state.in_([State.QUEUED, State.SUBMITTING]))
            )
        ).scalar_one()
    return Quote(
        model=model.api_id,
        cost_micros=cost_micros,
        firm=price.firm(model, canonical),
        remaining_micros=remaining,
        affordable=remaining is None or cost_micros <= remaining,
        wait_s=typical_s * (1 + ahead // concurrency),
    )


async def _typical_s(connection: AsyncConnection, model: str, resolution: str, catalogue_s: float) -> float:
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
