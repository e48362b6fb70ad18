"""The sweeps of reuse: hits that were counted in Redis, and rows that nobody needs any more.

Each asks one thing while there is nothing to do, and is safe to run twice at once.
"""

import asyncio
from typing import Final

import structlog
from redis.exceptions import RedisError

from gateway.jobs.parts import Shop
from gateway.reuse import entries, flights, hits

#: A Redis that hangs holds up no other sweep for longer; what is left is taken over the next time.
TAKE_OVER_WITHIN_S: Final = 2.0

log = structlog.get_logger(__name__)


async def take_over_hits(shop: Shop) -> None:
    """Bring hits that were counted in Redis into SQL; every two seconds, however many workers there are."""
    try:
        async with asyncio.timeout(TAKE_OVER_WITHIN_S):
            await hits.take_over(shop.redis, shop.database, shop.clock, every_s=hits.EVERY_S)
    except (RedisError, OSError, TimeoutError) as error:
        log.warning("hits_not_taken_over", reason=type(error).__name__)


async def old_flights(shop: Shop) -> None:
    """Forget flights that closed long ago."""
    now = shop.clock.now()
    async with shop.database.read() as connection:
        if not await flights.any_old(connection, now):
            return
    async with shop.database.write() as tx:
        await flights.forget_old(tx, now)


async def old_hit_batches(shop: Shop) -> None:
    """Forget batches of hits that no Redis can still hold."""
    now = shop.clock.now()
    async with shop.database.read() as connection:
        if not await hits.any_old(connection, now):
            return
    async with shop.database.write() as tx:
        await hits.forget_old(tx, now)


async def expired_entries(shop: Shop) -> None:
    """Take away cache entries whose time is over. Their copies in Redis have ended with them."""
    now = shop.clock.now()
    async with shop.database.read() as connection:
        if not await entries.any_expired(connection, now):
            return
    async with shop.database.write() as tx:
        gone = await entries.expire(tx, now)
    log.info("cache_entries_expired", entries=len(gone))
