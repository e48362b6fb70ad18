"""Fetching a job's pictures and saving them, each proven by its length and SHA-256. Shows nothing.

The links work without a key, so none is sent: they may lead to an object store.
"""

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from cli import patience, unreachable
from cli.failures import Again, Failure, Status
from cli.frontdoor import Body
from cli.places import Place

_TIMEOUT: Final = httpx.Timeout(60.0, connect=10.0)
#: How long one picture is tried for.
_TRIED_FOR_S: Final = 60.0
#: What no picture of a gateway exceeds; whoever sends more sends something else.
_BYTES_MAX: Final = 256 * 1024 * 1024
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Saved:
    """A picture that is here now."""

    path: Path
    content_type: str
    width: int
    height: int
    size_bytes: int
    data: bytes


async def save(
    body: Body, gateway_url: str, place: Place, told: Callable[[Failure, float], None], back: str
) -> list[Saved]:
    """Save all pictures of a completed job; a ``Failure`` says that they are kept, and the command to come ``back``."""
    assets: list[dict[str, Any]] = body.get("assets", [])
    saved: list[Saved] = []
    async with httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=True) as client:
        for number, asset in enumerate(assets, start=1):
            try:
                data = await _fetched(client, asset, gateway_url, told)
                path = await asyncio.to_thread(
                    place.save, data, body["jobId"], number, len(assets), str(asset["contentType"])
                )
            except Failure as failure:
                raise _kept(failure.code, failure.message, back) from failure
            except OSError as error:
                said = f"a picture could not be saved: {error.filename}: {error.strerror or type(error).__name__}"
                raise _kept("picture_not_saved", said, back) from error
            saved.append(Saved(path, asset["contentType"], asset["width"], asset["height"], len(data), data))
    return saved


async def _fetched(
    client: httpx.AsyncClient, asset: dict[str, Any], gateway_url: str, told: Callable[[Failure, float], None]
) -> bytes:
    """The bytes of one picture, from its link, or from the gateway that was asked where the link leads nowhere."""
    *others, last = _addresses(str(asset["url"]), gateway_url)
    for url in others:
        with suppress(Failure, Again):
            return await _whole(client, url, asset)
    return await patience.patient(partial(_whole, client, last, asset), within_s=_TRIED_FOR_S, told=told)


async def _whole(client: httpx.AsyncClient, url: str, asset: dict[str, Any]) -> bytes:
    host = urlsplit(url).netloc
    try:
        async with client.stream("GET", url) as answer:
            if answer.status_code in _BUSY:
                raise Again(_missing(f"{host} answers with status {answer.status_code}"))
            if not answer.is_success:
                raise _missing(f"{host} answers with status {answer.status_code}")
            data = await _read(answer)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Again(_missing(f"{host}: {unreachable.why(error)}")) from error
    if len(data) != asset["bytes"] or hashlib.sha256(data).hexdigest() != asset["sha256"]:
        raise Again(_missing(f"what {host} sends is not the picture that was made"))
    return data


async def _read(answer: httpx.Response) -> bytes:
    data = bytearray()
    async for part in answer.aiter_bytes():
        data += part
        if len(data) > _BYTES_MAX:
            raise _missing("what is sent is too large for a picture")
    return bytes(data)


def _addresses(url: str, gateway_url: str) -> list[str]:
    """The link, and the same picture at the address under which the gateway was reached: its own may be inside only."""
    link, base = urlsplit(url), urlsplit(gateway_url)
    here = link._replace(scheme=base.scheme, netloc=base.netloc, path=base.path + link.path).geturl()
    return [url] if here == url else [url, here]


def _missing(said: str) -> Failure:
    return Failure("picture_not_fetched", f"a picture could not be fetched: {said}", Status.UNSAVED)


def _kept(code: str, said: str, back: str) -> Failure:
    return Failure(code, f"{said}; the gateway keeps it, so try again with: {back}", Status.UNSAVED)
