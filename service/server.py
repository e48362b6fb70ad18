"""One service process: what ``torii serve`` runs, from its settings to its orderly end. Knows no route.

Whatever cannot be had at the start is found out before the server begins, and ends it with one line. On SIGTERM it
first says that it is not ready, waits until load balancers have seen that, then finishes what is under way.
"""

import asyncio
import signal
import socket
import sys
from types import FrameType
from typing import Final

import structlog
import uvicorn
import uvloop
from prometheus_client import CollectorRegistry

from gateway import bootstrap, errors
from gateway.bootstrap import House
from gateway.jobs.waiting_room import WaitingRoom
from gateway.settings import values
from gateway.settings.values import Purpose, Settings
from gateway.telemetry import logs
from service import app, crew, listening
from service.connection import Connection
from service.readiness import Readiness

#: Longer than the 60 s after which common load balancers drop an idle connection: they must be the first to.
KEEP_ALIVE_S: Final = 75
#: How long a process that was told to end still takes requests, so that nobody is sent to a closed door.
NOTICE_S: Final = 5.0
#: How long requests under way may take after that; all together stays within 30 s.
FINISH_WITHIN_S: Final = 20
EXIT_SETTING: Final = 2
EXIT_INTERRUPTED: Final = 130

log = structlog.get_logger(__name__)


def main() -> int:
    """Read the settings and serve until told to end; the exit status. A mistake in them is one line on stderr."""
    try:
        run(values.read(Purpose.SERVE))
    except errors.ToriiError as error:
        sys.stderr.write(f"{error.message}\n")
        return EXIT_SETTING
    except KeyboardInterrupt:
        # Ctrl-C while it was still starting; a server that runs sees the signal first and ends in order.
        return EXIT_INTERRUPTED
    return 0


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; to be called in the main thread.

    Raises ``SettingError`` before anything is served: the port cannot be had, the database cannot be reached or has
    another schema, the catalogue is wrong. Its message is one line that names the setting.
    """
    # Until it serves, all that it says is the one line about why it cannot.
    log_to(settings, "ERROR")
    with (
        listening.open(settings.host, settings.port) as listener,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(_serve(settings, listener))


def run_many(settings: Settings, processes: int) -> None:
    """As ``run``, in that many processes."""
    log_to(settings, "ERROR")
    asyncio.run(_serve_many(settings, processes))


async def _serve_many(settings: Settings, processes: int) -> None:
    log_to(settings, "INFO")
    await crew.serve(settings, processes)


async def _serve(settings: Settings, listener: socket.socket) -> None:
    async with bootstrap.house(settings) as house:
        log_to(settings, "INFO")
        log.info("serving", url=settings.public_url, host=settings.host, port=settings.port)
        await build(house).serve(sockets=[listener])


def log_to(settings: Settings, level: str) -> None:
    """Log to standard error, from that level on."""
    logs.configure(level=level, prompts=settings.log_prompts, hidden=settings.secrets())


def build(house: House, counted: CollectorRegistry | None = None) -> "Server":
    """The server over an open house; ``serve`` it in the loop that this was called in.

    ``counted`` is what it tells at ``/metrics``, where that is not the house's own registry.
    """
    readiness = Readiness()
    config = uvicorn.Config(
        app.create(house, readiness, counted),
        loop="none",
        http=Connection,
        ws="none",
        lifespan="off",  # the house is open before the server begins and closes after it
        interface="asgi3",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=FINISH_WITHIN_S,
    )
    return Server(config, readiness, house.waiting_room)


class Server(uvicorn.Server):
    """uvicorn that gives notice before it ends."""

    def __init__(self, config: uvicorn.Config, readiness: Readiness, waiting_room: WaitingRoom) -> None:
        super().__init__(config)
        self.readiness = readiness
        self.waiting_room = waiting_room
        #: Set once callers can come in.
        self.accepting = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self.accepting.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM: after the notice. SIGINT: a person waits, so without one. Any second signal: at once."""
        del frame
        # A signal handler runs between any two instructions: the loop must hear of it as from another thread.
        self._loop.call_soon_threadsafe(self._end, sig)

    def _end(self, sig: int) -> None:
        if self.readiness.draining:
            self.should_exit = self.force_exit = True
            return
        self.readiness.drain()
        log.info("draining", signal=signal.Signals(sig).name)
        self._loop.call_later(NOTICE_S if sig == signal.SIGTERM else 0.0, self._stop)

    def _stop(self) -> None:
        # Whoever waits for a job is answered now with what there is: the job goes on without them.
        self.waiting_room.dismiss()
        self.should_exit = True
