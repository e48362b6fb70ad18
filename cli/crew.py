"""All parts that run: starts them, starts one again that died, stops them in order. Knows no part by name."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

from cli.parts import NotStarted, Part, Running

#: A part that dies again and again is started again ever more slowly.
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
#: One that lived this long had recovered.
_RECOVERED_AFTER_S = 60.0

#: Says one line about a part: its name, and what became of it.
Tell = Callable[[str, str], None]


class Crew:
    """The parts of one run, in the order in which they were started."""

    def __init__(self, lock: int, tell: Tell) -> None:
        self._lock = lock
        self._tell = tell
        self._running: list[Running] = []

    async def start(self, parts: Sequence[Part], started: Callable[[Part, float], None]) -> None:
        """Start these parts side by side; raises the first ``NotStarted``."""
        tasks = [asyncio.create_task(self._start(part, started)) for part in parts]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _start(self, part: Part, started: Callable[[Part, float], None]) -> None:
        running = Running(part, self._lock)
        self._running.append(running)
        started(part, await running.start())

    async def keep(self) -> None:
        """Start each part again that ends, until cancelled."""
        await asyncio.gather(*(self._keep(running) for running in self._running))

    async def _keep(self, running: Running) -> None:
        pause_s = _FIRST_PAUSE_S
        name = running.part.name
        while True:
            how = await running.ended()
            if time.monotonic() - running.started_s > _RECOVERED_AFTER_S:
                pause_s = _FIRST_PAUSE_S
            self._tell(name, f"{how}; starting it again in {pause_s:g} s (its log: {running.part.log})")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            try:
                self._tell(name, f"is back after {await running.start():.1f} s")
            except NotStarted as error:
                self._tell(name, error.message)
                await running.stop()

    async def stop(self, order: Sequence[Sequence[str]]) -> None:
        """Stop the parts named, group after group, the parts of one group side by side."""
        for names in order:
            group = [running for running in self._running if running.part.name in names]
            for running, ended in zip(group, await asyncio.gather(*(each.stop() for each in group)), strict=True):
                if not ended:
                    self._tell(running.part.name, f"did not end within {running.part.stop_within_s:g} s and was killed")

    def kill(self) -> None:
        """End every part at once."""
        for running in self._running:
            with contextlib.suppress(ProcessLookupError):
                running.kill()
