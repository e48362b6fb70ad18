"""Serves the result files: drawn when asked for, off the event loop, hardly kept. Never wants a key."""

import asyncio
import concurrent.futures
from collections import OrderedDict
from typing import TypeVar

from emulator import answers, job, picture, wire
from emulator.world import World

THREADS = 2
KEPT_PICTURES = 16
KEPT_PLAIN = 64
TRUNCATED_SHARE = 0.6

Key = TypeVar("Key")


class Downloads:
    """The files under `/pixeldojotemp`; a few finished ones are kept, for a client that comes back."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._threads = concurrent.futures.ThreadPoolExecutor(THREADS, "easel")
        self._drawn: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._plain: OrderedDict[tuple[int, int, str], bytes] = OrderedDict()

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def get(self, exchange: wire.Exchange, name: str) -> wire.Response:
        """`GET /pixeldojotemp/{name}`: the bytes, a redirect, or 404 once the file is gone."""
        found = self._world.account.file(name)
        if found is None:
            return wire.Response(404, b"Not found\n", "text/plain; charset=utf-8")
        owner, index = found
        redirect = self._redirect(exchange, name)
        if redirect is not None:
            return redirect
        owner.downloads += exchange.method == "GET"
        if owner.outcome.kind == "not_a_picture":
            return answers.html(200)
        data = await self._bytes(owner, index)
        # The type ordered, even where the bytes are of another: that is what `wrong_type` is for.
        response = wire.Response(200, data, picture.CONTENT_TYPES[owner.format])
        if owner.outcome.kind == "truncated":
            response.body = data[: int(len(data) * TRUNCATED_SHARE)]
        elif owner.outcome.kind == "oversized":
            response.padding_bytes = max(0, owner.outcome.oversized_bytes - len(data))
        return response

    def _redirect(self, exchange: wire.Exchange, name: str) -> wire.Response | None:
        target = self._world.board.now.download_redirect
        if target is None or exchange.query().get("direct") == "1":
            return None
        if target == "self":
            target = "/pixeldojotemp/{name}?direct=1"
        return wire.Response(302, headers={"Location": target.replace("{name}", name)})

    async def _bytes(self, owner: job.Job, index: int) -> bytes:
        sketch = job.sketch(owner, index)
        total_bytes = self._world.board.now.picture_bytes
        if total_bytes is not None:
            plain = await self._plain_bytes(sketch)
            return picture.sized(plain, sketch.format, sketch.token, total_bytes)
        key = (owner.id, index)
        if key not in self._drawn:
            data = await asyncio.get_running_loop().run_in_executor(self._threads, picture.draw, sketch)
            _keep(self._drawn, key, data, KEPT_PICTURES)
            return data
        return self._drawn[key]

    async def _plain_bytes(self, sketch: picture.Sketch) -> bytes:
        key = (sketch.width, sketch.height, sketch.format)
        if key not in self._plain:
            data = await asyncio.get_running_loop().run_in_executor(self._threads, picture.plain, *key)
            _keep(self._plain, key, data, KEPT_PLAIN)
            return data
        return self._plain[key]


def _keep(kept: OrderedDict[Key, bytes], key: Key, data: bytes, most: int) -> None:
    kept[key] = data
    while len(kept) > most:
        kept.popitem(last=False)
