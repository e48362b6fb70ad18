"""The Redis connection: pooled, and with time limits on everything, since a slow Redis is worse than a dead one.

Each fault of a connection is a ``RedisError`` or an ``OSError`` here, whatever the event loop calls it.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from redis import exceptions
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

CONNECT_TIMEOUT_S = 1.0
#: Longest wait for one answer; a submit must be answered in under 2 s even if Redis hangs.
ANSWER_TIMEOUT_S = 1.0
#: A connection that was idle for so long is tried before it is used.
_IDLE_CHECK_S = 30


class _Careful(AbstractConnection):
    """uvloop says ``RuntimeError`` to a write on a connection that the peer has just reset; no caller expects that."""

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """Send; a connection that is gone is a ``ConnectionError``, which is retried as any other."""
        try:
            await super().send_packed_command(command, check_health)
        except (RuntimeError, AttributeError) as error:
            # An attribute of nothing: whoever else used the connection has given it up in the meantime.
            if isinstance(error, AttributeError) and self.is_connected:
                raise
            await self.disconnect(nowait=True)
            raise exceptions.ConnectionError("the connection was lost while writing") from error


class _Plain(_Careful, Connection):
    pass


class _Secure(_Careful, SSLConnection):
    pass


class _Local(_Careful, UnixDomainSocketConnection):
    pass


_CAREFUL: Final[Mapping[type[AbstractConnection], type[AbstractConnection]]] = MappingProxyType(
    {Connection: _Plain, SSLConnection: _Secure, UnixDomainSocketConnection: _Local}
)


def pool(url: str, *, connect_timeout_s: float, answer_timeout_s: float, retries: int) -> ConnectionPool:
    """Connections to the Redis of that URL; connects lazily."""
    made = ConnectionPool.from_url(
        url,
        socket_connect_timeout=connect_timeout_s,
        socket_timeout=answer_timeout_s,
        retry=Retry(NoBackoff(), retries),
        health_check_interval=_IDLE_CHECK_S,
    )
    made.connection_class = _CAREFUL[made.connection_class]
    return made


def open(url: str) -> Redis:
    """A client by its URL; connects lazily. Any call may raise ``redis.exceptions.RedisError`` or ``OSError``."""
    return Redis.from_pool(pool(url, connect_timeout_s=CONNECT_TIMEOUT_S, answer_timeout_s=ANSWER_TIMEOUT_S, retries=1))
