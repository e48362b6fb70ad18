"""Strangers on the wire: heads that do not end, bodies that are none, and callers that keep a connection waiting.

Most of it is asked of the connection alone, around an app that tells what reached it.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from service.connection import HEAD_MAX_BYTES, Connection
from tests.api.door import GOOD, Door
from tests.support import ports, wait

POST = b"POST /x HTTP/1.1\r\nHost: a\r\n"
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n"
LAST = GET + b"Connection: close\r\n\r\n"
FIVE = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class Hurried(Connection):
    """The connection, with little patience."""

    head_within_s = 0.3
    take_within_s = 0.3


async def mirror(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """Answer with the body, and whether a key was shown; to ``/brief`` without reading on."""
    body = b""
    while scope["path"] != "/brief":
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    keys = [value for name, value in scope["headers"] if name == b"authorization"]
    told = b"<%s %d>" % (body, len(keys))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(told))]})
    await send({"type": "http.response.body", "body": told})


@asynccontextmanager
async def serving(app: Callable[..., Awaitable[None]]) -> AsyncIterator[tuple[int, uvicorn.Server]]:
    """A server of hurried connections."""
    port = ports.free_one()
    config = uvicorn.Config(
        app, port=port, http=Hurried, ws="none", lifespan="off", log_config=None, timeout_keep_alive=1, access_log=False
    )
    server = uvicorn.Server(config)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve())
        try:
            await wait.until(lambda: server.started, timeout_s=10, what="the server listens")
            yield port, server
        finally:
            server.should_exit = server.force_exit = True


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Give a server that mirrors."""
    async with serving(mirror) as (port, _):
        yield port


async def told(port: int, *pieces: bytes) -> bytes:
    """All that is answered to those pieces until the server hangs up."""
    reader, writer = await asyncio.open_connection(ports.LOOPBACK, port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 8)
    finally:
        writer.transport.abort()


def statuses(answer: bytes) -> list[int]:
    """The statuses of the answers in it."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def bodies(answer: bytes) -> list[bytes]:
    """What the app said in them."""
    return re.findall(rb"<([^>]*)>", answer)


async def test_what_two_servers_could_read_differently_is_refused(port: int) -> None:
    """Two lengths, a length and chunks, junk in either, folded and broken fields: one 400, and nothing else is read."""
    chunks = b"\r\n5\r\nhello\r\n0\r\n\r\n"
    for fields in (
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"Content-Length: 5, 5\r\n\r\nhello",
        b"Content-Length: +5\r\n\r\nhello",
        b"Content-Length: 18446744073709551621\r\n\r\nhello",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + chunks,
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" + chunks,
        b"Transfer-Encoding: xchunked\r\n" + chunks,
        b"Transfer-Encoding: chunked, identity\r\n" + chunks,
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n-1\r\nhello",
        b"X : a\r\n\r\n",
        b"X: a\r\n b\r\n\r\n",
        b"X: a\0b\r\n\r\n",
        b"X: a\nY: b\r\n\r\n",
    ):
        assert statuses(await told(port, POST + fields + LAST)) == [400], fields


async def test_a_head_has_an_end(port: int) -> None:
    """Beyond its limit a head is a 431, be it one field, many, or the path; so are a chunk's extension and trailers."""
    long = b"a" * HEAD_MAX_BYTES
    assert statuses(await told(port, GET + b"X: " + long * 20)) == [431]
    assert statuses(await told(port, GET + b"".join(b"X%d: a\r\n" % each for each in range(20_000)))) == [431]
    assert statuses(await told(port, b"GET /" + long * 20)) == [431]
    assert statuses(await told(port, POST + FIVE + b"0\r\nX: " + long * 20)) == [431]
    assert statuses(await told(port, POST + FIVE + b"1;" + long * 20)) == [431]
    good = await told(port, GET + b"X: " + long[:-1000] + b"\r\nConnection: close\r\n\r\n")
    assert statuses(good) == [200]
    large = b"x" * 1_000_000
    body = POST + b"Content-Length: %d\r\n\r\n%s%s" % (len(large), large, LAST)
    assert [len(each) for each in bodies(await told(port, body))] == [len(large) + 2, 2]


