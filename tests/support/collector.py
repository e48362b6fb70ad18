"""A collector of traces on loopback: speaks OTLP over HTTP, keeps what it is sent, silent or sullen on demand."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support import ports, wait

Value = str | int | float | bool


@dataclass(frozen=True)
class Seen:
    """One span as it came."""

    name: str
    trace_id: str
    span_id: str
    #: Empty for the first of a trace.
    parent_id: str
    kind: str
    about: Mapping[str, Value]
    #: The traces it points at.
    links: tuple[str, ...]
    failed: bool
    #: Exceptions and the like; there should be none.
    events: int
    #: In seconds since 1970.
    began_s: float
    ended_s: float
    resource: Mapping[str, Value]


@dataclass
class Collector:
    """The server."""

    port: int = field(default_factory=ports.free_one)
    #: What it says to each batch.
    status: int = 200
    #: While it is cleared it listens, reads, and says nothing.
    awake: asyncio.Event = field(default_factory=asyncio.Event)
    spans: list[Seen] = field(default_factory=list)
    #: Each batch, unpacked, and the headers that came with it.
    bodies: list[bytes] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """What ``OTEL_EXPORTER_OTLP_ENDPOINT`` is set to."""
        return f"http://{ports.LOOPBACK}:{self.port}"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Collector"]:
        """Listen on loopback."""
        self.awake.set()
        async with await asyncio.start_server(self._serve, ports.LOOPBACK, self.port):
            yield self
            self.awake.set()

    def named(self, name: str) -> list[Seen]:
        """The spans of that name, the earliest first."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.began_s)

    async def sees(self, *names: str, within_s: float = 15.0) -> None:
        """Wait until spans of these names are there."""

        def there() -> bool:
            return set(names) <= {span.name for span in self.spans}

        await wait.until(there, timeout_s=within_s, what=f"spans {names}, of which {[s.name for s in self.spans]} came")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.strip().split("\r\n")
                headers = {
                    name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
                }
                body = await reader.readexactly(int(headers["content-length"]))
                await self.awake.wait()
                self._keep(first.split()[1], headers, body)
                writer.write(f"HTTP/1.1 {self.status} Said\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the sender is gone
        finally:
            writer.close()

    def _keep(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        plain = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        self.paths.append(path)
        self.headers.append(headers)
        self.bodies.append(plain)
        if self.status == 200:
            self.spans += _read(plain)


def _read(body: bytes) -> Iterator[Seen]:
    request = ExportTraceServiceRequest.FromString(body)
    for batch in request.resource_spans:
        resource = _values(batch.resource.attributes)
        for scope in batch.scope_spans:
            for span in scope.spans:
                yield Seen(
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    about=_values(span.attributes),
                    links=tuple(link.trace_id.hex() for link in span.links),
                    failed=span.status.code == Status.STATUS_CODE_ERROR,
                    events=len(span.events),
                    began_s=span.start_time_unix_nano / 1e9,
                    ended_s=span.end_time_unix_nano / 1e9,
                    resource=resource,
                )


def _values(pairs: "Iterator[KeyValue]") -> dict[str, Value]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Value:
    found: Value = getattr(value, value.WhichOneof("value") or "string_value")
    return found
