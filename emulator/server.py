"""Runs the app on a socket of its own until SIGTERM or SIGINT, and says once that it is ready."""

import asyncio
import signal
import socket
import sys
from types import FrameType

import uvicorn
import uvloop

from emulator import app, downloads, options, protocol, references, webhook
from emulator.world import World

BACKLOG = 2048
KEEP_ALIVE_S = 75


class _Announcing(uvicorn.Server):
    """Says where it listens, once it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        sys.stdout.write(f"emulator ready http://{host}:{port}\n")
        sys.stdout.flush()


def run(chosen: options.Options) -> int:
    """Serve until told to end; returns the exit status. A port that cannot be had is one line on stderr and 1."""
    try:
        listener = _listen(chosen.host, chosen.port)
    except OSError as error:
        sys.stderr.write(f"emulator: cannot listen on {chosen.host}:{chosen.port}: {error.strerror}\n")
        return 1
    with listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(chosen, listener))
    return 0


async def _serve(chosen: options.Options, listener: socket.socket) -> None:
    world = World(chosen)
    courier = webhook.Courier(world)
    files = downloads.Downloads(world)
    fetcher = references.Fetcher()
    server = _Announcing(_config(chosen, app.App(world, courier, files, fetcher)))
    # uvicorn raises the signal again once it has ended; this makes that a clean exit instead of a death by signal.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ended)
    try:
        await server.serve(sockets=[listener])
    finally:
        await courier.close()
        await fetcher.close()
        files.close()


def _config(chosen: options.Options, serving: app.App) -> uvicorn.Config:
    return uvicorn.Config(
        serving,
        http=protocol.CuttingProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=1,
        access_log=not chosen.quiet,
        log_config=None if chosen.quiet else _log_config(),
    )


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.create_server((host, port), backlog=BACKLOG)
    listener.setblocking(False)
    return listener


def _log_config() -> dict[str, object]:
    handler = {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "line"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "emulator: %(message)s"}},
        "handlers": {"stderr": handler},
        "loggers": {"uvicorn.access": {"handlers": ["stderr"], "level": "INFO", "propagate": False}},
    }


def _ended(_: int, __: FrameType | None) -> None:
    """Do nothing more: the server has already ended."""
