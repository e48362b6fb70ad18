"""The sweep of batches: those whose jobs have all ended are finished, and what waits of those taken back goes back.

Asks one thing while there is nothing to do, and is safe to run twice at once.
"""

from typing import Final

from gateway.jobs import batches
from gateway.jobs.parts import Shop

_AT_ONCE: Final = 50


async def finish(shop: Shop) -> None:
    """Bring batches to their end, and tell their callers soon."""
    async with shop.database.read() as connection:
        found = await batches.unsettled(connection, _AT_ONCE)
    for row in found:
        if row.cancelled_at is not None:
            await batches.take_back(shop.database, shop.clock, row.id)
        if await batches.settle(shop.database, shop.clock, row.id):
            await shop.queue.deliver(hint=row.id)
