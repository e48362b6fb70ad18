"""The wire between a client and a server: it passes bytes unchanged, and does each harm it is told to, and no other."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support import ports, wait
from tests.support.valkey import Valkey
from tests.support.wire import Wire

WITHIN_S = 5.0


class Echo:
    """A server that sends back what it gets, and says so when a client ends."""

    def __init__(self) -> None:
        self._listener = socket.create_server((ports.LOOPBACK, 0))
        self.port = int(self._listener.getsockname()[1])
        self.received = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            while data := client.recv(65536):
                self.received += len(data)
                client.sendall(data)

    def close(self) -> None:
        """Take no more clients."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(WITHIN_S)


@pytest.fixture
def echo() -> Iterator[Echo]:
    """Give a server that echoes."""
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def wire(echo: Echo) -> Iterator[Wire]:
    """Give a wire to it."""
    with Wire(echo.port) as carrying:
        yield carrying


@pytest.fixture
def client(wire: Wire) -> Iterator[socket.socket]:
    """Give a connection through the wire."""
    with socket.create_connection((ports.LOOPBACK, wire.port), timeout=WITHIN_S) as connection:
        yield connection


def read(client: socket.socket, count: int) -> bytes:
    """Read until so many bytes, or the end."""
    found = b""
    while len(found) < count and (data := client.recv(count - len(found))):
        found += data
    return found


def first_byte(port: int) -> bytes:
    """Connect, say hello, and read one byte: the reset may come at any of the three."""
    with socket.create_connection((ports.LOOPBACK, port), timeout=WITHIN_S) as client:
        client.sendall(b"hello")
        return client.recv(1)


def test_bytes_pass_unchanged_in_both_directions(client: socket.socket) -> None:
    """A megabyte comes back as it was sent."""
    sent = bytes(range(256)) * 4096
    threading.Thread(target=client.sendall, args=(sent,), daemon=True).start()
    assert read(client, len(sent)) == sent


def test_the_end_of_one_direction_is_passed_on(client: socket.socket) -> None:
    """A client that ends its sending still gets the rest of the answer, and then the server's end."""
    client.sendall(b"last words")
    client.shutdown(socket.SHUT_WR)
    assert read(client, 1000) == b"last words"


def test_a_refusing_wire_refuses_and_keeps_its_port(wire: Wire, client: socket.socket) -> None:
    """New connections are refused, open ones go on, and once healed the same port accepts again."""
    port = wire.port
    client.sendall(b"before")
    assert read(client, 6) == b"before"
    wire.behave(refuse=True)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((ports.LOOPBACK, port), timeout=WITHIN_S)
    client.sendall(b"still here")
    assert read(client, 10) == b"still here"
    wire.heal()
    assert wire.port == port
    with socket.create_connection((ports.LOOPBACK, port), timeout=WITHIN_S) as again:
        again.sendall(b"back")
        assert read(again, 4) == b"back"


def test_a_wire_may_throw_connections_out(wire: Wire, echo: Echo) -> None:
    """A connection that is accepted and reset never reaches the server."""
    wire.behave(reset_on_accept=True)
    with pytest.raises(ConnectionResetError):
        first_byte(wire.port)
    assert echo.received == 0


@pytest.mark.parametrize("reset", [True, False])
def test_open_connections_can_be_cut(wire: Wire, client: socket.socket, *, reset: bool) -> None:
    """A cut ends every open connection, as a reset or in order, and none that comes later."""
    client.sendall(b"one")
    assert read(client, 3) == b"one"
    assert wire.cut(reset=reset) == 1
    if reset:
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    else:
        assert client.recv(1) == b""
    wait.until_sync(lambda: wire.connections == 0, timeout_s=WITHIN_S, what="the cut connection is gone")
    with socket.create_connection((ports.LOOPBACK, wire.port), timeout=WITHIN_S) as later:
        later.sendall(b"two")
        assert read(later, 3) == b"two"


def test_an_answer_can_be_truncated(wire: Wire, client: socket.socket) -> None:
    """Of an answer exactly so many bytes arrive, then its orderly end."""
    wire.behave(cut_after_down=4, reset=False)
    client.sendall(b"0123456789")
    assert read(client, 100) == b"0123"


def test_a_request_can_be_cut_on_its_way(wire: Wire, echo: Echo, client: socket.socket) -> None:
    """Of a request exactly so many bytes reach the server."""
    wire.behave(cut_after_up=4)
    client.sendall(b"0123456789")
    with pytest.raises(ConnectionResetError):
        read(client, 100)
    assert echo.received <= 4


def test_bytes_are_counted_from_the_moment_of_the_order(wire: Wire, client: socket.socket) -> None:
    """What a connection carried before does not count."""
    client.sendall(b"0123456789")
    assert read(client, 10) == b"0123456789"
    wire.behave(cut_after_down=3, reset=False)
    client.sendall(b"abcdef")
    assert read(client, 100) == b"abc"


def test_a_stalled_wire_forwards_nothing_until_it_is_healed(wire: Wire, client: socket.socket) -> None:
    """Bytes given to a stalled wire arrive after it was healed, none is lost."""
    wire.behave(stalled=True)
    client.sendall(b"wait for it")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)
    wire.heal()
    client.settimeout(WITHIN_S)
    assert read(client, 11) == b"wait for it"


def test_a_slow_wire_takes_its_time(wire: Wire, client: socket.socket) -> None:
    """Each piece waits for the delay, there and back."""
    wire.behave(delay_s=0.1)
    began = time.monotonic()
    client.sendall(b"slowly")
    assert read(client, 6) == b"slowly"
    assert time.monotonic() - began >= 0.2


def test_a_server_that_is_not_there_ends_the_connection(wire: Wire, echo: Echo) -> None:
    """A wire whose server refuses takes the connection and ends it; it accepts again for the next."""
    echo.close()
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            first_byte(wire.port)


def test_a_stopped_wire_leaves_nothing_behind(echo: Echo) -> None:
    """After stop the port refuses, connections are cut, and stopping again is harmless."""
    wire = Wire(echo.port).start()
    with socket.create_connection((ports.LOOPBACK, wire.port), timeout=WITHIN_S) as client:
        wire.behave(stalled=True)
        client.sendall(b"held")
        wire.stop()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert not ports.answers(wire.port)
    wire.stop()


async def test_a_real_server_works_through_it(valkey: Valkey, redis_url: str) -> None:
    """A Valkey behind a wire answers, sees its client cut, and answers the next one."""
    del redis_url
    with Wire(valkey.port) as wire:
        async with asyncio.timeout(WITHIN_S):
            reader, writer = await asyncio.open_connection(ports.LOOPBACK, wire.port)
            writer.write(b"PING\r\n")
            assert await reader.readline() == b"+PONG\r\n"
            wire.cut(reset=False)
            assert await reader.read() == b""
            writer.close()
