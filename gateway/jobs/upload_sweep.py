"""The sweep of uploads whose time is over. Safe to run twice at once; what it lets go another sweep deletes."""

from typing import Final

import structlog

from gateway.jobs import uploads
from gateway.jobs.parts import Shop

_AT_ONCE: Final = 100

log = structlog.get_logger(__name__)


async def over_time(shop: Shop) -> None:
    """Let uploads go that are over their time, or whose team is gone, unless an unfinished job starts from them."""
    async with shop.database.read() as connection:
        late = await uploads.due(connection, shop.clock.now(), _AT_ONCE)
    gone = 0
    for upload in late:
        now = shop.clock.now()
        async with shop.database.write() as tx:
            gone += await uploads.expire(tx, upload, now)
    if gone:
        log.info("uploads_expired", uploads=gone)
