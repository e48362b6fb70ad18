"""Pictures as the console's pages show them: under the session, small ones made once. Signs no link.

A browser may keep them for good, since an address names bytes that never change; signing out clears what it kept.
"""

from typing import Any, Final

from litestar import Request, Response
from litestar.response import Stream

from gateway import errors
from gateway.images import thumbnail
from gateway.jobs import browsing
from gateway.jobs.record import Image
from gateway.tenancy.scopes import Scope
from service.console import parts, visits
from service.console.handlers import shows
from service.console.visits import Visit

#: A day: what was erased must not be shown for a year by whoever looked at it once.
_FOR_A_DAY: Final = "private, max-age=86400"
#: In place of a small copy that could not be made: it may be there the next time.
_FOR_NOW: Final = "private, max-age=60"


@shows("/console/pictures/{image:str}", "picture", Scope.READ, Scope.GENERATE)
async def whole(request: Request[Any, Any, Any]) -> Response[Any]:
    """A picture as it was made."""
    visit = await visits.enter(request)
    image = await _image(visit)
    return await _stream(visit, image, _FOR_A_DAY)


@shows("/console/thumbnails/{image:str}", "thumbnail", Scope.READ, Scope.GENERATE)
async def small(request: Request[Any, Any, Any]) -> Response[Any]:
    """A small copy of a picture; the picture itself where there is none."""
    visit = await visits.enter(request)
    image = await _image(visit)
    made = await parts.of(request).thumbnails.fetch(image)
    if made is None:
        return await _stream(visit, image, _FOR_NOW)
    return Response(made, media_type=thumbnail.CONTENT_TYPE, headers=_headers(_FOR_A_DAY))


async def _image(visit: Visit) -> Image:
    """The picture of the path, if it is the team's; an operator's reach has no team."""
    image_id = visit.request.path_params["image"]
    if not image_id.isalnum() and not image_id.replace("_", "").isalnum():
        raise errors.ImageNotFound
    async with visit.house.database.read() as connection:
        found = await browsing.picture(connection, visit.of_team.id, image_id, visit.own_key_alone)
    if found is None:
        raise errors.ImageNotFound
    return found


async def _stream(visit: Visit, image: Image, caching: str) -> Response[Any]:
    headers = _headers(caching)
    if "download" in visit.request.query_params:
        headers["Content-Disposition"] = f'attachment; filename="{image.id}.{image.extension}"'
    if visit.request.method == "HEAD":
        return Response(b"", media_type=image.content_type, headers=headers)
    size_bytes, pieces = await visit.house.bucket.stream(image.object_key)
    return Stream(pieces, media_type=image.content_type, headers={**headers, "Content-Length": str(size_bytes)})


def _headers(caching: str) -> dict[str, str]:
    # Somebody else's bytes on our origin: nothing in them may run, whatever a browser takes them for.
    return {
        "Cache-Control": caching,
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Vary": "Cookie",
    }
