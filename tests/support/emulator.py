"""Starts a stand-in PixelDojo as a process of its own and talks to its controls; never imports it."""

import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 15.0
STOPPED_WITHIN_S = 5.0
LOOK_EVERY_S = 0.01


class EmulatorProcess:
    """`python -m emulator` on a free port of loopback, met over TCP as Torii meets it.

    `base_url` is `http://127.0.0.1:PORT`, `api_base` what Torii calls `PIXELDOJO_API_BASE`. Use it as a
    context manager, or call `start()` and `stop()`. `time_scale` multiplies the 40 to 45 s a job takes;
    `balance` is in credits; `arguments` are handed to the command as they stand. A second `start()` keeps
    the port but not the books.
    """

    def __init__(
        self,
        *,
        time_scale: float = 0.01,
        balance: str | int = 1000,
        key: str | None = None,
        port: int = 0,
        arguments: tuple[str, ...] = (),
    ) -> None:
        self._arguments = ["--time-scale", str(time_scale), "--balance", str(balance), "--quiet", *arguments]
        if key is not None:
            self._arguments += ["--key", key]
        self._port = port
        self._process: subprocess.Popen[str] | None = None
        self._client: httpx.Client | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:PORT`, without a slash at its end."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def api_base(self) -> str:
        """`http://127.0.0.1:PORT/api/v1`."""
        return f"{self.base_url}/api/v1"

    @property
    def result_host(self) -> str:
        """`127.0.0.1:PORT`, what `TORII_RESULT_HOSTS` must allow."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The process's id, for tests that measure or signal it."""
        return self._running().pid

    def start(self) -> None:
        """Start the process and wait, at most 15 s, for its ready line."""
        command = [sys.executable, "-m", "emulator", "--port", str(self._port), *self._arguments]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        line = self._first_line(self._process)
        if not line.startswith("emulator ready http://"):
            self.kill()
            message = f"the emulator did not become ready: it said {line!r}"
            raise RuntimeError(message)
        self._port = int(line.rsplit(":", 1)[1])
        self._client = httpx.Client(base_url=self.base_url, trust_env=False, timeout=30.0)

    def stop(self) -> None:
        """End the process with SIGTERM and wait for it; harmless when it has already ended."""
        self._end(subprocess.Popen.terminate)

    def kill(self) -> None:
        """End the process with SIGKILL, as a crash would."""
        self._end(subprocess.Popen.kill)

    def books(self, *, jobs: bool = True) -> dict[str, Any]:
        """Read what the emulator counted: totals, and with `jobs` a row a job (see `emulator/README.md`)."""
        return self._ask("GET", "/_emulator/books", params={"jobs": "true" if jobs else "false"})

    def switches(self) -> dict[str, Any]:
        """All switches as they stand now."""
        return self._ask("GET", "/_emulator/switches")

    def switch(self, **switches: Any) -> dict[str, Any]:
        """Turn the named switches, leave the others; returns all of them. A wrong one raises `ValueError`."""
        return self._ask("PATCH", "/_emulator/switches", json=switches)

    def reset_switches(self) -> dict[str, Any]:
        """Put every switch back to its default, keep jobs, balance and books."""
        return self._ask("POST", "/_emulator/switches/reset")

    def reset(self, balance: str | int | None = None) -> None:
        """Forget jobs, files, books and switches; begin again with `balance` or the command line's."""
        self._ask("POST", "/_emulator/reset", json={} if balance is None else {"balance": balance})

    def delete_files(self, job_id: str | None = None) -> int:
        """Delete the stored result files now, of all finished jobs or of one; returns how many."""
        params = {} if job_id is None else {"jobId": job_id}
        return int(self._ask("DELETE", "/_emulator/files", params=params)["deleted"])

    def wait_for(self, condition: Callable[[dict[str, Any]], bool], within_s: float = 10.0) -> dict[str, Any]:
        """Read the books until `condition(books)` holds and return them; `TimeoutError` after `within_s`."""
        until = time.monotonic() + within_s
        while True:
            books = self.books()
            if condition(books):
                return books
            if time.monotonic() > until:
                message = f"the emulator's books did not show it within {within_s} s: {books['totals']}"
                raise TimeoutError(message)
            time.sleep(LOOK_EVERY_S)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        json: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        if self._client is None:
            message = "the emulator is not running"
            raise RuntimeError(message)
        answer = self._client.request(method, path, params=params, json=json)
        if answer.is_error:
            raise ValueError(answer.text)
        found: dict[str, Any] = answer.json()
        return found

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            message = "the emulator is not running"
            raise RuntimeError(message)
        return self._process

    def _first_line(self, process: subprocess.Popen[str]) -> str:
        if process.stdout is None:
            return ""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            return process.stdout.readline() if selector.select(READY_WITHIN_S) else ""

    def _end(self, how: Callable[[subprocess.Popen[str]], None]) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        process, self._process = self._process, None
        if process is None:
            return
        with process:
            how(process)
            try:
                process.wait(STOPPED_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
