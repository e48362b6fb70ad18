"""The load generator against a real server: it counts what was answered, and no error passes for speed."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from bench import load
from bench.load import Call

Handler = Callable[[bytes], bytes | None]


def reply(status: int, body: bytes = b"{}") -> bytes:
    """Return a whole answer."""
    return b"HTTP/1.1 %d Word\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[int]:
    """Serve on a free loopback port; the handler sees each request whole, and closes by giving None."""

    async def each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                answer = handler(head + await reader.readexactly(length))
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(each, load.LOOPBACK, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_every_answer_is_counted_once() -> None:
    """A saturated run counts each request that the server saw, and its time, sorted."""
    seen: list[bytes] = []

    def handler(request: bytes) -> bytes:
        seen.append(request)
        return reply(202)

    async with served(handler) as port:
        what = load.call(port, "POST", "/run", key="torii_key", body={"prompt": "x"})
        sample = await load.saturate(what, connections=4, seconds=0.2)
    assert len(sample.took_s) == len(seen) >= 4
    assert list(sample.took_s) == sorted(sample.took_s)
    assert sample.per_second == pytest.approx(len(seen) / sample.seconds)
    assert seen[0].startswith(b"POST /run HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer torii_key\r\n" in seen[0]
    assert seen[0].endswith(b'\r\n\r\n{"prompt": "x"}')


async def test_a_steady_rate_sends_exactly_its_number() -> None:
    """A paced run sends rate times seconds requests, also when there are fewer connections than are wanted at once."""
    seen: list[bytes] = []

    def handler(request: bytes) -> bytes:
        seen.append(request)
        return reply(200)

    async with served(handler) as port:
        sample = await load.paced(load.call(port, "GET", "/job"), connections=1, per_second=200, seconds=0.25)
    assert len(sample.took_s) == len(seen) == 50


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (reply(500, b"a bug"), "answered 500, not 200: b'a bug'"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "cannot be read"),
        (None, "a connection was closed"),
    ],
)
@pytest.mark.parametrize("run", [load.saturate, load.paced])
async def test_one_wrong_answer_spoils_the_run(
    answer: bytes | None, why: str, run: Callable[..., Awaitable[object]]
) -> None:
    """An unexpected status, an unreadable answer or a closed connection ends the run with an error that says so."""
    more = {"per_second": 50} if run is load.paced else {}
    async with served(lambda _: answer) as port:
        with pytest.raises(load.SpoiltRun, match=why):
            await run(load.call(port, "GET", "/"), connections=2, seconds=0.2, **more)


async def test_a_server_that_is_not_there_is_an_error() -> None:
    """Nobody listening is an error at once, not a rate of nothing."""
    with socket.create_server((load.LOOPBACK, 0)) as held:
        port = held.getsockname()[1]
    with pytest.raises(OSError, match=r"refused|Connect"):
        await load.saturate(Call(port, b"", 200), connections=1, seconds=0.1)
