"""Traces over real processes: one order through a service and a worker, and collectors that are no use."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from gateway.jobs.states import State
from gateway.storage import tables
from tests.support import hooked, ports, wait
from tests.support import rig as rigs
from tests.support.collector import Collector
from tests.support.emulator import EmulatorProcess
from tests.support.process import Process, StartProcess
from tests.support.receiver import Receiver
from tests.support.rig import Rig

TRACE, CALLERS_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PROMPT = "a wish that no collector should read"
WITHIN_S = 30

Doors = Callable[..., tuple[Process, Process, str]]


@pytest.fixture
def environ(emulator: EmulatorProcess, postgres_url: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    """Give the settings of the gateway under test; what is traced does not depend on the database."""
    settings = rigs.environment(emulator, postgres_url, redis_url, tmp_path)
    return {**settings, "TORII_WEBHOOK_ALLOW_NETS": hooked.LOOPBACK, "TORII_PORT": str(ports.free_one())}


@pytest.fixture
def open_doors(start_process: StartProcess, environ: dict[str, str], rig: Rig) -> Doors:
    """Start a service and a worker as real processes, once the rig has made the database."""
    assert rig.house.traces.parent() is None

    def start(**more: str) -> tuple[Process, Process, str]:
        url = f"http://{ports.LOOPBACK}:{environ['TORII_PORT']}"
        told = {**environ, **more}
        service = start_process([sys.executable, "-m", "service"], told, name="service")
        worker = start_process([sys.executable, "-m", "workers"], told, name="worker")
        return service.wait_ready(f"{url}/health/ready"), worker.wait_ready("worker_ready"), url

    return start


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Give a receiver that answers 204."""
    async with Receiver().listening() as opened:
        yield opened


async def order(rig: Rig, url: str, receiver: Receiver, **headers: str) -> str:
    """Order over HTTP; the job's id."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
        answer = await client.post(
            f"/api/v1/models/{rigs.MODEL}/run",
            json={"prompt": PROMPT, "webhook_url": receiver.url()},
            headers={"Authorization": f"Bearer {rig.key_text}", "X-Request-ID": "ours-1", **headers},
        )
    assert answer.status_code == 202, answer.text
    assert answer.headers["x-request-id"] == "ours-1"
    assert "traceparent" not in answer.headers
    job_id: str = answer.json()["jobId"]
    return job_id


def logged(process: Process, event: str) -> list[dict[str, Any]]:
    """The process's log entries of that event."""
    lines = (json.loads(line) for line in process.output().splitlines() if line.startswith("{"))
    return [line for line in lines if line.get("event") == event]


async def test_one_trace_over_two_processes(
    rig: Rig, emulator: EmulatorProcess, open_doors: Doors, receiver: Receiver
) -> None:
    """An order over HTTP and its steps in a worker are one trace under the caller's span, without its secrets."""
    emulator.switch(time_scale=0.01)
    async with Collector().listening() as collector:
        service, worker, url = open_doors(
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_EXPORTER_OTLP_HEADERS="x-collector-key=planted-key-of-the-collector",
            OTEL_SERVICE_NAME="torii-of-the-tests",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment=tests",
        )
        job_id = await order(rig, url, receiver, traceparent=f"00-{TRACE}-{CALLERS_SPAN}-01")
        assert await rig.ended(job_id) == [State.COMPLETED]
        route = "POST /api/v1/models/{apiId}/run"
        await collector.sees(route, "queue", "submit", "POST submit", "poll", "GET poll", "archive", "webhook")
        # Twice the same order: under its own name it is the same job, and points at the first one's trace.
        for _ in range(2):
            again = await order(rig, url, receiver, **{"Idempotency-Key": "twice"})
        await rig.ended(again)
        await wait.until(lambda: len(collector.named(route)) == 3, timeout_s=15, what="all requests are there")

    spans = [span for span in collector.spans if span.trace_id == TRACE]
    (request,) = (span for span in spans if span.name == route)
    assert (request.kind, request.parent_id) == ("SERVER", CALLERS_SPAN)
    assert request.about["http.response.status_code"] == 202
    assert request.about["torii.request.id"] == "ours-1"
    assert request.about["torii.job.id"] == job_id
    by_id = {span.span_id: span for span in spans}
    steps = [span for span in spans if span.name in {"queue", "submit", "poll", "archive", "webhook"}]
    assert {span.parent_id for span in steps} == {request.span_id}
    assert all(span.parent_id in by_id for span in spans if span is not request)
    assert {span.about["torii.job.id"] for span in steps} == {job_id}
    assert {span.resource["service.name"] for span in spans} == {"torii-of-the-tests"}
    assert {span.resource["deployment.environment"] for span in spans} == {"tests"}
    assert len({span.resource["service.instance.id"] for span in spans}) == 2
    assert {span.resource["process.pid"] for span in steps} == {worker.pid}
    assert request.resource["process.pid"] == service.pid

    first, second = collector.named(route)[1:]
    assert first.trace_id != second.trace_id
    assert (first.links, second.links) == ((), (first.trace_id,))

    sent = b"".join(collector.bodies)
    for secret in (PROMPT, rig.key_text, "planted-key-of-the-collector", "/health/ready"):
        assert secret.encode() not in sent
    assert {headers["x-collector-key"] for headers in collector.headers} == {"planted-key-of-the-collector"}
    assert TRACE in {line.get("trace_id") for line in logged(service, "request")}
    assert {line.get("trace_id") for line in logged(worker, "answer_booked") if line["job_id"] == job_id} == {TRACE}
    assert "planted-key-of-the-collector" not in service.output() + worker.output()


