"""The Redis connection: pooled, and with time limits on everything, since a slow Redis is worse than a dead one.

Each fault of a connection is a ``RedisError`` or an ``OSError`` here, whatever the event loop calls it.
"""

import asyncio
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

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
    """A connection whose waits can be given up, and that says ``ConnectionError`` when it is gone.

    redis-py sends under ``asyncio.wait_for`` when it has a ``socket_timeout``, and up to Python 3.11 that drops a
    cancellation that comes as the write ends: who was told to stop goes on. So it is given none, and the time is
    kept here. And uvloop says ``RuntimeError`` to a write on a connection that the peer has just reset.
    """

    def __init__(self, *, answer_timeout_s: float | None = None, **settings: Any) -> None:  # noqa: ANN401  as redis-py
        super().__init__(**settings)
        self._answer_timeout_s = answer_timeout_s

    async def read_response(
        self,
        disable_decoding: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109  as redis-py
        *,
        disconnect_on_error: bool = True,
        push_request: bool | None = False,
    ) -> Any:  # noqa: ANN401  whatever Redis answers
        """As redis-py; without a ``timeout`` the connection's own counts."""
        own_s = self._answer_timeout_s if timeout is None else None
        try:
            async with asyncio.timeout(own_s):
                return await super().read_response(
                    disable_decoding, timeout, disconnect_on_error=disconnect_on_error, push_request=push_request
                )
        except TimeoutError:
            raise exceptions.TimeoutError("no answer in time") from None

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """Send; a connection that is gone is a ``ConnectionError``, which is retried as any other."""
        try:
            async with asyncio.timeout(self._answer_timeout_s):
                await super().send_packed_command(command, check_health)
        except TimeoutError:
            raise exceptions.TimeoutError("not sent in time") from None
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
        answer_timeout_s=answer_timeout_s,
        retry=Retry(NoBackoff(), retries),
        health_check_interval=_IDLE_CHECK_S,
    )
    made.connection_class = _CAREFUL[made.connection_class]
    made.connection_kwargs["socket_timeout"] = None  # whatever the URL asks for: see _Careful
    return made


def open(url: str) -> Redis:
    """A client by its URL; connects lazily. Any call may raise ``redis.exceptions.RedisError`` or ``OSError``."""
    return Redis.from_pool(pool(url, connect_timeout_s=CONNECT_TIMEOUT_S, answer_timeout_s=ANSWER_TIMEOUT_S, retries=1))
