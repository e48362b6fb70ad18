"""Fetches the pictures that an order starts from, as the upstream must. When it does so, and what fails, is assumed.

It calls whatever address an order names, this machine's too, and judges none: whoever may order from an emulator may
have it call anything that it can reach. It is for a machine of one's own, and for tests.
"""

import asyncio
import dataclasses
import hashlib
import io
from typing import Any

import httpx
from PIL import Image

from emulator import order

WITHIN_S = 5.0
LIMIT_BYTES = 32 * 1024 * 1024
OK = 200


class Unfetched(Exception):
    """A picture was not to be had; the message names the parameter."""


class Fetcher:
    """Fetches with no key and no cookie, and follows no redirect."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(trust_env=False, timeout=WITHIN_S)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def fetch(self, wanted: order.Order) -> order.Order:
        """The order with what it starts from; raises `Unfetched` for the first that is no picture."""
        got: list[dict[str, Any]] = []
        settled = dict(wanted.settled)
        for name, row in wanted.model.parameters.items():
            if row.type != "array" or name not in settled:
                continue
            of_this = [await self._one(f"{name}[{place}]", url) for place, url in enumerate(settled[name])]
            # The same pictures are the same order, wherever they were fetched.
            settled[name] = [each["sha256"] for each in of_this]
            got += of_this
        return dataclasses.replace(wanted, settled=settled, references=tuple(got))

    async def _one(self, field: str, url: str) -> dict[str, Any]:
        try:
            async with asyncio.timeout(WITHIN_S), self._client.stream("GET", url) as answer:
                if answer.status_code != OK:
                    raise Unfetched(f"{field} could not be fetched: status {answer.status_code}")
                data = bytearray()
                async for piece in answer.aiter_raw():
                    data += piece
                    if len(data) > LIMIT_BYTES:
                        raise Unfetched(f"{field} is larger than {LIMIT_BYTES} bytes")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError) as error:
            raise Unfetched(f"{field} could not be fetched: {type(error).__name__}") from None
        try:
            width, height = await asyncio.to_thread(_size, bytes(data))
        except Exception as error:  # on hostile bytes a decoder may raise anything
            raise Unfetched(f"{field} is not a picture") from error
        return {
            "field": field,
            "url": url,
            "contentType": answer.headers.get("content-type"),
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "width": width,
            "height": height,
        }


def _size(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as found:
        return found.size
