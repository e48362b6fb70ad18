"""Runs a command as a real process that sees only the environment a test passes; ends what it started.

A process is led by its id alone. Where `setpriv` exists it dies with the test run, even if that is killed.
"""

import http.client
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

from tests.support import ports, wait

INHERITED = ("PATH", "HOME", "LANG")
PAID_KEY, PAID_BASE = "PIXELDOJO_API_KEY", "PIXELDOJO_API_BASE"
#: Linux ends a process on a leash with the thread that started it, so none is started by a test's own thread.
_STARTER = ThreadPoolExecutor(1, "starter")
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class Process:
    """One command, started as often as the test likes, its output kept in a file of its folder."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        name: str | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        orphan_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.command = [str(word) for word in command]
        self.name = name or Path(self.command[0]).name
        self.folder = folder
        self.environment = _environment(environment or {})
        self.log = folder / f"{self.name}.log"
        self._user = user
        self._stop_signal = stop_signal
        self._orphan_signal = orphan_signal
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        """The id of the process started last."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the process started last has not ended."""
        return self._child is not None and self._child.poll() is None

    @property
    def status(self) -> int | None:
        """Exit status; minus the signal's number when one ended the process; None while it runs."""
        return None if self._child is None else self._child.poll()

    def start(self) -> Self:
        """Start the command; its output is appended to `log`."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already, as process {self.pid}")
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._child = _STARTER.submit(
                subprocess.Popen,
                [*self._leash(), *self.command],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=self._user,
                extra_groups=None if self._user is None else (),
                start_new_session=True,  # Ctrl-C reaches the test run, which ends its processes in order
            ).result()
        return self

    def _leash(self) -> list[str]:
        setpriv = shutil.which("setpriv")
        return [] if setpriv is None else [setpriv, "--pdeathsig", self._orphan_signal.name.removeprefix("SIG")]

    def output(self) -> str:
        """Everything the process started last has written to stdout and stderr."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def wait_ready(self, sign: str | int, timeout_s: float = 20.0) -> Self:
        """Wait until a URL answers below 400, a loopback port (int) accepts, or a text is in the output."""

        def ready() -> bool:
            if not self.running:
                raise AssertionError(f"{self.name} ended with {self.status} before it was ready:\n{self._tail()}")
            if isinstance(sign, int):
                return ports.answers(sign)
            return _answers(sign) if sign.startswith("http://") else sign in self.output()

        try:
            wait.until_sync(ready, timeout_s=timeout_s, what=f"{self.name} ready by {sign!r}")
        except wait.NotInTimeError as late:
            raise AssertionError(f"{late}\n{self._tail()}") from None
        return self

    def _tail(self) -> str:
        return self.output()[-4000:]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it runs."""
        if self._child is not None:
            self._child.send_signal(number)

    def pause(self) -> None:
        """Freeze the process: its sockets stay open and nothing answers."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen process go on."""
        self.signal(signal.SIGCONT)

    def wait_end(self, timeout_s: float = 10.0) -> int:
        """Wait until the process ends by itself, and return its status."""
        if self._child is None:
            raise RuntimeError(f"{self.name} was not started")
        try:
            return self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {timeout_s:g} s:\n{self._tail()}") from None

    def kill(self) -> None:
        """End the process at once with SIGKILL, as a crash would; its children live on until teardown."""
        self.signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait(10)

    def terminate(self, timeout_s: float = 10.0) -> int:
        """Ask the process to end (SIGTERM unless told otherwise), wait, and return its status."""
        self.signal(self._stop_signal)
        return self.wait_end(timeout_s)

    def end(self, timeout_s: float = 10.0) -> None:
        """Leave nothing behind: ask, then kill, then kill what the process left in its session."""
        if self._child is None:
            return
        if self.running:
            self.signal(self._stop_signal)
            self.resume()
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        try:
            os.killpg(self._child.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()


class StartProcess(Protocol):
    """Starts a command as a real process that ends with the test."""

    def __call__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None, *, name: str | None = None
    ) -> Process:
        """Start the command; it sees only PATH, HOME, LANG and what is passed."""


def _environment(passed: Mapping[str, str]) -> dict[str, str]:
    """Return what a child may see: three names of ours, and what the test passed."""
    if passed.get(PAID_KEY) and urlsplit(passed.get(PAID_BASE, "")).hostname not in LOOPBACK_HOSTS:
        raise ValueError(f"{PAID_KEY} may only be passed with a {PAID_BASE} on loopback: tests never spend credits")
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**inherited, **passed}


def _answers(url: str) -> bool:
    """Tell whether a GET of a loopback http URL is answered below 400."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or ports.LOOPBACK, parts.port or 80, timeout=2)
    try:
        connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")
        return connection.getresponse().status < 400
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
