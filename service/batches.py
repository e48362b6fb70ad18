"""Many orders as one resource: made, read, listed, taken back. Translates; the house decides."""

import re
from typing import Any, Final

from litestar import Request, Response, post, route

from gateway import errors
from gateway.jobs import batches, batching, desk, lookup, view
from gateway.jobs.batches import Batch
from gateway.storage.pages import Slice
from gateway.tenancy.scopes import Scope
from service import answers, bodies, caching, callers, front, query

MAX_BYTES: Final = 4 * 1024 * 1024

_BATCH_ID: Final = re.compile(r"bat_[0-9A-Za-z]{1,36}", re.ASCII)


@post("/api/v1/batches", name="createBatch", status_code=202, request_max_body_size=MAX_BYTES)
async def create(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Order many pictures at once: 202 with the batch, which exists as a whole, or not at all."""
    house = front.of(request).house
    asker = await callers.recognised(request, Scope.GENERATE)
    body = await bodies.json_object(request, MAX_BYTES)
    with caching.counted(house, asker):
        made = await batching.make(
            house.counter,
            callers.caller(asker.key),
            body,
            request.headers.get("idempotency-key"),
            house.gate.of(asker),
            caching.wish(request, asker),
        )
    caching.count_each(house, asker, made.handled)
    headers = {"Idempotent-Replayed": "true"} if made.replayed else callers.rate_headers(made.standing)
    return await _shown(request, made.batch, made.remaining_micros, 202, headers)


@route("/api/v1/batches", http_method=["GET", "HEAD"], name="listBatches")
async def listing(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Newest first: with ``read`` the team's, with ``generate`` those of the key."""
    house = front.of(request).house
    key = await callers.known(request, Scope.READ, Scope.GENERATE)
    asked, now = query.asked(request).slice, house.clock.now()
    async with house.database.read() as connection:
        found, cursor = await batches.page(connection, key.team_id, query.owner(key, Scope.READ), asked)
        counted = await batches.count(connection, [batch.id for batch in found])
        remaining = await desk.remaining_micros(connection, callers.caller(key), now)
    public_url = house.settings.public_url
    told = [batches.render(batch, counted[batch.id], remaining, public_url) for batch in found]
    return answers.json({"batches": told, "nextCursor": cursor})


@route("/api/v1/batches/{batchId:str}", http_method=["GET", "HEAD"], name="getBatch")
async def read(request: Request[Any, Any, Any]) -> Response[bytes]:
    """A batch with a slice of its items, each a job as it is read by itself."""
    house = front.of(request).house
    key = await callers.known(request, Scope.READ, Scope.GENERATE)
    asked, now = query.asked(request).slice, house.clock.now()
    after = _place(asked)
    async with house.database.read() as connection:
        batch = await batches.find(connection, key.team_id, _named(request), query.owner(key, Scope.READ))
        counted = await batches.count(connection, [batch.id])
        items, following = await batches.items(connection, batch, asked.limit, after)
        remaining = await desk.remaining_micros(connection, callers.caller(key), now)
    told = batches.render(batch, counted[batch.id], remaining, house.settings.public_url)
    told["items"] = [
        {"index": job.batch_index, "job": view.render(job, images, remaining, house.frame, now)}
        for job, images in items
    ]
    told["nextCursor"] = None if following is None else str(following)
    return answers.json(told, headers={"Cache-Control": "private, no-cache"})


@post("/api/v1/batches/{batchId:str}/cancel", name="cancelBatch", status_code=200)
async def cancel(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Send nothing more of a batch, and take back what waits."""
    house = front.of(request).house
    key = await callers.known(request, Scope.GENERATE)
    only = query.owner(key, Scope.READ)
    batch = await batches.cancel(house.database, house.clock, key.team_id, _named(request), only)
    async with house.database.read() as connection:
        remaining = await lookup.remaining_micros(connection, key.team_id, key.id, house.clock.now())
    await house.queue.deliver(hint=batch.id)
    return await _shown(request, batch, remaining, 200, {})


async def _shown(
    request: Request[Any, Any, Any], batch: Batch, remaining: int | None, status: int, headers: dict[str, str]
) -> Response[bytes]:
    house = front.of(request).house
    async with house.database.read() as connection:
        counted = await batches.count(connection, [batch.id])
    told = batches.render(batch, counted[batch.id], remaining, house.settings.public_url)
    return answers.json(told, status, headers)


def _named(request: Request[Any, Any, Any]) -> str:
    return query.named(request, "batchId", _BATCH_ID, errors.BatchNotFound)


def _place(asked: Slice) -> int:
    """The place of the first item that is asked for."""
    text = asked.cursor or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise errors.InvalidParameter("cursor: give the `nextCursor` of the page before", param="cursor")
    return int(text)
