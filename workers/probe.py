"""What a worker tells of itself over HTTP: ``/metrics`` and ``/health``, on a port of its own. Takes no orders."""

import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.bootstrap import House
from gateway.jobs.parts import Shop
from gateway.telemetry import access
from workers.rounds import Pulse

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
App = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

log = structlog.get_logger(__name__)


class Server(uvicorn.Server):
    """A server whose process has its own signal handling."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the worker."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say where it listens, since port 0 leaves the choice to the system."""
        await super().startup(sockets)
        for listener in self.servers:
            host, port = listener.sockets[0].getsockname()[:2]
            log.info("probe_ready", url=f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


def application(house: House, shop: Shop, pulse: Pulse) -> App:
    """The two pages: metrics for who may read them, health for everyone who reaches the port."""
    token = house.settings.metrics_token.get_secret_value() if house.settings.metrics_token else None

    async def app(scope: dict[str, Any], _receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/health":
            fresh = pulse.fresh(shop.clock.monotonic())
            body = msgspec.json.encode({"status": "ok" if fresh else "stalled", "worker": shop.worker_id})
            await _answer(send, 200 if fresh else 503, "application/json", body)
        elif scope["path"] != "/metrics":
            await _answer(send, 404, "text/plain", b"there is /metrics and /health\n")
        elif access.granted(token, _authorization(scope), _asker(scope)):
            await _answer(send, 200, CONTENT_TYPE_LATEST, generate_latest(house.registry))
        else:
            await _answer(send, 401, "text/plain", b"the metrics need TORII_METRICS_TOKEN as a bearer token\n")

    return app


def server(app: App, host: str, port: int) -> Server:
    """The server, ready to be served in this process's loop."""
    return Server(
        uvicorn.Config(
            app, host=host, port=port, log_config=None, access_log=False, lifespan="off", server_header=False
        )
    )


def _authorization(scope: dict[str, Any]) -> str | None:
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    return values[0].decode("latin-1") if values else None


def _asker(scope: dict[str, Any]) -> str | None:
    peer = scope.get("client")
    return access.asker(peer[0] if peer else None, {name.decode("latin-1") for name, _ in scope["headers"]})


async def _answer(send: Send, status: int, content_type: str, body: bytes) -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
