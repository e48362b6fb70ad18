"""A place for one process of the gateway: what runs there may be killed, frozen or told to end, and is started anew.

It tells a death that was wanted from one that was not: every end of a process is accounted for.
"""

import contextlib
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.support import mortal
from tests.support.process import Process

#: What a process says that could not begin, since the database was away; whoever runs it starts it again.
NOT_NOW = ("cannot be reached",)
ENDS_WITHIN_S = 30.0
#: What uvicorn says, in services and in workers, when signals are heeded and work is taken.
_READY = "Started server process"


class Slot:
    """One process of the gateway, and the next one after it."""

    def __init__(self, name: str, words: tuple[str, ...], environ: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.serves = "service" in name
        self.process = Process(
            (sys.executable, "-m", *words),
            folder=folder,
            environment={**environ, mortal.FOLDER: str(folder), mortal.NAME: name},
            name=name,
        )
        #: Ends of the process that nobody wanted, in words.
        self.complaints: list[str] = []
        #: Starts that the database refused.
        self.refused_starts = 0
        self._order = folder / f"{name}.order"
        self._seen = folder / f"{name}.seen"
        self._died = folder / f"{name}.died"
        self._wanted_status: int | None = None
        self._deaths = 0
        self._paused = False

    @property
    def mortal(self) -> bool:
        """Whether the process can be told to die at a step."""
        return "tests.support.mortal" in self.process.command

    @property
    def ready(self) -> bool:
        """Whether the process has begun to work."""
        return self.process.running and _READY in self.process.output()

    def start(self) -> None:
        """Start the process; it is ready in its own time."""
        self._wanted_status = None
        self._paused = False
        self.process.start()

    def revive(self) -> None:
        """Start it again if it has ended, and say why it had, if nobody wanted that."""
        if self.process.running:
            return
        self._account()
        self.start()

    def _account(self) -> None:
        status, deaths = self.process.status, len(self.deaths())
        if deaths > self._deaths:
            self._deaths = deaths
        elif status == 2 and any(sign in self.process.output() for sign in NOT_NOW):
            self.refused_starts += 1
        elif status is None or status != self._wanted_status:
            self.complaints.append(f"{self.name} ended with status {status}, and nobody had asked it to")

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process.running:
            self._wanted_status = -signal.SIGKILL
            self.process.kill()

    def tell_to_end(self) -> None:
        """Ask it to end in order, once it has begun to work; see ``await_end``."""
        if self.process.running and not self._paused:
            self.process.wait_ready(_READY)
            self._wanted_status = 0
            self.process.signal(signal.SIGTERM)

    def await_end(self) -> None:
        """Wait for the end that it was told to come to, and complain if it takes more than 30 s."""
        if self._wanted_status != 0:
            return
        try:
            self.process.wait_end(ENDS_WITHIN_S)
        except AssertionError:
            self.complaints.append(f"{self.name} did not end within {ENDS_WITHIN_S:g} s of SIGTERM")
            self.kill()

    def pause(self) -> None:
        """Freeze it."""
        self._paused = True
        self.process.pause()

    def resume(self) -> None:
        """Let it go on."""
        self._paused = False
        self.process.resume()

    def arm(self, step: str, times: int) -> None:
        """Have it die at that step, when it takes it for the ``times``-th time from now."""
        # Written whole or not at all: the process may read at any moment.
        draft = self._order.with_suffix(".draft")
        draft.write_text(f"{step}\t{times}")
        draft.replace(self._order)

    def disarm(self) -> None:
        """Let it live."""
        self._order.unlink(missing_ok=True)

    def deaths(self) -> list[str]:
        """The steps at which its processes died, in order."""
        return _lines(self._died)

    def steps(self) -> frozenset[str]:
        """All steps that its processes have taken."""
        return frozenset(_lines(self._seen))

    def end(self) -> None:
        """End it with the world."""
        self.disarm()
        if self._paused:
            self.resume()
        self.process.end()

    def log(self) -> list[str]:
        """Every line that its processes have written."""
        return self.process.log.read_text(errors="replace").splitlines() if self.process.log.exists() else []


def deaths(slots: list[Slot]) -> Counter[str]:
    """How often each step was somebody's last."""
    return Counter(step for slot in slots for step in slot.deaths())


def _lines(path: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return path.read_text().splitlines()
    return []
