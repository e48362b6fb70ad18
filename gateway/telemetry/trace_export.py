"""Sending spans to a collector over OTLP/HTTP, from a thread of its own. Never in anybody's way.

What waits is bounded, a batch has a few seconds, and at the end of the process so has all that is left. A collector
that is away, slow or silent costs spans, each of which is counted, and nothing else.
"""

import asyncio
import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Sequence
from importlib import metadata
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import Counter

from gateway import errors
from gateway.telemetry.spans import Recorder
from gateway.telemetry.tracing import Collector

#: Spans that may wait, those on their way included: some megabytes.
WAITING_MAX: Final = 2048
_BATCH_MAX: Final = 512
_SEND_EVERY_MS: Final = 1000
#: A batch is given up after this long, all its tries together.
BATCH_WITHIN_S: Final = 5.0
#: The process ends after this long, whatever still waits: SIGTERM leaves 30 s to everybody together.
FLUSH_WITHIN_S: Final = 2.0
_SAY_EVERY_S: Final = 60.0
_ATTRIBUTES_MAX: Final = 64
_ATTRIBUTE_CHARACTERS_MAX: Final = 256

QUEUE_FULL: Final = "queue_full"
EXPORT_FAILED: Final = "export_failed"

_SDK_LOG: Final = "opentelemetry"

log = structlog.get_logger(__name__)


def open(collector: Collector, dropped: Counter) -> "Exported":
    """Tracing to that collector. Raises ``SettingError`` when its certificate cannot be read."""
    if collector.certificate is not None and not os.access(collector.certificate, os.R_OK):
        name = "OTEL_EXPORTER_OTLP_CERTIFICATE"
        raise errors.SettingError(f"{name}: the file {collector.certificate} cannot be read", param=name)
    exporter = OTLPSpanExporter(
        endpoint=collector.url,
        certificate_file=None if collector.certificate is None else str(collector.certificate),
        headers=dict(collector.headers),
        timeout=BATCH_WITHIN_S,
        compression=Compression.Gzip,
    )
    return Exported(collector, exporter, dropped)


class Exported(Recorder):
    """Tracing whose spans an exporter takes, in batches."""

    def __init__(self, collector: Collector, exporter: SpanExporter, dropped: Counter) -> None:
        for reason in (QUEUE_FULL, EXPORT_FAILED):
            # There from the start on, so that the first is seen as a rise.
            dropped.labels(reason)
        self._outlet = _Outlet(exporter, dropped)
        provider = TracerProvider(
            sampler=_sampler(collector),
            resource=_resource(collector),
            shutdown_on_exit=False,
            span_limits=_limits(),
        )
        provider.add_span_processor(self._outlet)
        super().__init__(provider, collector.version)

    async def close(self) -> None:
        """As in ``Traces``."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def flush() -> None:
            self._outlet.shutdown()
            # The loop may have ended before the collector took notice.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(done.set)

        # Not the loop's own threads: their end is waited for, and this one's must not be.
        threading.Thread(target=flush, name="last spans", daemon=True).start()
        try:
            async with asyncio.timeout(FLUSH_WITHIN_S):
                await done.wait()
        except TimeoutError:
            log.warning("spans_given_up", spans=self._outlet.waiting)
            self._outlet.give_up()


class _Outlet(SpanProcessor):
    """The way of a finished span to the exporter: counted in and out, so that what is lost is known."""

    def __init__(self, exporter: SpanExporter, dropped: Counter) -> None:
        self.waiting = 0
        self._lock = threading.Lock()
        self._dropped = dropped
        self._exporter = exporter
        self._quiet = _Rarely()
        self._quiet.hush()
        self._batches = BatchSpanProcessor(
            _Counted(exporter, self),
            max_queue_size=WAITING_MAX,
            schedule_delay_millis=_SEND_EVERY_MS,
            max_export_batch_size=_BATCH_MAX,
            export_timeout_millis=BATCH_WITHIN_S * 1000,
        )

    def on_end(self, span: ReadableSpan) -> None:
        """Let it wait for its turn, or be dropped: nobody waits for room."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        with self._lock:
            room = self.waiting < WAITING_MAX
            self.waiting += room
        if room:
            self._batches.on_end(span)
        else:
            self._dropped.labels(QUEUE_FULL).inc()

    def gone(self, spans: int, *, taken: bool) -> None:
        """Say that a batch has left the line, and whether the collector has it."""
        with self._lock:
            self.waiting -= spans
        if not taken:
            self._dropped.labels(EXPORT_FAILED).inc(spans)

    def shutdown(self) -> None:
        """Send all that waits; as long as the collector lets it take."""
        self._batches.shutdown()  # type: ignore[no-untyped-call]  # as it comes
        self._quiet.end()

    def give_up(self) -> None:
        """Send nothing more."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send all that waits now."""
        return self._batches.force_flush(timeout_millis)


