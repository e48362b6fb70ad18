"""The stand-in PixelDojo as a process, and the webhooks it sends."""

import http.server
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.support.emulator import ROOT, EmulatorProcess

RUN = "/models/flux-2-max/run"
KEY = {"Authorization": "Bearer pd_any"}


@pytest.fixture(scope="module")
def process() -> Iterator[EmulatorProcess]:
    """One process for the tests of webhooks."""
    with EmulatorProcess() as started:
        yield started


@pytest.fixture
def emulator(process: EmulatorProcess) -> EmulatorProcess:
    """The process, begun anew; jobs end at once."""
    process.reset()
    process.switch(duration_s=0)
    return process


@contextmanager
def _receiver() -> Iterator[tuple[str, "queue.Queue[dict[str, Any]]"]]:
    calls: queue.Queue[dict[str, Any]] = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            calls.put({"path": self.path, "authorization": self.headers["authorization"], **json.loads(body)})
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/hooks/token", calls
        finally:
            server.shutdown()
            thread.join()


def _submit(emulator: EmulatorProcess, url: str) -> httpx.Response:
    return httpx.post(f"{emulator.api_base}{RUN}", json={"prompt": "gate", "webhook_url": url}, headers=KEY)


@pytest.mark.parametrize(("how", "count"), [("once", 1), ("twice", 2)])
def test_a_webhook_tells_the_end(emulator: EmulatorProcess, how: str, count: int) -> None:
    """The job's URL is called with the job as a poll would show it, once or twice, without the key."""
    emulator.switch(webhooks=how)
    with _receiver() as (url, calls):
        job_id = _submit(emulator, url).json()["jobId"]
        received = [calls.get(timeout=5) for _ in range(count)]
    polled = httpx.get(f"{emulator.api_base}/jobs/{job_id}", headers=KEY).json()
    told = {"path": "/hooks/token", "authorization": None, "event": "job.completed", **polled}
    assert received == [told] * count
    assert emulator.books()["totals"]["webhooksSent"] == count


def test_a_webhook_may_never_come(emulator: EmulatorProcess) -> None:
    """`never` accepts the URL and is silent; `off` refuses the field as unknown; a replay comes in any case."""
    with _receiver() as (url, calls):
        emulator.switch(webhooks="never")
        job_id = _submit(emulator, url).json()["jobId"]
        replayed = httpx.post(f"{emulator.api_base}/jobs/{job_id}/webhook/replay", headers=KEY)
        assert replayed.status_code == 202
        assert calls.get(timeout=5)["jobId"] == job_id
        emulator.switch(webhooks="off")
        answer = _submit(emulator, url)
        assert calls.empty()
    assert (answer.status_code, "webhook_url" in answer.text) == (400, True)


def test_a_webhook_that_nobody_hears(emulator: EmulatorProcess) -> None:
    """A call that cannot be delivered is in the books with its error, and hurts nothing."""
    job_id = _submit(emulator, "http://127.0.0.1:9/nobody").json()["jobId"]
    books = emulator.wait_for(lambda books: any("error" in call for call in books["jobs"][0]["webhooks"]))
    assert books["jobs"][0]["jobId"] == job_id
    assert books["jobs"][0]["webhooks"][0]["status"] is None


def test_a_replay_wants_an_ended_job_with_a_url(emulator: EmulatorProcess) -> None:
    """Before its end a job's webhook cannot be replayed, nor without a URL, nor of no job."""
    without = httpx.post(f"{emulator.api_base}{RUN}", json={"prompt": "gate"}, headers=KEY).json()["jobId"]
    emulator.switch(duration_s=3600)
    running = _submit(emulator, "http://127.0.0.1:9/nobody").json()["jobId"]
    statuses = [
        httpx.post(f"{emulator.api_base}/jobs/{job_id}/webhook/replay", headers=KEY).status_code
        for job_id in (without, running, "job_none")
    ]
    assert statuses == [400, 409, 404]


def test_it_ends_cleanly_within_a_second() -> None:
    """SIGTERM ends it with status 0 within a second, a hanging exchange and a waiting webhook notwithstanding."""
    command = [sys.executable, "-m", "emulator", "--port", "0", "--quiet"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        base = process.stdout.readline().removeprefix("emulator ready ").strip()
        httpx.post(f"{base}/api/v1{RUN}", json={"prompt": "gate", "webhook_url": "http://127.0.0.1:9/"}, headers=KEY)
        httpx.patch(f"{base}/_emulator/switches", json={"poll_fault": "hang"})
        outcome: queue.Queue[type[Exception]] = queue.Queue()

        def hang() -> None:
            try:
                httpx.get(f"{base}/api/v1/jobs/job_x", headers=KEY, timeout=20)
            except httpx.TransportError as error:
                outcome.put(type(error))

        thread = threading.Thread(target=hang)
        thread.start()
        while "poll:hang" not in httpx.get(f"{base}/_emulator/books").json()["totals"]["faults"]:
            assert thread.is_alive()
        began_at = time.monotonic()
        process.terminate()
        assert process.wait(5) == 0
        assert time.monotonic() - began_at < 1.0
        thread.join()
        assert outcome.get_nowait() is httpx.RemoteProtocolError
        assert process.stderr.read() == ""


def test_a_taken_port_is_one_line(emulator: EmulatorProcess) -> None:
    """A port that cannot be had ends the process with one line that names it, and no traceback."""
    port = emulator.base_url.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "emulator", "--port", port]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=10, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert port in ended.stderr


def test_it_comes_back_on_its_port() -> None:
    """Stopped and started again, it listens on the same port with empty books: an outage, as a client sees it."""
    with EmulatorProcess() as restarted:
        httpx.post(f"{restarted.api_base}{RUN}", json={"prompt": "gate"}, headers=KEY)
        base = restarted.base_url
        restarted.kill()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{base}/_emulator/health")
        restarted.start()
        assert restarted.base_url == base
        assert restarted.books()["jobs"] == []
