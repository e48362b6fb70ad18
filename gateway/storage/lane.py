"""One connection to Redis that many callers share: what they ask in one moment goes out as one.

A client that takes a connection for each question spends more time on that than Redis on the answer. For short
questions that are asked very often; whoever asks bounds the time. Connects when it is first asked, and again after a
fault.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from redis import exceptions
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection

from gateway.storage import valkey

#: For all that was asked in one moment together; after that the connection is given up.
ANSWER_WITHIN_S: Final = 1.0
#: What a caller's time is worth where the gateway can do without the answer: a limit, or what SQL has too.
CONVENIENCE_S: Final = 0.15
#: More than this does not wait: Redis is not keeping up, and whoever asks is told so.
WAITING_MAX: Final = 4096

Word: TypeAlias = str | int | bytes


@dataclass(frozen=True, slots=True)
class Script:
    """A script, and the name that Redis has for it."""

    text: str
    sha1: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha1", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


class _Asked(NamedTuple):
    """One question, and who waits for its answer."""

    command: bytes
    answer: asyncio.Future[Any]


class Lane:
    """The connection; one for each purpose and process."""

    def __init__(
        self,
        pool: ConnectionPool,
        answer_within_s: float = ANSWER_WITHIN_S,
        connect_within_s: float = valkey.CONNECT_TIMEOUT_S,
    ) -> None:
        self._pool = pool
        self._connect_within_s = connect_within_s
        self._answer_within_s = answer_within_s
        self._waiting: list[_Asked] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def run(self, script: Script, keys: Sequence[str], given: Sequence[Word], *, once: bool = False) -> Any:  # noqa: ANN401  as Redis
        """What the script gives. Raises as ``ask``; a script that Redis has forgotten was not run."""
        try:
            return await self._asked(_packed(("EVALSHA", script.sha1, len(keys), *keys, *given)), once=once)
        except exceptions.NoScriptError:
            return await self._asked(_packed(("EVAL", script.text, len(keys), *keys, *given)), once=once)

    async def ask(self, *words: Word, once: bool = False) -> Any:  # noqa: ANN401  whatever Redis answers
        """Redis's answer to that command. Raises ``RedisError`` or ``OSError``.

        After a fault it is asked once more, so that what was lost on its way may have been done twice; not so what is
        to be done ``once``.
        """
        return await self._asked(_packed(words), once=once)

    async def close(self) -> None:
        """Give the connection up; whoever waits is told."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _asked(self, command: bytes, *, once: bool) -> Any:  # noqa: ANN401  as above
        try:
            return await self._answer(command)
        except (exceptions.ConnectionError, exceptions.TimeoutError, OSError):
            if once:
                raise
            return await self._answer(command)

    def _answer(self, command: bytes) -> "asyncio.Future[Any]":
        """Its answer, once it is there."""
        if len(self._waiting) >= WAITING_MAX:
            raise exceptions.BusyLoadingError("too much waits to be asked")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked(command, answer))
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._serve())
        return answer

    async def _serve(self) -> None:
        """Carry questions and answers until something goes wrong."""
        # Each round of questions has its time; a connection's own for each answer would only be kept twice.
        settings = {**self._pool.connection_kwargs, "socket_timeout": None}
        settings.pop("answer_timeout_s", None)
        connection: AbstractConnection = self._pool.connection_class(**settings)
        asked: list[_Asked] = []
        fault: BaseException = exceptions.ConnectionError("the connection was given up")
        try:
            # Whoever answers the dial and then nothing else must not keep all who ask from a new connection.
            async with asyncio.timeout(self._connect_within_s):
                await connection.connect()  # type: ignore[no-untyped-call]
            while True:
                await self._wake.wait()
                self._wake.clear()
                asked, self._waiting = self._waiting, []
                async with asyncio.timeout(self._answer_within_s):
                    await _carry(connection, asked)
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            # Only what is raised anew for each of them has a traceback of its own.
            fault = exceptions.ConnectionError(f"{type(error).__name__}: {error}")
        finally:
            # Whoever asks from now on has a new connection made.
            self._task = None
            lost, self._waiting = asked + self._waiting, []
            for each in lost:
                if not each.answer.done():
                    each.answer.set_exception(exceptions.ConnectionError(str(fault)))
            await connection.disconnect(nowait=True)


def _packed(words: Sequence[Word]) -> bytes:
    """The command as Redis reads it."""
    said = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"".join((b"*%d\r\n" % len(said), *(b"$%d\r\n%b\r\n" % (len(word), word) for word in said)))


async def _carry(connection: AbstractConnection, asked: Sequence[_Asked]) -> None:
    await connection.send_packed_command([each.command for each in asked], check_health=False)
    for each in asked:
        answer, refusal = None, None
        try:
            answer = await connection.read_response()
        except exceptions.ResponseError as error:
            refusal = error
        if each.answer.done():
            continue  # it did not wait so long
        if refusal is None:
            each.answer.set_result(answer)
        else:
            each.answer.set_exception(refusal)
