"""One connection of a caller's: how large a request's head may be, and how long a caller may keep us waiting.

Around uvicorn's own protocol, which bounds neither. Bodies are bounded where they are read (``bodies``); what comes of
one after its request was answered is waited for as little as a head is. Knows no route and no key.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: A request's line and fields together; common proxies in front pass on no more than half of it.
HEAD_MAX_BYTES: Final = 64 * 1024
#: From the first byte of a head to its last.
HEAD_WITHIN_S: Final = 10.0
#: A caller that takes nothing of its answer for this long is gone.
TAKE_WITHIN_S: Final = 60.0

#: After a refusal the rest is read for this long and thrown away: a reset would take the refusal from its reader.
LINGER_S: Final = 1.0

#: The ASGI scope's member that tells what became of the answer.
FATE: Final = "torii.fate"
_UPGRADE: Final = b"upgrade"


class _HeadTooLarge(Exception):
    """More of a head than is kept in memory."""


class Fate:
    """What became of an answer after it was written: only what comes next on its connection can tell."""

    def __init__(self) -> None:
        #: The connection was lost before anything else came of it.
        self.lost = False
        self._known = asyncio.Event()

    async def delivered(self, within_s: float) -> bool:
        """Whether the answer, which is all written, has reached its caller; no news within that time is good news."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._known.wait()
        return not self.lost

    def goes_on(self) -> None:
        """The caller has sent its next request, or has closed in order."""
        self._known.set()

    def lose(self) -> None:
        """The connection broke."""
        self.lost = True
        self._known.set()


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with an end to what a stranger may make it hold."""

    #: Shorter ones are for tests.
    head_within_s = HEAD_WITHIN_S
    take_within_s = TAKE_WITHIN_S
    #: Of the head that is being read, and since the parser last told of anything that it keeps.
    _head_bytes = 0
    _silent_bytes = 0
    _in_head = False
    _too_large = False
    _refused = False
    _fate: Fate | None = None
    _patience: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin; who says nothing at all is given as long as who rests between two requests."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; no timer outlives the connection."""
        self._be_patient()
        self._be_served()
        if self._fate is not None:
            whole = exc is None and (self.cycle is None or self.cycle.response_complete)
            (self._fate.goes_on if whole else self._fate.lose)()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, and see to it that a request comes of it."""
        if self._refused:
            return
        self._unset_keepalive_if_required()
        self._silent_bytes += len(data)
        try:
            self._feed(data)
            self._require_small(self._silent_bytes)
        except (httptools.HttpParserError, _HeadTooLarge):
            large = self._too_large  # what a callback raised comes as an error of the parser's
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if large else HTTPStatus.BAD_REQUEST)
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._be_patient()
        elif self._patience is None and not self.transport.is_closing():
            self._patience = self.loop.call_later(self.head_within_s, self._lose_patience)

    def _feed(self, data: bytes) -> None:
        """Have it parsed; a wish for another protocol is passed over, as RFC 9110 section 7.8 allows.

        The parser would take all that follows such a request for that protocol, its body too. So it is told the same
        head once more, without the wish.
        """
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as wish:
                if self.parser.get_method() == b"CONNECT":
                    raise httptools.HttpParserError("no proxy") from None
                data = _head(self.parser, self.url, self.headers) + data[wish.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
            else:
                return

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()
        if self._fate is not None:
            self._fate.goes_on()
        self._fate = Fate()
        asgi: dict[str, Any] = self.scope  # type: ignore[assignment]  # uvicorn's type knows no members of ours
        asgi[FATE] = self._fate

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self._keep(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; one that comes after the body is none (RFC 9110 section 6.5.1)."""
        self._keep(len(name) + len(value))
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer, unless the head comes once more."""
        if self.parser.should_upgrade():
            return
        self._in_head, self._silent_bytes = False, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._silent_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request; what follows is the next one."""
        if self.parser.should_upgrade():
            return
        self._silent_bytes = 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The caller takes less than it is given; it may not for long."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(self.take_within_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The caller has taken what was waiting."""
        self._be_served()
        super().resume_writing()

    def _keep(self, number: int) -> None:
        self._silent_bytes = 0
        self._head_bytes += number
        self._require_small(self._head_bytes)

    def _require_small(self, number: int) -> None:
        if number > HEAD_MAX_BYTES:
            self._too_large = True
            raise _HeadTooLarge

    def _be_patient(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _be_served(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _lose_patience(self) -> None:
        self._patience = None
        if self._in_head:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.transport.close()

    def _refuse(self, status: HTTPStatus) -> None:
        """Say that this is no request, and hang up; what is being answered already is answered to its end."""
        under_way = self.cycle is not None and not self.cycle.response_complete
        if under_way and not self.cycle.more_body:
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        if under_way and (self.pipeline or self.cycle.response_started):
            self.transport.close()
            return
        if under_way:
            # Whoever waits for the rest of the body is told that none will come, and has nobody to answer.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._be_patient()
        self._refused = True
        self.transport.write(_refusal(status))
        self.transport.write_eof()
        self._patience = self.loop.call_later(LINGER_S, self.transport.close)


def _refusal(status: HTTPStatus) -> bytes:
    text = status.phrase.encode()
    head = b"HTTP/1.1 %d %s\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close"
    return (head + b"\r\n\r\n%s") % (status, text, len(text), text)


def _head(parser: httptools.HttpRequestParser, target: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    lines = [b"%s %s HTTP/%s" % (parser.get_method(), target, parser.get_http_version().encode())]
    lines += [b"%s: %s" % (name, value) for name, value in fields if name != _UPGRADE]
    return b"\r\n".join([*lines, b"", b""])
