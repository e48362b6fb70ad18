"""Several service processes on one port: what they count together, who replaces a dead one, how they end."""

import asyncio
import os
import re
import signal
import sys
import time
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.storage import database, schema
from tests.api.door import environment
from tests.support import ports, wait
from tests.support.process import Process, StartProcess

LIVE = "/health/live"
READY = re.compile(r'"pid": ?(\d+)[^\n]*"event": ?"process_ready"|"event": ?"process_ready"[^\n]*?"pid": ?(\d+)')


@pytest.fixture
async def environ(sqlite_url: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    """Give what the service needs to be told, with a database that is migrated."""
    opened = database.open(sqlite_url)
    await schema.migrate(opened)
    await opened.close()
    return environment(sqlite_url, redis_url, str(tmp_path / "archive"), ports.free_one())


def crew(start_process: StartProcess, environ: dict[str, str], processes: int = 2) -> Process:
    """Start that many processes on one port and wait until each is ready."""
    command = [sys.executable, "-m", "cli", "serve", "--workers", str(processes)]
    started = start_process(command, environ, name="serve")
    wait.until_sync(lambda: len(ready(started)) == processes, timeout_s=60, what="each process is ready")
    return started


def ready(process: Process) -> list[int]:
    """The ids of the processes that said that they are ready, in that order."""
    return [int(first or second) for first, second in READY.findall(process.output())]


def address(environ: dict[str, str]) -> str:
    """Where it serves."""
    return f"http://{ports.LOOPBACK}:{environ['TORII_PORT']}"


async def ask(environ: dict[str, str], times: int) -> None:
    """Ask that often, each time on a connection of its own."""

    async def once() -> None:
        async with httpx.AsyncClient(base_url=address(environ), trust_env=False, timeout=30) as client:
            assert (await client.get(LIVE)).status_code == 200

    for _ in range(times // 10):
        await asyncio.gather(*(once() for _ in range(10)))


async def counted(environ: dict[str, str]) -> float:
    """How many requests all processes have answered, as one of them tells."""
    async with httpx.AsyncClient(base_url=address(environ), trust_env=False, timeout=30) as client:
        page = (await client.get("/metrics")).text
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    name = "torii_http_request_duration_seconds_count"
    return sum(each.value for each in samples if each.name == name and each.labels["route"] == LIVE)


async def test_every_process_tells_the_sum_of_all(start_process: StartProcess, environ: dict[str, str]) -> None:
    """Whichever process answers, `/metrics` tells what both have counted, exactly; gauges are not added up."""
    process = crew(start_process, environ)
    await ask(environ, 200)
    assert [await counted(environ) for _ in range(12)] == [200.0] * 12
    async with httpx.AsyncClient(base_url=address(environ), trust_env=False) as client:
        page = (await client.get("/metrics")).text
    info = [line for line in page.splitlines() if line.startswith("torii_build_info{")]
    assert len(info) == 1
    assert info[0].endswith(" 1.0")
    process.kill()


async def test_both_processes_take_part(start_process: StartProcess, environ: dict[str, str]) -> None:
    """Connections are shared out: with either process frozen, some of many callers are answered, and some are not."""
    process = crew(start_process, environ)

    async def answered() -> bool:
        try:
            async with httpx.AsyncClient(base_url=address(environ), trust_env=False, timeout=2) as client:
                return (await client.get(LIVE)).status_code == 200
        except httpx.TimeoutException:
            return False

    process_ids = ready(process)
    _signal(process_ids[0], signal.SIGSTOP)
    seen = set(await asyncio.gather(*(answered() for _ in range(40))))
    _signal(process_ids[0], signal.SIGCONT)
    assert seen == {True, False}
    process.kill()


async def test_a_dead_process_is_replaced_and_its_counts_stay(
    start_process: StartProcess, environ: dict[str, str]
) -> None:
    """A killed process is started again, callers meanwhile are answered, and no count is lost or made twice."""
    process = crew(start_process, environ)
    await ask(environ, 100)
    _signal(ready(process)[0], signal.SIGKILL)
    await wait.until(lambda: "process_died" in process.output(), timeout_s=10, what="the death is noticed")
    await ask(environ, 20)
    await wait.until(lambda: len(ready(process)) == 3, timeout_s=60, what="another took its place")
    await ask(environ, 100)
    assert [await counted(environ) for _ in range(12)] == [220.0] * 12
    process.kill()


async def test_they_give_notice_and_end_together(start_process: StartProcess, environ: dict[str, str]) -> None:
    """After SIGTERM no process is ready, each serves on for 5 s, all end by themselves, and the status is 0."""
    process = crew(start_process, environ)
    began = time.monotonic()
    process.signal(signal.SIGTERM)
    await wait.until(lambda: process.output().count('"draining"') == 2, timeout_s=4, what="both drain")
    async with httpx.AsyncClient(base_url=address(environ), trust_env=False) as client:
        assert (await client.get("/health/ready")).status_code == 503
        assert (await client.get(LIVE)).status_code == 200
    assert process.wait_end(30) == 0
    assert 5 <= time.monotonic() - began < 30
    assert "Traceback" not in process.output()
    assert "process_died" not in process.output()


async def test_nobody_outlives_its_keeper(start_process: StartProcess, environ: dict[str, str]) -> None:
    """When the process that keeps the others is killed, they end in order, and the port is free."""
    process = crew(start_process, environ)
    process.kill()
    await wait.until(
        lambda: not ports.answers(int(environ["TORII_PORT"])), timeout_s=30, what="nobody listens any more"
    )


async def test_a_port_that_is_taken_is_one_line(start_process: StartProcess, environ: dict[str, str]) -> None:
    """Beside a crew nobody else can listen on its port, neither one process nor another crew; it serves on."""
    process = crew(start_process, environ)
    for more in ([], ["--workers", "2"]):
        second = start_process([sys.executable, "-m", "cli", "serve", *more], environ, name="second")
        assert second.wait_end(30) == 2
        assert "TORII_PORT: cannot listen on 127.0.0.1 port" in second.output()
        assert second.output().count("\n") == 1
    await ask(environ, 10)
    process.kill()


def _signal(pid: int, number: signal.Signals) -> None:
    os.kill(pid, number)
