"""The price now in force for a model and resolution: the catalogue's, or the operator's in its place.

A charge above its hold blocks the pair until an operator prices it: the catalogue's bound has been wrong once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.images import price
from gateway.images.model import Model, Parameters
from gateway.storage import statements, tables

_price = tables.prices


@dataclass(frozen=True, slots=True)
class Priced:
    """What an operator, or a charge that was too high, has put in the place of the catalogue's price."""

    #: Of one picture, in micro-credits; none while it waits for its price.
    micros: int | None
    blocked: bool


async def hold_micros(connection: AsyncConnection, model: Model, parameters: Parameters) -> int:
    """What an order may cost at most, in micro-credits; ``PriceBlocked`` while the pair waits for its price."""
    row_name = price.resolution(model, parameters)
    row = (
        await connection.execute(
            sa.select(_price.c.micros, _price.c.blocked_at).where(
                _price.c.model == model.api_id, _price.c.resolution == row_name
            )
        )
    ).first()
    return hold(model, parameters, None if row is None else Priced(row.micros, row.blocked_at is not None))


def hold(model: Model, parameters: Parameters, priced: Priced | None) -> int:
    """As ``hold_micros``, by what stands in the place of the catalogue's price."""
    if priced is None:
        return price.hold(model, parameters)
    if priced.blocked or priced.micros is None:
        raise errors.PriceBlocked(param="resolution")
    return price.hold(price.reprice(model, price.resolution(model, parameters), priced.micros), parameters)


async def hold_each(connection: AsyncConnection, orders: Sequence[tuple[Model, Parameters]]) -> list[int | None]:
    """As ``hold_micros`` for each of many orders, by one question; none for one whose pair waits for its price."""
    names = {model.api_id for model, _ in orders}
    rows = await connection.execute(sa.select(_price).where(_price.c.model.in_(sorted(names))))
    known = {(row.model, row.resolution): row for row in rows}
    held: list[int | None] = []
    for model, parameters in orders:
        row_name = price.resolution(model, parameters)
        row = known.get((model.api_id, row_name))
        if row is None:
            held.append(price.hold(model, parameters))
        elif row.blocked_at is not None:
            held.append(None)
        else:
            held.append(price.hold(price.reprice(model, row_name, row.micros), parameters))
    return held


async def block(tx: AsyncConnection, model: str, resolution: str, at: datetime) -> None:
    """Let nothing more of this pair be sent until it is priced."""
    await statements.upsert(
        tx,
        _price,
        [{"model": model, "resolution": resolution, "micros": None, "blocked_at": at}],
        replace=("blocked_at",),
    )


async def put(tx: AsyncConnection, model: Model, resolution: str, micros: int) -> None:
    """Set the operator's price of one picture, which lifts a block; ``InvalidParameter`` for no such row."""
    if resolution not in model.prices:
        raise errors.InvalidParameter(f"resolution: {model.api_id} has {', '.join(model.prices)}", param="resolution")
    await statements.upsert(
        tx,
        _price,
        [{"model": model.api_id, "resolution": resolution, "micros": micros, "blocked_at": None}],
        replace=("micros", "blocked_at"),
    )
