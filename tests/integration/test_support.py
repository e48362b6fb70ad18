"""What tests lean on keeps its word: processes see and leave nothing they should not, waits end, outside calls fail."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from tests.support import ports, report, wait
from tests.support.loopback import LoopbackGuard, OutsideCallError, is_loopback
from tests.support.process import Process, StartProcess

PRINT_ENVIRONMENT = "import os; print(sorted(os.environ))"
SERVE = (
    "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=int(__import__('sys').argv[1]), bind='127.0.0.1')"
)
PARENT = "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and was not waited for does not."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_process_sees_only_what_it_is_passed(start_process: StartProcess) -> None:
    """A process has PATH, HOME, LANG and what the test passed, and nothing of the person who runs it."""
    process = start_process([sys.executable, "-c", PRINT_ENVIRONMENT], {"TORII_PORT": "1"})
    assert process.wait_end() == 0
    allowed = {"PATH", "HOME", "LANG", "LC_CTYPE", "TORII_PORT"}  # Python sets LC_CTYPE for itself
    assert set(process.output().strip("[]\n").replace("'", "").split(", ")) <= allowed
    assert "TORII_PORT" in process.output()


def test_a_paid_key_needs_a_loopback_upstream(tmp_path: Path) -> None:
    """A process is given an upstream key only together with an upstream on loopback."""
    key = {"PIXELDOJO_API_KEY": "made-up"}
    with pytest.raises(ValueError, match="loopback"):
        Process(["true"], folder=tmp_path, environment=key)
    with pytest.raises(ValueError, match="loopback"):
        Process(["true"], folder=tmp_path, environment={**key, "PIXELDOJO_API_BASE": "https://pixeldojo.ai/api/v1"})
    Process(["true"], folder=tmp_path, environment={**key, "PIXELDOJO_API_BASE": "http://127.0.0.1:1/api/v1"})


def test_readiness_is_seen_by_url_port_and_line(start_process: StartProcess) -> None:
    """A process is ready when its URL answers, its port accepts, or its line is written."""
    port = ports.free_one()
    process = start_process([sys.executable, "-u", "-c", SERVE, str(port)])
    process.wait_ready(port).wait_ready(f"http://127.0.0.1:{port}/").wait_ready("Serving HTTP")


def test_a_process_that_ends_early_is_not_waited_for(start_process: StartProcess) -> None:
    """Waiting for readiness stops with the process's own words when it ends first."""
    process = start_process([sys.executable, "-c", "raise SystemExit('no such setting')"])
    with pytest.raises(AssertionError, match="no such setting"):
        process.wait_ready("never written", timeout_s=30)


def test_a_killed_process_leaves_nothing_after_its_end(tmp_path: Path) -> None:
    """SIGKILL leaves a process's children, as a crash does; the end of the test takes them too."""
    with Process([sys.executable, "-c", PARENT], folder=tmp_path) as process:
        process.wait_ready("\n")
        child = int(process.output())
        process.kill()
        assert process.status == -9
        assert alive(child)
    wait.until_sync(lambda: not alive(child), timeout_s=5, what="the child's end")


async def test_waiting_returns_what_it_waited_for() -> None:
    """A wait returns the first true value, of a plain or an async condition."""
    seen = iter([0, 0, 7])

    async def look() -> int:
        return next(seen)

    assert await wait.until(look, timeout_s=5, what="seven") == 7
    assert wait.until_sync(lambda: 7, timeout_s=5, what="seven") == 7


async def test_waiting_is_bounded() -> None:
    """A wait ends at its bound and says what it waited for, even while its condition hangs."""
    with pytest.raises(wait.NotInTimeError, match="the moon"):
        await wait.until(lambda: False, timeout_s=0.05, what="the moon")
    with pytest.raises(wait.NotInTimeError, match="the moon"):
        await wait.until(asyncio.Event().wait, timeout_s=0.05, what="the moon")
    with pytest.raises(wait.NotInTimeError, match="the moon"):
        wait.until_sync(lambda: False, timeout_s=0.05, what="the moon")


@pytest.mark.parametrize("host", ["192.0.2.1", "203.0.113.9"])
async def test_outside_calls_fail_with_advice(loopback_guard: LoopbackGuard, host: str) -> None:
    """A connection to another host fails the test and says what to use instead, whoever makes it."""
    with pytest.raises(OutsideCallError, match="emulator"), socket.socket() as plain:
        plain.connect((host, 80))
    with pytest.raises(OutsideCallError, match="emulator"):
        await asyncio.open_connection(host, 80)
    assert loopback_guard.take() == [f"connection to {host}"] * 2


def test_outside_names_are_not_looked_up(loopback_guard: LoopbackGuard) -> None:
    """Not even a name look-up leaves the machine."""
    with pytest.raises(OutsideCallError, match="loopback only"):
        socket.getaddrinfo("pixeldojo.ai", 443)
    assert loopback_guard.take() == ["name look-up of pixeldojo.ai"]
    assert socket.getaddrinfo("localhost", 80)


def test_loopback_is_told_from_the_rest() -> None:
    """Loopback is known by name, by address, and when mapped into IPv6."""
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "0.0.0.0")))  # noqa: S104
    assert not any(
        map(is_loopback, ("10.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0", "localhost.example", "pixeldojo.ai"))
    )


def test_no_setting_of_the_person_reaches_a_test() -> None:
    """The environment of the test run holds no setting of Torii, key of the upstream or credential of a store."""
    assert [name for name in os.environ if name.startswith(("PIXELDOJO_", "TORII_", "AWS_"))] == []


def test_the_report_names_every_server() -> None:
    """The end of a run tells servers that ran, that could not, and that nobody asked for."""
    account = report.Report(report.required(" postgres, s3,"), ran={"valkey": "9.1"}, missing={"s3": "radosgw missing"})
    assert account.required == {"postgres", "s3"}
    ran, could_not, idle = account.lines(("valkey", "s3", "postgres"))
    assert "RAN" in ran
    assert "9.1" in ran
    assert "COULD NOT" in could_not
    assert "radosgw missing" in could_not
    assert "not asked for" in idle
