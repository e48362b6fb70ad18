"""The floor: a bare ASGI app on the server that Torii uses, ``python -m bench.floor PORT REDIS_URL``.

What it does is what no gateway can do without: read the request, and answer JSON of a real answer's size. ``/constant``
does nothing else; ``/redis`` asks Redis for one key first.
"""

import json
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from redis.asyncio import Redis

from bench.load import LOOPBACK

CONSTANT = "/constant"
ONE_GET = "/redis"
#: About as much as a real answer holds.
BODY = json.dumps({"jobId": "job_" + "0" * 22, "status": "pending", "filling": "x" * 340}).encode()
_HEADERS = ((b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode()))

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


def application(redis: Redis) -> App:
    """The app over a lazily connected Redis."""

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        if scope["path"] == ONE_GET:
            await redis.get("torii:bench:floor")
        status = 202 if scope["method"] == "POST" else 200
        await send({"type": "http.response.start", "status": status, "headers": list(_HEADERS)})
        await send({"type": "http.response.body", "body": BODY})

    return app


def main(arguments: list[str]) -> None:
    """Serve on loopback until told to end."""
    port, redis_url = arguments
    serve(application(Redis.from_url(redis_url)), int(port))


def serve(app: App, port: int) -> None:
    """Serve an app as Torii's own is served, on loopback."""
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
    )
    with socket.create_server((LOOPBACK, port)) as listener:
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1:])
