"""A receiver of webhooks on loopback: keeps what it is sent, and answers, hangs or cuts as the test says."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.support import ports


@dataclass(frozen=True)
class Message:
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """Its ``webhook-id``."""
        return self.headers["webhook-id"]

    @property
    def content(self) -> Any:
        """Its body, read."""
        return msgspec.json.decode(self.body)

    def proven(self, secret: str, body: bytes | None = None) -> bool:
        """Whether a receiver with that secret takes it, by the published library for Standard Webhooks."""
        try:
            Webhook(secret).verify(self.body if body is None else body, dict(self.headers))
        except WebhookVerificationError:
            return False
        return True


def answer(status: int, *headers: str) -> bytes:
    """An answer without a body."""
    return "\r\n".join([f"HTTP/1.1 {status} Said", *headers, "Content-Length: 0", "", ""]).encode()


@dataclass
class Receiver:
    """The server. Its answers are used up one by one, the last one again and again."""

    port: int = field(default_factory=ports.free_one)
    #: What is sent back; empty bytes cut the connection.
    answers: list[bytes] = field(default_factory=lambda: [answer(204)])
    #: Bytes that follow the answer without an end.
    drip: bytes = b""
    messages: list[Message] = field(default_factory=list)
    connections: int = 0
    under_way: int = 0
    #: The most that were under way at once.
    crowd: int = 0
    #: An answer waits for it; set to begin with.
    free: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str = "/hook", host: str = ports.LOOPBACK) -> str:
        """Its address."""
        return f"http://{host}:{self.port}{path}"

    def say(self, *answers: bytes) -> None:
        """Answer so from now on."""
        self.answers = list(answers)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Receiver"]:
        """Listen on loopback."""
        self.free.set()
        async with await asyncio.start_server(self._serve, ports.LOOPBACK, self.port):
            yield self
            self.free.set()
            self.drip = b""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.under_way += 1
        self.crowd = max(self.crowd, self.under_way)
        try:
            self.messages.append(await _message(reader))
            await self.free.wait()
            said = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
            writer.write(said)
            while self.drip:
                writer.write(self.drip)
                await writer.drain()
                await asyncio.sleep(0.005)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the sender is gone
        finally:
            self.under_way -= 1
            writer.close()


async def _message(reader: asyncio.StreamReader) -> Message:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Message(first.split()[1], headers, await reader.readexactly(int(headers.get("content-length", 0))))
