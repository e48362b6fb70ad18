"""Asking the request budget, and doing without its word when Redis is away. Keeps no state of its own."""

import structlog
from redis.exceptions import RedisError

from gateway.jobs.parts import Shop

#: Without Redis nothing is nudged either; what was under way waits this long and asks again.
_BLIND_WAIT_S = 1.0

log = structlog.get_logger(__name__)


async def take(shop: Shop, reserve: float, *, stalled: bool = False) -> float:
    """0.0 when a request may be made now, else the seconds to wait."""
    try:
        return await shop.pacer.take(reserve, stalled=stalled)
    except (RedisError, OSError, TimeoutError) as error:
        log.warning("pacer_unavailable", reason=type(error).__name__)
        return _BLIND_WAIT_S


async def give_back(shop: Shop, *, stalled: bool = False) -> None:
    """Return what was taken for a request that was not made; the next asks at once."""
    try:
        await shop.pacer.give_back(stalled=stalled)
    except (RedisError, OSError, TimeoutError) as error:
        log.warning("pacer_unavailable", reason=type(error).__name__)
