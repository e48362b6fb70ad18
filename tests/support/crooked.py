"""An HTTP server between a client and a gateway that answers wrongly on demand: busy, cut, cut midway, something else.

It forwards everything else as it comes, event streams too, and remembers what it was asked. Runs in threads of its own.
"""

import contextlib
import http.client
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.support import ports

_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "host"})
_CHUNK = 16 * 1024
_TIMEOUT_S = 60


class Kind(StrEnum):
    """What goes wrong."""

    #: Answers with a status and an error of the house's shape; nothing is forwarded.
    STATUS = "status"
    #: Answers with a page; nothing is forwarded.
    HTML = "html"
    #: Forwards, and closes without an answer.
    CUT_AFTER = "cut_after"
    #: Forwards, and closes after half of the answer.
    CUT_MIDWAY = "cut_midway"
    #: Forwards, and turns each bit of the answer.
    GARBLED = "garbled"


@dataclass(frozen=True)
class Fault:
    """Goes wrong for so many requests of a method whose path has a part."""

    kind: Kind
    method: str
    part: str
    times: int = 1
    status: int = 503
    retry_after: str | None = None


@dataclass(frozen=True)
class Asked:
    """One request that came."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class Crooked:
    """The server; use it in a ``with``. ``gateway_port`` is where the gateway listens, or will."""

    gateway_port: int
    port: int = field(default_factory=ports.free_one)
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        owner = self

        class Handler(_Handler):
            crooked = owner

        self._server = ThreadingHTTPServer((ports.LOOPBACK, self.port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="crooked", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where clients ask."""
        return f"http://{ports.LOOPBACK}:{self.port}"

    def straight(self) -> None:
        """Forget what was to go wrong, and what was asked."""
        with self._lock:
            self._faults.clear()
            self.asked.clear()

    def wrong(self, *faults: Fault) -> None:
        """Let these go wrong, beside the ones that are left."""
        with self._lock:
            self._faults += faults

    def requests(self, method: str, part: str) -> list[Asked]:
        """Those of the method whose path has that part."""
        with self._lock:
            return [each for each in self.asked if each.method == method and part in each.path]

    def take(self, asked: Asked) -> Fault | None:
        """Note a request, and say what goes wrong with it."""
        with self._lock:
            self.asked.append(asked)
            for number, fault in enumerate(self._faults):
                if fault.method == asked.method and fault.part in asked.path:
                    self._faults[number : number + 1] = [replace(fault, times=fault.times - 1)] * (fault.times > 1)
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    crooked: Crooked
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Any method: they differ in nothing here."""
        fault = self.crooked.take(Asked(self.command, self.path, dict(self.headers.items())))
        self.close_connection = True
        with contextlib.suppress(OSError, http.client.HTTPException):
            self._answer(fault)

    do_POST = do_DELETE = do_PATCH = do_PUT = do_GET  # noqa: N815  the names that the library calls

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""

    def _answer(self, fault: Fault | None) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if fault is not None and fault.kind is Kind.STATUS:
            more = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
            error = b'{"error": {"code": "unavailable", "message": "Not now.", "type": "server_error", "param": null}}'
            self._send(fault.status, {"Content-Type": "application/problem+json", **more}, [error])
        elif fault is not None and fault.kind is Kind.HTML:
            self._send(200, {"Content-Type": "text/html"}, [b"<!doctype html><title>Welcome</title>"])
        else:
            self._forward(body, None if fault is None else fault.kind)

    def _forward(self, body: bytes, kind: Kind | None) -> None:
        connection = http.client.HTTPConnection(ports.LOOPBACK, self.crooked.gateway_port, timeout=_TIMEOUT_S)
        with contextlib.closing(connection):
            headers = {name: text for name, text in self.headers.items() if name.lower() not in _HOP}
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            kept = {name: text for name, text in answer.getheaders() if name.lower() not in _HOP}
            if kind is Kind.CUT_AFTER:
                answer.read()
            elif kind is Kind.CUT_MIDWAY:
                whole = answer.read()
                self._send(answer.status, kept, [whole[: len(whole) // 2]])
            elif kind is Kind.GARBLED:
                self._send(answer.status, kept, [bytes(255 - each for each in answer.read())])
            else:
                self._send(answer.status, kept, _pieces(answer))

    def _send(self, status: int, headers: Mapping[str, str], pieces: Iterator[bytes] | list[bytes]) -> None:
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Connection", "close")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)
            self.wfile.flush()


def _pieces(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    while piece := answer.read1(_CHUNK):
        yield piece
