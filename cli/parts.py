"""One part of a gateway that ``torii up`` runs: a process with a log, a sign that it is ready, and an orderly end.

Knows no part by name. Its process has a session of its own, so that Ctrl-C in the terminal reaches ``up`` alone, and a
leash, so that it never outlives ``up``.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cli import leash
from gateway import errors

READY_WITHIN_S = 20.0
_LOOK_EVERY_S = 0.03
_ONE_LOOK_S = 2.0
_LAST_LINES = 15
_TAIL_BYTES = 64 * 1024
_SAID_CHARACTERS_MAX = 300


class NotStarted(errors.ToriiError):
    """A part ended, or was not ready in time; ``lines`` are the last of its log."""

    code = "not_started"

    def __init__(self, message: str, lines: list[str]) -> None:
        super().__init__(message)
        self.lines = lines


@dataclass(frozen=True)
class Part:
    """What a part is, before it runs."""

    name: str
    command: tuple[str, ...]
    #: Where it is reached, for people.
    address: str
    log: Path
    #: Whether it answers; an exception of its client's counts as no.
    ready: Callable[[], Awaitable[bool]]
    environment: Mapping[str, str] = field(repr=False)
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within_s: float = 5.0
    folder: Path = Path()


class Running:
    """A part's process, and the next one after it."""

    def __init__(self, part: Part, lock: int) -> None:
        self.part = part
        self.started_s = 0.0
        self._lock = lock
        self._process: asyncio.subprocess.Process | None = None
        self._log_start = 0

    async def start(self) -> float:
        """Start it and wait until it is ready; returns the seconds that took. Raises ``NotStarted``."""
        self.started_s = time.monotonic()
        with self.part.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                # -I and -S: the leash needs nothing but the standard library, and nobody's settings.
                *(sys.executable, "-I", "-S", str(Path(leash.__file__))),
                *(str(os.getpid()), str(self.part.stop_signal.value), *self.part.command),
                cwd=self.part.folder,
                env=dict(self.part.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(self._lock,),
            )
        await self._until_ready()
        return time.monotonic() - self.started_s

    async def ended(self) -> str:
        """Wait until the process ends; how it ended, in words."""
        if self._process is None:
            raise RuntimeError(f"{self.part.name} was not started")
        return _in_words(await self._process.wait())

    async def stop(self) -> bool:
        """Ask it to end, wait as long as it may take, then make it; whether it ended by itself."""
        if self._process is None:
            return True
        self._signal(self.part.stop_signal)
        try:
            await asyncio.wait_for(self._process.wait(), self.part.stop_within_s)
        except TimeoutError:
            self.kill()
            await self._process.wait()
            return False
        self.kill()  # whatever it may have left in its session
        return True

    def kill(self) -> None:
        """End it, and whatever it started, at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def last_lines(self) -> list[str]:
        """The last lines that the process started last has logged."""
        with self.part.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, size - _TAIL_BYTES))
            return log.read().decode(errors="replace").splitlines()[-_LAST_LINES:]

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while self._process is not None and self._process.returncode is None:
            if await self._answers():
                return
            if time.monotonic() > deadline:
                raise self._not_started(f"was not ready within {READY_WITHIN_S:g} s")
            await asyncio.sleep(_LOOK_EVERY_S)
        raise self._not_started(f"{await self.ended()} while starting")

    def _not_started(self, what: str) -> NotStarted:
        lines = self.last_lines()
        said = f": {lines[-1][:_SAID_CHARACTERS_MAX]}" if lines else ""
        return NotStarted(f"{self.part.name} {what} (its log: {self.part.log}){said}", lines)

    async def _answers(self) -> bool:
        # A part that is starting refuses, resets or stalls, each client in its own words.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_ONE_LOOK_S):
                return await self.part.ready()
        return False


def _in_words(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
