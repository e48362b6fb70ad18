"""Spans: whose trace they are in, what they may say, and what becomes of them when nobody takes them."""

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry, Counter

from gateway import errors
from gateway.telemetry import trace_export, tracing
from gateway.telemetry.trace_export import Exported
from gateway.telemetry.tracing import Collector, Kind, Traces
from tests.support import wait

NOWHERE = Collector("http://127.0.0.1:9/v1/traces")
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = f"00-{TRACE}-{SPAN}-01"


def counter() -> Counter:
    """A counter of dropped spans."""
    return Counter("dropped", "Spans.", ("reason",), registry=CollectorRegistry())


def dropped(counted: Counter, reason: str) -> float:
    """How many were dropped for that reason."""
    value: float = counted.labels(reason)._value.get()  # noqa: SLF001  the library has no other way to read one
    return value


class Recorded:
    """Tracing into memory."""

    def __init__(self, collector: Collector = NOWHERE) -> None:
        self.memory = InMemorySpanExporter()
        self.dropped = counter()
        self.traces: Traces = Exported(collector, self.memory, self.dropped)

    async def spans(self) -> list[ReadableSpan]:
        """All spans in the order of their ends; nothing is recorded after that."""
        await self.traces.close()
        return list(self.memory.get_finished_spans())


def headers(*values: str) -> list[tuple[bytes, bytes]]:
    """A request's headers with these ``traceparent``."""
    return [(b"host", b"torii"), *((b"traceparent", value.encode("latin-1")) for value in values)]


class Hanging(SpanExporter):
    """An exporter whose collector never answers."""

    def __init__(self) -> None:
        self.busy = threading.Event()
        self.free = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Hang."""
        del spans
        self.busy.set()
        self.free.wait(30)
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Nothing to end."""


class Stumbling(SpanExporter):
    """An exporter that breaks."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Break."""
        raise RuntimeError(str(len(spans)))


async def test_a_request_is_in_its_callers_trace() -> None:
    """The request's span is a child of the caller's, and the job's parent is the request's span."""
    recorded = Recorded()
    with recorded.traces.request("POST", headers(CALLER)) as span:
        kept = recorded.traces.parent()
        assert span.trace_id == TRACE
        span.rename("POST /api/v1/models/{apiId:str}/run")
    (seen,) = await recorded.spans()
    assert seen.name == "POST /api/v1/models/{apiId:str}/run"
    assert seen.kind is SpanKind.SERVER
    assert seen.parent is not None
    assert (f"{seen.parent.trace_id:032x}", f"{seen.parent.span_id:016x}") == (TRACE, SPAN)
    assert kept == f"00-{TRACE}-{seen.context.span_id:016x}-01"


BAD = [
    (),
    ("",),
    ("garbage",),
    (f"00-{TRACE.upper()}-{SPAN}-01",),
    (f"00-{'0' * 32}-{SPAN}-01",),
    (f"00-{TRACE}-{'0' * 16}-01",),
    (f"ff-{TRACE}-{SPAN}-01",),
    (f"{CALLER}-more",),
    (f"00-{TRACE[1:]}-{SPAN}-01",),
    (CALLER, CALLER),
    (f"01-{TRACE}-{SPAN}-01-{'x' * 300}",),
    (f"00-{TRACE}-{SPAN}-01\xff",),
]


@pytest.mark.parametrize("values", BAD, ids=range(len(BAD)))
async def test_a_traceparent_that_is_not_one_begins_a_trace_of_our_own(values: tuple[str, ...]) -> None:
    """What is malformed, too long or said twice is ignored, as W3C asks."""
    recorded = Recorded()
    with recorded.traces.request("GET", headers(*values)) as span:
        assert span.trace_id not in (None, TRACE, "0" * 32)
    (seen,) = await recorded.spans()
    assert seen.parent is None


async def test_a_later_version_of_the_header_is_read_as_far_as_it_is_known() -> None:
    """A ``traceparent`` of a version to come names its trace like one of today (W3C)."""
    recorded = Recorded()
    with recorded.traces.request("GET", headers(f"01-{TRACE}-{SPAN}-01-more")) as span:
        assert span.trace_id == TRACE
    assert len(await recorded.spans()) == 1


async def test_steps_and_what_is_inside_them_make_one_tree() -> None:
    """A step is under the parent that the row keeps, a call under the step, and what is over keeps its own times."""
    recorded, began = Recorded(), datetime(2026, 1, 1, tzinfo=UTC)
    traces = recorded.traces
    with traces.request("POST", headers()):
        kept = traces.parent()
    traces.over(kept, "queue", began, began + timedelta(seconds=3))
    with traces.step(kept, "submit", {"torii.attempt": 1, "torii.nothing": None}) as step:
        with traces.inner(Kind.CALL, "POST submit"):
            traces.note("torii.within", True)
        with traces.inner(Kind.MESSAGE, "nudge poll"):
            pass
        traces.note("torii.answer", "accepted")
        step.note("torii.nothing", None)
    request, queue, call, nudge, submit = await recorded.spans()
    assert len({span.context.trace_id for span in (request, queue, call, nudge, submit)}) == 1
    assert {span.parent.span_id for span in (queue, submit) if span.parent} == {request.context.span_id}
    assert {span.parent.span_id for span in (call, nudge) if span.parent} == {submit.context.span_id}
    assert (call.kind, nudge.kind, submit.kind) == (SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.INTERNAL)
    assert dict(submit.attributes or {}) == {"torii.attempt": 1, "torii.answer": "accepted"}
    assert dict(call.attributes or {}) == {"torii.within": True}
    assert (queue.end_time or 0) - (queue.start_time or 0) == 3_000_000_000