async def test_an_answer_is_finished_whatever_follows_its_request(port: int) -> None:
    """Junk behind whole requests costs nobody their answers; then the connection ends."""
    assert statuses(await told(port, (GET + b"\r\n") * 3 + b"\0junk\r\n\r\n")) == [200, 200, 200]


async def test_a_wish_for_another_protocol_is_passed_over(port: int) -> None:
    """The body of a request that would rather speak something else is its body still, and never the next request."""
    for wished in (b"h2c", b"websocket"):
        wish = POST + b"Connection: Upgrade\r\nUpgrade: %s\r\n" % wished
        inside = GET + b"\r\n"
        one = wish + b"Content-Length: %d\r\n\r\n%s" % (len(inside), inside)
        assert bodies(await told(port, one + wish + FIVE + b"0\r\n\r\n" + LAST)) == [inside + b" 0", b"hello 0", b" 0"]
        assert bodies(await told(port, one[:70], one[70:90], one[90:] + LAST)) == [inside + b" 0", b" 0"]
    assert statuses(await told(port, b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: a\r\n\r\n")) == [400]


async def test_a_trailer_is_no_header(port: int) -> None:
    """What comes behind a chunked body cannot stand for a key that was not shown."""
    assert bodies(await told(port, POST + FIVE + b"0\r\nAuthorization: x\r\n\r\n" + LAST)) == [b"hello 0", b" 0"]


async def test_nobody_is_waited_for_without_end(port: int) -> None:
    """A head that stops in its middle is a 408; silence, stray line ends and the rest of a body are hung up on."""
    brief = b"POST /brief HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
    found = await asyncio.gather(
        told(port, b"GET / HTTP/1.1\r\nHo"),
        told(port),
        told(port, b"\r\n"),
        told(port, brief),
        told(port, GET + b"\r\n"),
    )
    assert [statuses(each) for each in found] == [[408], [], [], [200], [200]]
    reader, writer = await asyncio.open_connection(ports.LOOPBACK, port)
    for _ in range(2):
        writer.write(brief)
        assert bodies(await reader.readuntil(b">")) == [b" 0"]
        writer.write(b"x" * 100)
    writer.write(b"GET /x HTTP/1.1\r\n")
    assert statuses(await asyncio.wait_for(reader.read(), 3)) == [408]
    writer.close()


async def test_who_takes_nothing_is_cut_off() -> None:
    """An answer that nobody reads holds no connection, and whoever sends it is told."""
    ended = asyncio.Event()

    async def endless(scope: object, receive: Receive, send: Send) -> None:
        del scope
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(30):
            await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})
        assert (await receive())["type"] == "http.disconnect"
        ended.set()

    async with serving(endless) as (port, server):
        _, writer = await asyncio.open_connection(ports.LOOPBACK, port, limit=1)
        writer.write(GET + b"\r\n")
        await asyncio.wait_for(ended.wait(), 8)
        await wait.until(lambda: not server.server_state.connections, timeout_s=3, what="the connection is gone")
        writer.transport.abort()


async def test_the_front_door_has_such_connections(door: Door, capfd: pytest.CaptureFixture[str]) -> None:
    """An order that asks for HTTP/2 in passing, as some clients do by themselves, is taken with its body."""
    wish = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}
    headers = {**await door.caller(), **wish, "Content-Type": "application/json"}
    answer = await door.client.post("/api/v1/models/flux-2-max/run", headers=headers, content=json.dumps(GOOD))
    assert answer.status_code == 202
    key = headers["Authorization"].encode()
    order = (
        POST.replace(b"/x", b"/api/v1/models/flux-2-max/run")
        + b"Content-Type: application/json\r\nAuthorization: %s\r\n"
    )
    assert statuses(await told(door.port, order % key + FIVE, b"zz\r\n")) == [400]
    assert "Traceback" not in "".join(capfd.readouterr())
    assert statuses(await told(door.port, GET + b"X: " + b"a" * 20 * HEAD_MAX_BYTES)) == [431]
