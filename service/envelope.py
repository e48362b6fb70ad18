"""What every request goes through on its way in and out: its id, its time, its log line, its safe headers.

Plain ASGI around the framework, so that it also holds for what the framework answers by itself. Never reads a body,
never logs a query string (links carry their signatures there), and labels with route templates, never with paths.
"""

import asyncio
import re
import time
from collections.abc import Iterable
from typing import Any, Final

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import Histogram

from gateway import errors, ids
from gateway.telemetry import labels, logs, tracing
from gateway.telemetry.lines import Answered
from gateway.telemetry.tracing import Span, Traces
from service import problems

#: The scope's member that says that a request was asked to wait: its time tells nothing of ours.
WAITED: Final = "torii.waited"
#: What is taken over from a caller's ``X-Request-ID``; anything else is replaced, since it ends up in logs.
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNMATCHED: Final = "unmatched"
#: The caller was gone before there was an answer.
_CALLER_GONE: Final = 499
#: From here on it is the server's fault (RFC 9110 section 15.6).
_OUR_FAULT: Final = 500
#: Why a span failed whose answer broke off.
_CUT: Final = "answer_cut"
#: Asked every few seconds by machines: not worth a line at the usual level.
_PROBES: Final = ("/health/", "/metrics")
_SHOWN_PATH_CHARACTERS: Final = 200
#: Below this a path is itself the key.
_UNSHOWN_PATHS: Final = "/hooks/"

log = structlog.get_logger(__name__)


class Envelope:
    """An ASGI app around another one."""

    def __init__(self, inner: ASGIApp, duration: Histogram, traces: Traces = tracing.OFF) -> None:
        self._inner = inner
        self._duration = duration
        self._traces = traces
        #: The series that were counted in before: as many as there are labels, which are of closed sets.
        self._series: dict[tuple[str, str, int], Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other scopes pass."""
        if scope["type"] != ScopeType.HTTP:
            await self._inner(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=exchange.id)
        with self._span(exchange) as span:
            try:
                await self._inner(scope, receive, exchange.send)
            except Exception as error:
                if not exchange.status:
                    raise
                # Half of an answer is out. The server cuts the connection, so that nobody takes it for a whole one.
                span.failed(_CUT)
                _tell_cut(error)
            finally:
                self._account(exchange, span)

    def _span(self, exchange: "_Exchange") -> Span:
        """The request's span; what machines ask every few seconds has none."""
        traces = tracing.OFF if exchange.path.startswith(_PROBES) else self._traces
        return traces.request(exchange.method, exchange.headers)

    def _account(self, exchange: "_Exchange", span: Span) -> None:
        took_s = time.perf_counter() - exchange.began_s
        status = exchange.status or _CALLER_GONE
        method, route = exchange.method, exchange.route
        self._counted(route, method, status).observe(took_s)
        if span.trace_id is not None:
            exchange.describe(span, status)
        told = Answered(method, exchange.path, route, status, round(took_s * 1000, 2), exchange.client)
        if route.startswith(_PROBES):
            log.debug("request", **told._asdict())
        else:
            logs.answered(told, own_id=exchange.own_id)

    def _counted(self, route: str, method: str, status: int) -> Histogram:
        series = self._series.get((route, method, status))
        if series is None:
            series = self._duration.labels(route, method, str(status))
            self._series[route, method, status] = series
        return series


class _Exchange:
    """One request and the beginning of its answer."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.began_s = time.perf_counter()
        asgi: dict[str, Any] = scope  # type: ignore[assignment]  # the framework's type knows no members of ours
        given = _given_id(asgi["headers"])
        #: Whether the id is of our making.
        self.own_id = given is None
        self.id = given or ids.request()
        asgi[problems.REQUEST_ID] = self.id
        self.status = 0
        # The framework rewrites the path while it looks for the route.
        self.path = _shown(asgi["path"])
        self.client = (asgi.get("client") or (None,))[0]
        self._scope = asgi
        self._send = send

    @property
    def method(self) -> str:
        """The method, of a closed set."""
        method: str = self._scope["method"]
        return method if method in _METHODS else "other"

    @property
    def route(self) -> str:
        """The template of the route that was found."""
        template: str = self._scope.get("path_template", _UNMATCHED)
        return labels.route(template, waited=WAITED in self._scope)

    @property
    def headers(self) -> Iterable[tuple[bytes, bytes]]:
        """The request's headers, their names in lower case (ASGI)."""
        headers: Iterable[tuple[bytes, bytes]] = self._scope["headers"]
        return headers

    def describe(self, span: Span, status: int) -> None:
        """Say in its span what it was and how it went: the route, never the path, which may hold a token."""
        template = self._scope.get("path_template", _UNMATCHED)
        span.rename(f"{self.method} {template}")
        span.note("http.route", template)
        span.note("http.response.status_code", status)
        span.note("torii.request.id", self.id)
        if status >= _OUR_FAULT:
            span.failed(str(status))

    async def send(self, message: Message) -> None:
        """Pass a message on, the first one with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message["headers"], (b"x-request-id", self.id.encode())]
            present = {name.lower() for name, _ in headers}
            headers += [each for each in _DEFAULTS if each[0] not in present]
            message["headers"] = headers
        await self._send(message)


_DEFAULTS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
)


def _shown(path: str) -> str:
    return f"{_UNSHOWN_PATHS}…" if path.startswith(_UNSHOWN_PATHS) else path[:_SHOWN_PATH_CHARACTERS]


def _given_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    for name, value in headers:
        if name == b"x-request-id":
            return value.decode() if _REQUEST_ID.fullmatch(value) else None
    return None


def _tell_cut(error: Exception) -> None:
    cause = error.__cause__ or error
    if isinstance(cause, errors.ToriiError | asyncio.TimeoutError):
        log.warning("answer_cut", code=getattr(cause, "code", "timeout"), notes=getattr(cause, "__notes__", []))
    else:
        log.error("answer_cut", error=type(cause).__name__, exc_info=cause)
