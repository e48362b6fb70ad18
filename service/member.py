"""One of several service processes on a port: ``python -m service PLACE LEASH``, as ``crew`` starts it.

``PLACE`` is its number, under which it goes on counting; ``LEASH`` a socket on which it says that it is ready, and by
whose end it learns that nobody keeps it any more. Starts nothing by itself.
"""

import asyncio
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Final

import structlog
import uvloop
from prometheus_client import CollectorRegistry, multiprocess
from prometheus_client import values as counted

from gateway import bootstrap, errors
from gateway.settings import values
from gateway.settings.values import Purpose, Settings
from service import listening, server

READY: Final = b"!"

log = structlog.get_logger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Serve until told to end; the exit status."""
    place, leash = (int(text) for text in arguments)
    # The library's own way of naming the files that a process counts in; by itself it would take the process's id.
    counted.ValueClass = counted.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]
    with socket.socket(fileno=leash) as held:
        try:
            settings = values.read(Purpose.SERVE)
            server.log_to(settings, "INFO")
            uvloop.run(_serve(settings, held))
        except errors.ToriiError as error:
            sys.stderr.write(f"{error.message}\n")
            return server.EXIT_SETTING
    return 0


async def _serve(settings: Settings, held: socket.socket) -> None:
    everyone = CollectorRegistry()
    multiprocess.MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
    async with bootstrap.house(settings) as house:
        serving = server.build(house, everyone)
        # Nobody comes in before all is open.
        with listening.open(settings.host, settings.port, shared=True) as listener:
            watching = asyncio.create_task(_watch(held, serving))
            try:
                await serving.serve(sockets=[listener])
            finally:
                watching.cancel()


async def _watch(held: socket.socket, serving: server.Server) -> None:
    """Say that the process serves, and end it in order when whoever started it is gone."""
    held.setblocking(False)
    loop = asyncio.get_running_loop()
    await serving.accepting.wait()
    await loop.sock_sendall(held, READY)
    while await loop.sock_recv(held, 1):
        pass
    log.warning("keeper_gone")
    serving.handle_exit(signal.SIGTERM, None)
