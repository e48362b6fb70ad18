"""Handing out archived pictures by signed links. The signature stands for the key: no header is asked for.

A link is checked before anything is looked up. Pictures never change, so a client may keep one as long as its link.
The bytes come from here or, with ``TORII_IMAGE_DELIVERY=redirect``, from the object store itself.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from litestar import Request, Response, route
from litestar.response import Stream

from gateway import errors
from gateway.archive import links
from gateway.archive.bucket import URL_LIFE_S_MAX
from gateway.bootstrap import House
from gateway.jobs import lookup, purging
from gateway.jobs.record import Image
from gateway.reuse.shelf import Shelf
from service import front

log = structlog.get_logger(__name__)

_HEAD: Final = "HEAD"
_REDIRECT: Final = "redirect"


@route("/images/{name:str}", http_method=["GET", "HEAD"], name="getImage")
async def picture(request: Request[Any, Any, Any]) -> Response[Any]:
    """The bytes, or a 307 to where they are; 304 for a client that has them, 403 for a link that is forged or over."""
    house = front.of(request).house
    image_id, _, extension = request.path_params["name"].rpartition(".")
    expiry, signature = (request.query_params.get(name, "") for name in ("exp", "sig"))
    now = house.clock.now()
    links.verify(house.keys.image_links, image_id, extension, expiry, signature, now)
    async with house.database.read() as connection:
        image = await lookup.image(connection, image_id)
    headers = _headers(image, max_age_s=int(expiry) - int(now.timestamp()))
    if _has_it(request.headers, image):
        return Response(b"", status_code=304, headers=headers)
    if house.settings.image_delivery == _REDIRECT:
        return await _redirect(request, image, int(expiry))
    headers |= {"Content-Length": str(image.size_bytes), "Content-Type": image.content_type}
    if request.method == _HEAD:
        return Response(b"", status_code=200, media_type=image.content_type, headers=headers)
    async with _telling_of_loss(house, image):
        size_bytes, pieces = await house.bucket.stream(image.object_key)
    headers["Content-Length"] = str(size_bytes)
    return Stream(pieces, media_type=image.content_type, headers=headers)


async def _redirect(request: Request[Any, Any, Any], image: Image, ends_at: int) -> Response[bytes]:
    """To the object store, for no longer than the link itself would have worked, whenever it is followed."""
    door = front.of(request)
    async with _telling_of_loss(door.house, image):
        # The store will answer a browser, not us, so a loss has to be seen before.
        await door.presence.require(image.object_key)
    life_s = min(ends_at - int(door.house.clock.now().timestamp()), URL_LIFE_S_MAX)
    if life_s < 1:
        raise errors.BadLink  # it ended while the archive was asked
    # What is signed for GET is refused for HEAD.
    url = await door.house.bucket.url(image.object_key, life_s, "HEAD" if request.method == _HEAD else "GET")
    # Kept for half of its life, so that nobody follows it at its very end, by whosever clock.
    headers = {"Location": url, "Cache-Control": f"private, max-age={life_s // 2}"}
    return Response(b"", status_code=307, headers=headers)


@asynccontextmanager
async def _telling_of_loss(house: House, image: Image) -> AsyncIterator[None]:
    """Where the archive says that the picture is not there, nobody is sent to it by the cache any more."""
    try:
        yield
    except errors.ImageNotFound:
        log.error(  # noqa: TRY400  what was called is of no interest: a paid picture is gone
            "picture_missing_in_archive", job_id=image.job_id, image_id=image.id, object_key=image.object_key
        )
        # Not for a store that is silent: then nothing is known of the picture.
        await purging.missing(house.database, Shelf(house.redis, house.clock, purging.TELL_WITHIN_S), image.object_key)
        raise


def _headers(image: Image, max_age_s: int) -> dict[str, str]:
    return {
        "ETag": _etag(image),
        "Cache-Control": f"private, max-age={max_age_s}, immutable",
        "Content-Disposition": f'inline; filename="{image.id}.{image.extension}"',
        "Accept-Ranges": "none",
        # Somebody else's bytes on our origin: nothing in them may run, whatever a browser takes them for.
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }


def _etag(image: Image) -> str:
    return f'"{image.sha256}"'


def _has_it(headers: Mapping[str, str], image: Image) -> bool:
    """Whether ``If-None-Match`` (RFC 9110 section 13.1.2) lists the picture; compared weakly, as it says."""
    tags = [tag.strip().removeprefix("W/") for tag in headers.get("if-none-match", "").split(",")]
    return "*" in tags or _etag(image) in tags
