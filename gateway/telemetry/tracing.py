"""Traces: what the house says of its work while somebody listens, and that it says nothing while nobody does.

`Traces` and `Span` are tracing that is off, and the words in which the house speaks in either case; `spans` records.
Nothing of OpenTelemetry is loaded before a collector is named. A span never holds a prompt, a secret, a URL or an
error's message: ids, closed words, numbers and routes alone.
"""

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self, TypeAlias

from prometheus_client import Counter

from gateway import errors

#: What an attribute may be; one that is none is left out.
Value: TypeAlias = str | int | float | bool | None
About: TypeAlias = Mapping[str, Value]

NOTHING: Final[About] = MappingProxyType({})


class Kind(StrEnum):
    """What a span inside another one stands for."""

    #: A question to somebody else, and its answer.
    CALL = "call"
    #: A message that was sent, whoever may read it.
    MESSAGE = "message"


@dataclass(frozen=True)
class Collector:
    """Where spans go, and which of them are kept."""

    #: Of OTLP over HTTP, with its path.
    url: str
    #: Sent with each batch; they hold the collector's key.
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    #: The authorities that its certificate is held to, where they are not the system's.
    certificate: Path | None = None
    service_name: str = "torii"
    version: str = ""
    resource: tuple[tuple[str, str], ...] = ()
    #: A name of OpenTelemetry's, and the share that those with a ratio keep.
    sampler: str = "parentbased_always_on"
    ratio: float = 1.0


class Span:
    """A span that nobody records; in a ``with`` block it is the current one."""

    __slots__ = ()

    @property
    def trace_id(self) -> str | None:
        """The trace's id in hexadecimal, if there is a trace."""
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    def rename(self, name: str) -> None:
        """Call it otherwise, where its name is only known in the end."""

    def note(self, name: str, value: Value) -> None:
        """Give it an attribute."""

    def failed(self, word: str) -> None:
        """Say that what it stands for went wrong; ``word`` is of a closed set, never a message."""


_UNRECORDED: Final = Span()


class Traces:
    """Tracing that is off: every span is the same one, and no job belongs to a trace."""

    def request(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> Span:
        """The span of one HTTP request, in its caller's trace where the ``traceparent`` of the headers names one."""
        del method, headers
        return _UNRECORDED

    def step(self, parent: str | None, name: str, about: About = NOTHING) -> Span:
        """The span of a step, under the ``parent`` that a row keeps; none where the row has none."""
        del parent, name, about
        return _UNRECORDED

    def inner(self, kind: Kind, name: str, about: About = NOTHING) -> Span:
        """A span under the current one, none where there is none: what nobody asked for makes no trace of its own."""
        del kind, name, about
        return _UNRECORDED

    def over(self, parent: str | None, name: str, since: datetime, until: datetime, about: About = NOTHING) -> None:
        """Tell of something that is over already, under the ``parent`` that a row keeps."""

    def note(self, name: str, value: Value) -> None:
        """Give the current span an attribute."""

    def parent(self) -> str | None:
        """The current span as a row keeps it, for the spans that are to come under it: a ``traceparent`` (W3C)."""
        return None

    def link(self, parent: str | None) -> None:
        """Let the current span point at one of another trace, by what a row keeps of that."""

    async def close(self) -> None:
        """Send what still waits, within a few seconds; the rest is given up."""


#: Holds nothing, so that one is enough for everybody.
OFF: Final = Traces()


def open(collector: Collector | None, dropped: Counter) -> Traces:
    """Tracing to that collector, off without one. Raises ``SettingError`` where the library refuses its settings.

    ``dropped`` counts, by ``reason``, the spans that no collector will ever see.
    """
    if collector is None:
        return OFF
    try:
        # The only late import of the house's own: who traces nothing does not pay 15 MiB and 0.2 s for it.
        exporting = importlib.import_module("gateway.telemetry.trace_export")
        opened: Traces = exporting.open(collector, dropped)
    except (ImportError, RuntimeError, ValueError) as error:
        # It reads further variables of its own, and says which one it does not like.
        raise errors.SettingError(f"OTEL_…: tracing cannot begin: {error}", param="OTEL_") from None
    return opened
