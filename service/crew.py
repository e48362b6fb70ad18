"""Several service processes on one port: starts them, starts one again that died, ends them in order. Serves nothing.

Each listens on a socket of its own once it is ready, and the system shares out the connections among those that listen.
What they count lies in files that each of them can read, one set a place in the crew: who takes a dead one's place goes
on counting where that one ended, so that no count falls and none is lost.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import structlog
from prometheus_client import multiprocess

from gateway import bootstrap
from gateway.settings.values import Settings
from service import listening

#: A process that dies again and again is started again ever more slowly; one that served this long had recovered.
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 30.0
RECOVERED_AFTER_S: Final = 60.0
#: What has not ended by itself then is made to: notice, requests under way and closing are within it.
END_WITHIN_S: Final = 29.0
#: Where ``prometheus_client`` looks for the files.
COUNTS: Final = "PROMETHEUS_MULTIPROC_DIR"

log = structlog.get_logger(__name__)


async def serve(settings: Settings, processes: int) -> None:
    """Keep that many processes serving until SIGTERM or SIGINT; a second signal ends them at once.

    Raises ``SettingError`` before anything is served, as one process would.
    """
    # Whatever is wrong is found here, and said once.
    listening.open(settings.host, settings.port).close()
    async with bootstrap.house(settings):
        pass
    # While none of them listens nobody else shall take the port.
    with listening.reserve(settings.host, settings.port), TemporaryDirectory(prefix="torii-serve-") as folder:
        await _Crew(processes, Path(folder)).serve()


@dataclass
class _Crew:
    """The processes of one ``torii serve``."""

    processes: int
    counts: Path
    _running: dict[int, asyncio.subprocess.Process] = field(default_factory=dict)
    _ending: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self) -> None:
        """Run until told to end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)
        places = [asyncio.create_task(self._keep(place)) for place in range(self.processes)]
        over = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait({over, *places}, return_when=asyncio.FIRST_COMPLETED)
            _, late = await asyncio.wait(places, timeout=END_WITHIN_S)
            if late:
                log.warning("processes_killed", places=len(late), after_s=END_WITHIN_S)
        finally:
            over.cancel()
            self._signal(signal.SIGKILL)
            await asyncio.gather(*places)

    def _end(self, number: int) -> None:
        if not self._ending.is_set():
            log.info("ending", signal=signal.Signals(number).name)
        self._ending.set()
        self._signal(number)

    def _signal(self, number: int) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def _keep(self, place: int) -> None:
        """Have one process at that place, one after the other."""
        pause_s = FIRST_PAUSE_S
        while not self._ending.is_set():
            began_s = time.monotonic()
            status = await self._run(place)
            # A breaker that died with its process is not open any more.
            multiprocess.mark_process_dead(place, str(self.counts))  # type: ignore[no-untyped-call]
            if self._ending.is_set():
                return
            if time.monotonic() - began_s > RECOVERED_AFTER_S:
                pause_s = FIRST_PAUSE_S
            log.error("process_died", place=place, status=status, again_in_s=pause_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._ending.wait()
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _run(self, place: int) -> int:
        """One process from its start to its end; its status."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "service", str(place), str(theirs.fileno())),
                    env={**os.environ, COUNTS: str(self.counts)},
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    # Ctrl-C in a terminal reaches us alone, and we pass it on once.
                    start_new_session=True,
                )
            self._running[place] = process
            if self._ending.is_set():
                self._signal(signal.SIGTERM)  # told to end while it was being started
            hearing = asyncio.create_task(_ready(ours, place, process.pid))
            try:
                return await process.wait()
            finally:
                hearing.cancel()
                del self._running[place]


async def _ready(ours: socket.socket, place: int, pid: int) -> None:
    ours.setblocking(False)
    if await asyncio.get_running_loop().sock_recv(ours, 1):
        log.info("process_ready", place=place, pid=pid)
