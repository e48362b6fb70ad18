"""Reading a form with one file out of a body that was read whole (RFC 7578). Keeps nothing on a disk."""

import asyncio
from typing import Any, Final

import multipart  # type: ignore[import-untyped]  # it has no types
from litestar import Request

from gateway import errors

MEDIA_TYPE: Final = "multipart/form-data"
FIELD: Final = "file"
#: What a form puts around its one file.
OVERHEAD_BYTES: Final = 16 * 1024
_PIECE_BYTES: Final = 256 * 1024
_PARTS_MAX: Final = 8


async def file(content_type: str, body: bytes) -> bytes:
    """The bytes of the form's field ``file``; ``MalformedBody`` for what is no form, or which field is wrong."""
    _, options = multipart.parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if not boundary:
        raise errors.MalformedBody("The form's Content-Type names no boundary.")
    # Of a large file this takes as long as many requests do.
    parts = await asyncio.to_thread(_parts, boundary, body)
    for name, _ in parts:
        if name != FIELD:
            raise errors.UnknownParameter(f"the form has one field, {FIELD}, and not {name[:40]!r}", param=name[:40])
    if not parts:
        raise errors.MissingParameter(f"{FIELD} is required", param=FIELD)
    if len(parts) > 1:
        raise errors.InvalidParameter(f"{FIELD}: one file for each upload", param=FIELD)
    return parts[0][1]


def media_type(request: Request[Any, Any, Any]) -> str:
    """What the request's body says to be, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _parts(boundary: str, body: bytes) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytearray]] = []
    view = memoryview(body)
    try:
        with multipart.PushMultipartParser(boundary, max_segment_count=_PARTS_MAX, strict=True) as parser:
            for start in range(0, len(body), _PIECE_BYTES):
                for event in parser.parse(bytes(view[start : start + _PIECE_BYTES])):
                    if isinstance(event, multipart.MultipartSegment):
                        found.append((event.name or "", bytearray()))
                    elif event:
                        found[-1][1].extend(event)
    except (multipart.MultipartError, UnicodeError) as error:
        raise errors.MalformedBody(f"The body is not a form: {str(error)[:100]}.") from None
    return [(name, bytes(data)) for name, data in found]
