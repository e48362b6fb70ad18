"""One HTTP exchange over plain ASGI: the request read, the answer sent, the connection cut. Knows no route."""

import asyncio
import urllib.parse
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CUT_EXTENSION = "emulator.cut"
BODY_LIMIT_BYTES = 1 << 20
CHUNK_BYTES = 1 << 20

_ENCODER = msgspec.json.Encoder(decimal_format="number")


class ClientLeft(Exception):
    """The client closed the connection before the exchange was over."""


@dataclass(slots=True)
class Response:
    """An answer not yet sent. `padding_bytes` zeros follow the body, so that huge answers need no memory."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    padding_bytes: int = 0


def encode(value: object) -> bytes:
    """JSON bytes; decimals become plain numbers."""
    return _ENCODER.encode(value)


def json_response(status: int, value: object) -> Response:
    """Build an answer with a JSON body."""
    return Response(status, encode(value))


class Exchange:
    """One request and what can be done about it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._body: bytes | None = None
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self.method: str = scope["method"]
        self.path: str = scope["path"]

    def header(self, name: str) -> str | None:
        """Return a header's value by its lower-case name."""
        value = self._headers.get(name.encode())
        return None if value is None else value.decode("latin-1")

    def query(self) -> dict[str, str]:
        """Return the query's fields; the last wins."""
        return dict(urllib.parse.parse_qsl(self._scope["query_string"].decode("latin-1")))

    def host_base(self) -> str:
        """Return `http://` and the Host the client asked for, so that URLs work through a proxy too."""
        return f"{self._scope['scheme']}://{self.header('host') or '127.0.0.1'}"

    async def body(self) -> bytes | None:
        """Read the whole body; `None` when it exceeds 1 MiB. Raises `ClientLeft`."""
        if self._body is None:
            parts = bytearray()
            more = True
            while more:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft
                parts += message.get("body", b"")
                more = message.get("more_body", False)
                if len(parts) > BODY_LIMIT_BYTES:
                    return None
            self._body = bytes(parts)
        return self._body

    async def send(self, response: Response) -> None:
        """Send the whole answer."""
        total_bytes = await self.send_head(response)
        if self.method == "HEAD":
            total_bytes = 0
        await self._send_body(response, total_bytes, more_follows=False)

    async def send_head(self, response: Response) -> int:
        """Send status and headers alone; returns the length they promise in bytes."""
        total_bytes = len(response.body) + response.padding_bytes
        headers = {
            "content-type": response.content_type,
            "content-length": str(total_bytes),
            **{name.lower(): value for name, value in response.headers.items()},
        }
        raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": response.status, "headers": raw})
        return total_bytes

    async def send_part(self, response: Response, part_bytes: int | None) -> None:
        """Send the headers and only the first bytes of the body (half of it, if not said)."""
        total_bytes = await self.send_head(response)
        limit = total_bytes // 2 if part_bytes is None else min(part_bytes, max(total_bytes - 1, 0))
        await self._send_body(response, limit, more_follows=True)

    async def left(self, within_s: float) -> bool:
        """Wait until the client leaves, at most `within_s`; says whether it left."""
        await self.body()  # what is unread would be mistaken for a sign of life
        try:
            async with asyncio.timeout(within_s):
                while (await self._receive())["type"] != "http.disconnect":
                    pass
        except TimeoutError:
            return False
        return True

    async def cut(self, *, reset: bool = False) -> None:
        """Close the TCP connection without another byte; with `reset` by RST instead of FIN."""
        self._scope["extensions"][CUT_EXTENSION](reset)
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _send_body(self, response: Response, limit_bytes: int, *, more_follows: bool) -> None:
        head = memoryview(response.body)[:limit_bytes]
        padding_bytes = limit_bytes - len(head)
        if padding_bytes > 0:
            await self._send({"type": "http.response.body", "body": bytes(head), "more_body": True})
            zeros = bytes(min(CHUNK_BYTES, padding_bytes))
            while padding_bytes > len(zeros):
                await self._send({"type": "http.response.body", "body": zeros, "more_body": True})
                padding_bytes -= len(zeros)
            head = memoryview(zeros)[:padding_bytes]
        await self._send({"type": "http.response.body", "body": bytes(head), "more_body": more_follows})
