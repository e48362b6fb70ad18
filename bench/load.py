"""A small HTTP/1.1 load generator on keep-alive connections: as many requests as go, or so many a second.

One request is sent again and again as ready-made bytes, so that on two cores the generator leaves one to the server.
It talks to loopback only, its time is bounded, and a single answer other than the expected one spoils the whole run:
errors are quick, and would pass for speed.
"""

import asyncio
import itertools
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from bench import answer

LOOPBACK = "127.0.0.1"
#: How long the last answers may take after the load has ended.
LAST_ANSWERS_S = 20.0
_SHOWN_BYTES = 300


class SpoiltRun(RuntimeError):
    """A request failed or was answered otherwise than expected, so that the figures would mean nothing."""


@dataclass(frozen=True)
class Call:
    """One request as bytes, and the status it must be answered with."""

    port: int
    data: bytes = field(repr=False)
    expected: int
    #: What each connection sends after ``data``, before it begins anew.
    others: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Sample:
    """What one run saw: from the first request to the last answer, and each request's own time, sorted."""

    seconds: float
    took_s: tuple[float, ...] = field(repr=False)

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.took_s) / self.seconds


def call(
    port: int,
    method: str,
    path: str,
    *,
    key: str = "",
    body: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
    expected: int | None = None,
) -> Call:
    """The request of a client that sends JSON, if anything; by default a POST expects 202, a GET 200."""
    content = b"" if body is None else json.dumps(dict(body)).encode()
    lines = [f"{method} {path} HTTP/1.1", f"Host: {LOOPBACK}:{port}", f"Content-Length: {len(content)}"]
    if body is not None:
        lines.append("Content-Type: application/json")
    if key:
        lines.append(f"Authorization: Bearer {key}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return Call(port, "\r\n".join([*lines, "", ""]).encode() + content, expected or (202 if method == "POST" else 200))


async def saturate(what: Call, connections: int, seconds: float) -> Sample:
    """Keep that many requests under way for so long."""
    took: list[float] = []
    begun_s = time.perf_counter()
    stop_s = begun_s + seconds
    left = connections
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answered(line: _Line, took_s: float) -> None:
        nonlocal left
        took.append(took_s)
        if time.perf_counter() < stop_s:
            line.send(time.perf_counter())
            return
        left -= 1
        if not left and not over.done():
            over.set_result(None)

    lines = await _open(what, connections, answered, over)
    begun_s = time.perf_counter()
    stop_s = begun_s + seconds
    for line in lines:
        line.send(begun_s)
    await _finish(lines, over, seconds)
    return Sample(time.perf_counter() - begun_s, tuple(sorted(took)))


async def paced(what: Call, connections: int, per_second: float, seconds: float) -> Sample:
    """Send at a steady rate, whether or not earlier ones were answered: waiting for a free connection counts."""
    loop = asyncio.get_running_loop()
    wanted = max(1, round(per_second * seconds))
    took: list[float] = []
    waiting: deque[float] = deque()
    idle: list[_Line] = []
    over: asyncio.Future[None] = loop.create_future()

    def answered(line: _Line, took_s: float) -> None:
        took.append(took_s)
        if len(took) == wanted and not over.done():
            over.set_result(None)
        if waiting:
            line.send(waiting.popleft())
        else:
            idle.append(line)

    lines = await _open(what, connections, answered, over)
    idle.extend(lines)
    begun_s = time.perf_counter()
    sent = 0

    def fire() -> None:
        nonlocal sent
        # One timer at a time: tens of thousands that are set at once take so long that the first are late in a crowd.
        while sent < wanted and (due_s := begun_s + sent / per_second) <= time.perf_counter():
            sent += 1
            if idle:
                idle.pop().send(due_s)
            else:
                waiting.append(due_s)
        if sent < wanted:
            loop.call_later(max(0.0, begun_s + sent / per_second - time.perf_counter()), fire)

    fire()
    await _finish(lines, over, seconds)
    return Sample(time.perf_counter() - begun_s, tuple(sorted(took)))


class _Line(asyncio.Protocol):
    """One connection with at most one request under way."""

    def __init__(self, what: Call, answered: Callable[["_Line", float], None], over: asyncio.Future[None]) -> None:
        self._what = what
        self._answered = answered
        self._over = over
        self._buffer = b""
        self._requests = itertools.cycle((what.data, *what.others))
        self._since_s = 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is one in all but ancestry.
        self.transport = cast("asyncio.Transport", transport)

    def send(self, since_s: float) -> None:
        """Send the request; its time counts from ``since_s``."""
        assert self.transport is not None
        self._since_s = since_s
        self.transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            found = answer.first(self._buffer)
        except answer.UnreadableAnswer as error:
            self._spoil(f"an answer cannot be read: {error}")
            return
        if found is None:
            return
        self._buffer = self._buffer[found.size_bytes :]
        if found.status != self._what.expected:
            self._spoil(f"answered {found.status}, not {self._what.expected}: {found.body[:_SHOWN_BYTES]!r}")
            return
        self._answered(self, time.perf_counter() - self._since_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._spoil(f"a connection was closed ({exc!r})")

    def _spoil(self, why: str) -> None:
        if not self._over.done():
            self._over.set_exception(SpoiltRun(why))


async def _open(
    what: Call, connections: int, answered: Callable[[_Line, float], None], over: asyncio.Future[None]
) -> list[_Line]:
    loop = asyncio.get_running_loop()
    made = [
        loop.create_connection(lambda: _Line(what, answered, over), LOOPBACK, what.port) for _ in range(connections)
    ]
    return [line for _, line in await asyncio.gather(*made)]


async def _finish(lines: list[_Line], over: asyncio.Future[None], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds + LAST_ANSWERS_S):
            await over
    except TimeoutError:
        raise SpoiltRun(f"answers are missing {LAST_ANSWERS_S:g} s after the load ended") from None
    finally:
        for line in lines:
            if line.transport is not None:
                line.transport.abort()