class _Counted(SpanExporter):
    """The exporter, and what came of each batch."""

    def __init__(self, exporter: SpanExporter, outlet: _Outlet) -> None:
        self._exporter = exporter
        self._outlet = outlet

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send one batch; raises nothing."""
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001  a batch that makes the exporter stumble is a batch that is lost
            log.warning("spans_not_sent", reason=type(error).__name__)
        self._outlet.gone(len(spans), taken=result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        """End the exporter."""
        self._exporter.shutdown()


class _Rarely(logging.Filter):
    """Lets the library's complaints through once a minute: it has one for each batch, and tries again each second."""

    def __init__(self) -> None:
        super().__init__()
        self._said_s = -_SAY_EVERY_S
        self._loggers = [logging.getLogger(name) for name in (f"{_SDK_LOG}.exporter.otlp.proto.http.trace_exporter",)]

    def hush(self) -> None:
        """Begin."""
        for logger in self._loggers:
            logger.addFilter(self)

    def end(self) -> None:
        """Leave the library as it was."""
        for logger in self._loggers:
            logger.removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is time to say something again; that it tries once more is not worth a line."""
        now_s = time.monotonic()
        if record.levelno < logging.ERROR or now_s - self._said_s < _SAY_EVERY_S:
            return False
        self._said_s = now_s
        # An outage of the collector is no error of the gateway's.
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


def _sampler(collector: Collector) -> sampling.Sampler:
    ratio = sampling.TraceIdRatioBased(collector.ratio)
    named: dict[str, sampling.Sampler] = {
        "always_on": sampling.ALWAYS_ON,
        "always_off": sampling.ALWAYS_OFF,
        "traceidratio": ratio,
        "parentbased_always_on": sampling.DEFAULT_ON,
        "parentbased_always_off": sampling.DEFAULT_OFF,
        "parentbased_traceidratio": sampling.ParentBased(ratio),
    }
    return named[collector.sampler]


def _resource(collector: Collector) -> Resource:
    """Who speaks. Not ``Resource.create``, which asks the environment and every plug-in that it finds."""
    return Resource(
        {
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.version": metadata.version("opentelemetry-sdk"),
            "service.version": collector.version,
            "service.instance.id": str(uuid.uuid4()),
            "host.name": socket.gethostname(),
            "process.pid": os.getpid(),
            **dict(collector.resource),
            "service.name": collector.service_name,
        }
    )


def _limits() -> SpanLimits:
    """Every limit by its value, or the library would ask the environment for it."""
    return SpanLimits(
        max_attributes=_ATTRIBUTES_MAX,
        max_events=_ATTRIBUTES_MAX,
        max_links=_ATTRIBUTES_MAX,
        max_span_attributes=_ATTRIBUTES_MAX,
        max_event_attributes=_ATTRIBUTES_MAX,
        max_link_attributes=_ATTRIBUTES_MAX,
        max_attribute_length=_ATTRIBUTE_CHARACTERS_MAX,
        max_span_attribute_length=_ATTRIBUTE_CHARACTERS_MAX,
    )
