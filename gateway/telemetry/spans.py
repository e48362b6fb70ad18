"""Spans that are recorded, with OpenTelemetry's SDK. Knows no collector: whoever made the provider has one.

No exception is recorded as such, since its message may hold anything; its class's name is. Nothing is ever sent on to
the upstream or to a receiver: a trace begins with a caller of ours and ends with us.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Final, Self

import structlog
from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.telemetry.tracing import NOTHING, OFF, About, Kind, Span, Traces, Value

_HEADER: Final = b"traceparent"
#: Version 00 has 55 characters; a later one may have more, and is read as far as it is known.
_HEADER_CHARACTERS_MAX: Final = 256
_KEPT: Final = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_FIELD: Final = "traceparent"
_ERROR: Final = "error.type"
#: What the log calls it.
_LOGGED: Final = "trace_id"
_SCOPE: Final = "torii"


class Recorder(Traces):
    """Tracing through a provider. ``close`` is whoever's made the provider."""

    def __init__(self, provider: TracerProvider, version: str = "") -> None:
        self._tracer = provider.get_tracer(_SCOPE, version)
        self._w3c = TraceContextTextMapPropagator()

    def request(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> Span:
        """As in ``Traces``. Two headers of that name, one that is too long or not well formed: none."""
        given = [value for name, value in headers if name.lower() == _HEADER]
        lone = len(given) == 1 and len(given[0]) <= _HEADER_CHARACTERS_MAX
        # The caller's tracestate ends here, since nothing is sent on.
        caller = self._named(given[0].decode("latin-1")) if lone else Context()
        about = {"http.request.method": method}
        return _Recorded(self._tracer.start_span(method, caller, SpanKind.SERVER, about), caller, logged=True)

    def step(self, parent: str | None, name: str, about: About = NOTHING) -> Span:
        """As in ``Traces``."""
        if not _is_kept(parent):
            return OFF.step(parent, name)
        under = self._named(parent or "")
        return _Recorded(self._tracer.start_span(name, under, attributes=_known(about)), under, logged=True)

    def inner(self, kind: Kind, name: str, about: About = NOTHING) -> Span:
        """As in ``Traces``."""
        if not trace.get_current_span().is_recording():
            return OFF.inner(kind, name)
        role = SpanKind.CLIENT if kind is Kind.CALL else SpanKind.PRODUCER
        return _Recorded(self._tracer.start_span(name, kind=role, attributes=_known(about)))

    def over(self, parent: str | None, name: str, since: datetime, until: datetime, about: About = NOTHING) -> None:
        """As in ``Traces``."""
        if _is_kept(parent):
            under = self._named(parent or "")
            span = self._tracer.start_span(name, under, attributes=_known(about), start_time=_ns(since))
            span.end(_ns(max(since, until)))

    def note(self, name: str, value: Value) -> None:
        """As in ``Traces``."""
        if value is not None:
            trace.get_current_span().set_attribute(name, value)

    def parent(self) -> str | None:
        """As in ``Traces``; also of a span that is not kept, so that none of those under it is."""
        carrier: dict[str, str] = {}
        self._w3c.inject(carrier)
        return carrier.get(_FIELD)

    def link(self, parent: str | None) -> None:
        """As in ``Traces``; a span of the same trace needs no link."""
        other = trace.get_current_span(self._named(parent or "")).get_span_context()
        current = trace.get_current_span()
        if other.is_valid and other.trace_id != current.get_span_context().trace_id:
            current.add_link(SpanContext(other.trace_id, other.span_id, is_remote=True, trace_flags=other.trace_flags))

    def _named(self, text: str) -> Context:
        return self._w3c.extract({_FIELD: text}, Context())


class _Recorded(Span):
    """A span of OpenTelemetry's that is current in its block and over after it."""

    __slots__ = ("_bound", "_logged", "_span", "_token", "_under")

    def __init__(self, span: trace.Span, under: Context | None = None, *, logged: bool = False) -> None:
        self._span = span
        self._under = under
        self._logged = logged

    @property
    def trace_id(self) -> str | None:
        """As in ``Span``."""
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    def __enter__(self) -> Self:
        self._token = context.attach(trace.set_span_in_context(self._span, self._under))
        # A trace that is not kept here may be kept by the caller: its id is in the log in any case.
        self._bound = structlog.contextvars.bind_contextvars(**{_LOGGED: self.trace_id}) if self._logged else {}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None:
            self.failed(kind.__name__)
        self._span.end()
        structlog.contextvars.reset_contextvars(**self._bound)
        context.detach(self._token)

    def rename(self, name: str) -> None:
        """As in ``Span``."""
        self._span.update_name(name)

    def note(self, name: str, value: Value) -> None:
        """As in ``Span``."""
        if value is not None:
            self._span.set_attribute(name, value)

    def failed(self, word: str) -> None:
        """As in ``Span``."""
        self._span.set_attribute(_ERROR, word)
        self._span.set_status(Status(StatusCode.ERROR))


def _is_kept(parent: str | None) -> bool:
    return parent is not None and _KEPT.fullmatch(parent) is not None


def _known(about: About) -> Mapping[str, str | int | float | bool]:
    return {name: value for name, value in about.items() if value is not None}


def _ns(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1_000
