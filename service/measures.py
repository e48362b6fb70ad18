"""The pages that Prometheus reads. Renders what others counted, for those who may read it."""

from typing import Any

from litestar import Request, Response, route
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.jobs import books
from gateway.telemetry import books as exposition
from service import callers, front


@route("/metrics", http_method=["GET", "HEAD"], name="metrics")
async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """What this process has counted, with those that share its port."""
    callers.require_watcher(request)
    return Response(
        generate_latest(front.of(request).counted),
        status_code=200,
        headers={"Content-Type": CONTENT_TYPE_LATEST},
    )


@route("/metrics/books", http_method=["GET", "HEAD"], name="books")
async def of_books(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The metrics of the books: the same from whichever process, so they are scraped once."""
    callers.require_watcher(request)
    house = front.of(request).house
    async with house.database.read() as connection:
        snapshot = await books.snapshot(connection, house.clock.now())
    return Response(exposition.text(snapshot), status_code=200, headers={"Content-Type": exposition.CONTENT_TYPE})