@pytest.mark.parametrize("kept", [None, "", "garbage", CALLER + "x", CALLER.replace("00-", "01-", 1)])
async def test_nobody_asked_nobody_is_told(kept: str | None) -> None:
    """A step of a job without a trace, and a call outside of any span, make no trace of their own."""
    recorded = Recorded()
    with recorded.traces.step(kept, "poll") as step, recorded.traces.inner(Kind.CALL, "GET poll") as call:
        assert (step.trace_id, call.trace_id) == (None, None)
        assert recorded.traces.parent() is None
        recorded.traces.note("torii.answer", "lost")
        recorded.traces.link(CALLER)
    recorded.traces.over(kept, "queue", datetime.now(UTC), datetime.now(UTC))
    assert await recorded.spans() == []


async def test_a_callers_choice_not_to_be_kept_is_heeded() -> None:
    """With the caller's flag down nothing is recorded, the row says so too, and the log still has the trace's id."""
    recorded = Recorded()
    with recorded.traces.request("POST", headers(f"00-{TRACE}-{SPAN}-00")):
        kept = recorded.traces.parent()
        assert structlog.contextvars.get_contextvars()["trace_id"] == TRACE
    assert kept is not None
    assert kept.startswith(f"00-{TRACE}-")
    assert kept.endswith("-00")
    with recorded.traces.step(kept, "submit"), recorded.traces.inner(Kind.CALL, "POST submit"):
        pass
    assert await recorded.spans() == []


SAMPLERS = [
    ("parentbased_always_on", 1.0, "01", True),
    ("parentbased_always_on", 1.0, "00", False),
    ("parentbased_always_off", 1.0, "01", True),
    ("parentbased_always_off", 1.0, None, False),
    ("parentbased_traceidratio", 0.0, "01", True),
    ("parentbased_traceidratio", 0.0, None, False),
    ("traceidratio", 0.0, "01", False),
    ("traceidratio", 1.0, "00", True),
    ("always_on", 1.0, "00", True),
    ("always_off", 1.0, "01", False),
]


@pytest.mark.parametrize(("sampler", "ratio", "flag", "kept"), SAMPLERS)
async def test_samplers_are_opentelemetrys(sampler: str, ratio: float, flag: str | None, kept: bool) -> None:
    """Each sampler's name means what it means elsewhere; without ``parentbased`` the caller's flag is not heeded."""
    recorded = Recorded(Collector(NOWHERE.url, sampler=sampler, ratio=ratio))
    with recorded.traces.request("GET", headers(*([] if flag is None else [f"00-{TRACE}-{SPAN}-{flag}"]))):
        parent = recorded.traces.parent()
    with recorded.traces.step(parent, "submit"):
        pass
    assert len(await recorded.spans()) == (2 if kept else 0)


async def fails(traces: Traces) -> None:
    """A step that raises an error whose words are secret."""
    with traces.step(CALLER, "submit"):
        raise errors.StoreUnavailable("postgresql://torii:hunter2@db")


async def test_an_error_is_named_and_not_quoted() -> None:
    """A step that raises is marked as failed by the error's class; its message is nowhere in the span."""
    recorded = Recorded()
    with pytest.raises(errors.StoreUnavailable):
        await fails(recorded.traces)
    (seen,) = await recorded.spans()
    assert seen.status.status_code is StatusCode.ERROR
    assert seen.events == ()
    assert dict(seen.attributes or {}) == {"error.type": "StoreUnavailable"}
    assert "hunter2" not in seen.to_json()


async def test_a_link_points_at_another_trace_and_at_no_other() -> None:
    """A span may point at a span of another trace; at one of its own, or at none, it does not."""
    recorded = Recorded()
    with recorded.traces.request("POST", headers()):
        for parent in (CALLER, recorded.traces.parent(), None, "garbage"):
            recorded.traces.link(parent)
    (seen,) = await recorded.spans()
    assert [f"{link.context.trace_id:032x}" for link in seen.links] == [TRACE]


async def test_the_logs_of_a_span_carry_its_trace() -> None:
    """Inside a request or a step each log entry has ``trace_id``; afterwards none has."""
    recorded = Recorded()
    structlog.contextvars.clear_contextvars()
    for span in (recorded.traces.request("GET", headers(CALLER)), recorded.traces.step(CALLER, "poll")):
        with span:
            assert structlog.contextvars.get_contextvars() == {"trace_id": TRACE}
        assert structlog.contextvars.get_contextvars() == {}
    await recorded.spans()


