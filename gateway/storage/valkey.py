"""The Redis connection: pooled, and with time limits on everything, since a slow Redis is worse than a dead one."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

CONNECT_TIMEOUT_S = 1.0
#: Longest wait for one answer; a submit must be answered in under 2 s even if Redis hangs.
ANSWER_TIMEOUT_S = 1.0


def open(url: str) -> Redis:
    """A client by its URL; connects lazily. Any call may raise ``redis.exceptions.RedisError`` or ``OSError``."""
    client: Redis = Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 1),
        health_check_interval=30,
    )
    return client
