"""A TCP wire between a client and a real server, which a test may cut, stall, slow down or shorten while it is in use.

It runs in a thread of its own with a loop of its own and forwards bytes as they come. It knows no protocol: what a
client makes of a cut is the client's affair.
"""

import asyncio
import contextlib
import dataclasses
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.support import ports

T = TypeVar("T")

CHUNK_BYTES = 64 * 1024
#: A stalled or refusing wire looks this often whether it may go on.
LOOK_EVERY_S = 0.005
ANSWERS_WITHIN_S = 5.0
_BACKLOG = 512
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """What the wire does to bytes and connections; the default lets everything pass.

    ``refuse`` closes the door to new connections (ECONNREFUSED); ``reset_on_accept`` takes them and throws them out.
    ``stalled`` forwards nothing and keeps what it was given. ``delay_s`` is waited before each piece. Of each
    connection, ``cut_after_up`` bytes to the server and ``cut_after_down`` bytes to the client still pass, counted from
    the moment this behaviour began; then it is cut, by a reset or (``reset=False``) by an orderly end.
    """

    refuse: bool = False
    reset_on_accept: bool = False
    stalled: bool = False
    delay_s: float = 0.0
    cut_after_up: int | None = None
    cut_after_down: int | None = None
    reset: bool = True


class Wire:
    """A wire to one server's port. ``port`` is where clients connect; it stays the same until ``stop``."""

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.port = 0
        self._behaviour = Behaviour()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire", daemon=True)
        self._accepting: asyncio.Task[None] | None = None
        self._placeholder: socket.socket | None = None
        self._links: set[_Link] = set()
        self._accepted = 0

    def start(self) -> Self:
        """Begin to accept."""
        self._thread.start()
        self._run(self._open())
        return self

    def stop(self) -> None:
        """Cut everything and give the port back; harmless the second time."""
        if not self._thread.is_alive():
            return
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ANSWERS_WITHIN_S)
        self._loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """``127.0.0.1:PORT``."""
        return f"{ports.LOOPBACK}:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._links)

    @property
    def accepted(self) -> int:
        """How many connections were taken so far."""
        return self._accepted

    @property
    def behaviour(self) -> Behaviour:
        """What it does at present."""
        return self._behaviour

    def behave(self, **changes: Any) -> None:
        """From now on do this, for open connections too; what is not named is as by default."""
        self._run(self._behave(dataclasses.replace(Behaviour(), **changes)))

    def heal(self) -> None:
        """Let everything pass again."""
        self.behave()

    def cut(self, *, reset: bool = True) -> int:
        """Cut the connections that are open now; how many there were."""
        return self._run(self._cut(reset=reset))

    def _run(self, deed: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(deed, self._loop).result(ANSWERS_WITHIN_S)

    async def _open(self) -> None:
        if self._accepting is not None:
            return
        if self._placeholder is not None:
            self._placeholder.close()
            self._placeholder = None
        listener = self._bound()
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        self.port = int(listener.getsockname()[1])
        self._accepting = asyncio.create_task(self._accept(listener))

    async def _shut(self) -> None:
        if self._accepting is None:
            return
        self._accepting.cancel()
        await asyncio.wait({self._accepting})
        self._accepting = None
        # Bound and not listening: connecting is refused, and nobody else can be given the port meanwhile.
        self._placeholder = self._bound()

    def _bound(self) -> socket.socket:
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((ports.LOOPBACK, self.port))
        return found

    async def _accept(self, listener: socket.socket) -> None:
        # Not asyncio's own server: closed just after it accepted, it forgets that connection and never ends it.
        with listener:
            while True:
                client, _ = await self._loop.sock_accept(listener)
                self._accepted += 1
                link = _Link(self, client)
                self._links.add(link)
                link.task = asyncio.create_task(link.carry())

    async def _behave(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        await (self._shut() if behaviour.refuse else self._open())

    async def _cut(self, *, reset: bool) -> int:
        links = list(self._links)
        for link in links:
            link.cut(reset=reset)
        return len(links)

    async def _end(self) -> None:
        await self._shut()
        if self._placeholder is not None:
            self._placeholder.close()
        tasks = {link.task for link in self._links if link.task is not None}
        await self._cut(reset=True)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=ANSWERS_WITHIN_S / 2)

    def forget(self, link: "_Link") -> None:
        """A connection has ended."""
        self._links.discard(link)


@dataclass(eq=False)
class _Link:
    """One connection: two directions that end together when it is cut, and one by one when they end by themselves."""

    wire: Wire
    accepted: socket.socket
    task: "asyncio.Task[None] | None" = None
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def carry(self) -> None:
        """Carry bytes both ways until both have ended, or one broke."""
        try:
            from_client, client = await asyncio.open_connection(sock=self.accepted, limit=CHUNK_BYTES)
            self.writers.append(client)
            if self.wire.behaviour.reset_on_accept:
                self.cut(reset=True)
                return
            from_server, server = await asyncio.open_connection(
                ports.LOOPBACK, self.wire.server_port, limit=CHUNK_BYTES
            )
            self.writers.append(server)
            await self._both(
                self._forward(from_client, server, "cut_after_up"), self._forward(from_server, client, "cut_after_down")
            )
        except OSError:
            self.cut(reset=True)
        finally:
            for writer in self.writers:
                writer.close()
            self.wire.forget(self)

    async def _both(self, *directions: Coroutine[Any, Any, None]) -> None:
        tasks = [asyncio.create_task(direction) for direction in directions]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: str) -> None:
        began, passed = self.wire.behaviour, 0
        while data := await reader.read(CHUNK_BYTES):
            if self.wire.behaviour.delay_s:
                await asyncio.sleep(self.wire.behaviour.delay_s)
            while self.wire.behaviour.stalled:  # noqa: ASYNC110  set from another thread
                await asyncio.sleep(LOOK_EVERY_S)
            behaviour = self.wire.behaviour
            if behaviour is not began:
                began, passed = behaviour, 0
            most: int | None = getattr(behaviour, limit)
            allowed = data if most is None else data[: max(most - passed, 0)]
            passed += len(data)
            if allowed:
                writer.write(allowed)
                await writer.drain()
            if most is not None and passed >= most:
                self.cut(reset=behaviour.reset)
                return
        with contextlib.suppress(OSError):
            if writer.can_write_eof():
                writer.write_eof()

    def cut(self, *, reset: bool) -> None:
        """End it now, both ways."""
        for writer in self.writers:
            held = writer.get_extra_info("socket")
            if reset and held is not None and held.fileno() >= 0:
                with contextlib.suppress(OSError):
                    held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()
            else:
                writer.close()