async def test_side_by_side_tasks_keep_their_own_spans() -> None:
    """Steps that run at once in one loop are each the parent of their own calls."""
    recorded = Recorded()

    async def step(number: int) -> None:
        with recorded.traces.step(CALLER, f"step {number}"):
            await asyncio.sleep(0)
            with recorded.traces.inner(Kind.CALL, f"call {number}"):
                await asyncio.sleep(0)

    await asyncio.gather(*(step(number) for number in range(20)))
    spans = {span.name: span for span in await recorded.spans()}
    for number in range(20):
        parent = spans[f"call {number}"].parent
        assert parent is not None
        assert parent.span_id == spans[f"step {number}"].context.span_id


@contextmanager
def hanging() -> Iterator[tuple[Exported, Hanging, Counter]]:
    """Tracing to a collector that never answers, with a batch on its way."""
    exporter, counted = Hanging(), counter()
    traces = Exported(NOWHERE, exporter, counted)
    try:
        with traces.step(CALLER, "first"):
            pass
        assert exporter.busy.wait(10)
        yield traces, exporter, counted
    finally:
        exporter.free.set()


async def test_a_collector_that_hangs_costs_spans_and_no_time() -> None:
    """While a batch hangs, further spans wait up to a bound, the rest is dropped and counted, and nobody waits."""
    with hanging() as (traces, _, counted):
        begun_s = time.perf_counter()
        for _ in range(trace_export.WAITING_MAX + 99):
            with traces.step(CALLER, "more"):
                pass
        took_s = time.perf_counter() - begun_s
        # One waits already, in the batch that hangs.
        assert dropped(counted, trace_export.QUEUE_FULL) == 100
        assert took_s < 5
        await traces.close()


async def test_the_end_does_not_wait_for_a_collector_that_hangs() -> None:
    """Closing gives the last batch its few seconds and no more."""
    with hanging() as (traces, _, _):
        begun_s = time.perf_counter()
        await traces.close()
        assert time.perf_counter() - begun_s < trace_export.FLUSH_WITHIN_S + 1


async def test_the_end_sends_what_still_waits() -> None:
    """Closing sends the spans of the last moment, and closing is quick where the collector is."""
    recorded = Recorded()
    for _ in range(600):
        with recorded.traces.step(CALLER, "last"):
            pass
    begun_s = time.perf_counter()
    assert len(await recorded.spans()) == 600
    assert time.perf_counter() - begun_s < trace_export.FLUSH_WITHIN_S
    assert dropped(recorded.dropped, trace_export.EXPORT_FAILED) == 0


@pytest.mark.parametrize("broken", [Stumbling, lambda: None], ids=["stumbling", "nobody listens"])
async def test_spans_that_could_not_be_sent_are_counted(
    broken: Callable[[], SpanExporter | None], caplog: pytest.LogCaptureFixture
) -> None:
    """A batch that the exporter loses, by an error or because nobody listens, is counted span by span."""
    counted, exporter = counter(), broken()
    caplog.set_level(logging.INFO)
    if exporter is None:
        traces: Traces = trace_export.open(NOWHERE, counted)
    else:
        traces = Exported(NOWHERE, exporter, counted)
    for _ in range(3):
        with traces.step(CALLER, "lost"):
            pass
    await traces.close()

    def all_counted() -> bool:
        return dropped(counted, trace_export.EXPORT_FAILED) == 3

    await wait.until(all_counted, timeout_s=10, what="each lost span is counted")
    # The library complains about each try; one line a minute is enough.
    assert len([entry for entry in caplog.records if entry.name.startswith("opentelemetry")]) <= 1


async def test_a_certificate_that_is_not_there_is_named() -> None:
    """A file of authorities that cannot be read stops the start with its variable's name."""
    with pytest.raises(errors.SettingError, match="OTEL_EXPORTER_OTLP_CERTIFICATE"):
        tracing.open(Collector("https://127.0.0.1:9/v1/traces", certificate=Path("/nowhere")), counter())


def test_without_a_collector_nothing_of_the_library_is_loaded() -> None:
    """Both doors are imported without OpenTelemetry, and tracing that is off does not load it."""
    program = (
        "import sys, service.server, workers.process\n"
        "from gateway.telemetry import tracing\n"
        "assert tracing.open(None, None) is tracing.OFF\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'requests', 'google'))])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_tracing_that_is_off_costs_next_to_nothing() -> None:
    """A request's worth of calls takes less than 20 µs when nobody listens: a cache hit takes about a millisecond."""
    calls, traces = 10_000, tracing.OFF

    def once() -> float:
        begun_s = time.perf_counter()
        for _ in range(calls):
            with traces.request("GET", ()) as span:
                traces.parent()
                traces.note("torii.job.id", "job")
                span.rename("GET /")
        return (time.perf_counter() - begun_s) / calls

    assert min(once() for _ in range(5)) < 20e-6