async def test_without_a_collector_nothing_is_kept(
    rig: Rig, emulator: EmulatorProcess, open_doors: Doors, receiver: Receiver
) -> None:
    """With tracing off a caller's ``traceparent`` is neither kept in the row nor put in the log."""
    emulator.switch(time_scale=0.01)
    service, worker, url = open_doors()
    job_id = await order(rig, url, receiver, traceparent=f"00-{TRACE}-{CALLERS_SPAN}-01")
    assert await rig.ended(job_id) == [State.COMPLETED]
    async with rig.house.database.read() as connection:
        kept = (await connection.execute(sa.select(tables.jobs.c.trace_parent))).scalars().all()
    assert kept == [None]
    assert TRACE not in service.output() + worker.output()


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "is away"])
async def test_a_collector_that_is_no_use(
    rig: Rig, emulator: EmulatorProcess, open_doors: Doors, receiver: Receiver, hangs: bool
) -> None:
    """With a collector that hangs, or is away, jobs take their usual time, and both doors end within their 30 s."""
    emulator.switch(time_scale=0.01)
    async with Collector().listening() as collector:
        collector.awake.clear()
        away = f"http://{ports.LOOPBACK}:{ports.free_one()}"
        service, worker, url = open_doors(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url if hangs else away)
        ids = [await order(rig, url, receiver) for _ in range(5)]
        assert set(await rig.ended(*ids)) == {State.COMPLETED}
        await wait.until(lambda: len(receiver.messages) == 5, timeout_s=20, what="all webhooks came")

        async def ends(process: Process) -> float:
            began_s = time.monotonic()
            assert await asyncio.to_thread(process.terminate, WITHIN_S) in (0, -signal.SIGTERM)
            return time.monotonic() - began_s

        # Their last spans have two seconds, and the service gives five seconds' notice; a batch alone would have five,
        # and the library's own end thirty.
        assert await ends(worker) < 20
        assert await ends(service) < 25
    assert collector.spans == []
    output = service.output() + worker.output()
    assert output.count("Traceback") == 0
    # One line about the collector from each at most, and one at the end.
    assert output.count("opentelemetry") <= 2


async def test_a_wrong_setting_stops_the_start(start_process: StartProcess, environ: dict[str, str]) -> None:
    """A variable of OpenTelemetry's that cannot be meant ends both doors with one line that names it."""
    wrong = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318",
        "OTEL_EXPORTER_OTLP_HEADERS": "planted-secret",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }
    # All at once: most of what each does is to start.
    started = [
        (name, start_process([sys.executable, "-m", door], {**environ, name: text}, name=f"{door}-{name}"))
        for name, text in wrong.items()
        for door in ("service", "workers")
    ]
    for name, process in started:
        assert await asyncio.to_thread(process.wait_end, 60) == 2
        assert process.output().count("\n") == 1, process.output()
        assert process.output().startswith(name)
        assert "planted-secret" not in process.output()
