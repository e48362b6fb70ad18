"""Reading a request's JSON body: bounded in size, time and depth before anything looks at it. Knows no field.

Of two members of one name the last counts, as in every common reader of JSON (RFC 8259 section 4 leaves it open).
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
from litestar import Request

from gateway import errors
from service import fields

MAX_BYTES: Final = 128 * 1024
READ_WITHIN_S: Final = 10.0
#: Bodies are flat but for the caller's own metadata; what is deeper would overflow whoever walks it next.
MAX_DEPTH: Final = 32

_JSON: Final = "application/json"
_OPENING: Final = (b"[", b"{")


async def json_object(request: Request[Any, Any, Any], most_bytes: int = MAX_BYTES) -> dict[str, object]:
    """The body of a request that must be a JSON object.

    Raises ``UnsupportedMediaType``, ``BodyTooLarge`` (as soon as that is sure), ``BodyTooSlow`` or ``MalformedBody``.
    """
    return parse(await json_bytes(request, most_bytes))


async def json_bytes(request: Request[Any, Any, Any], most_bytes: int = MAX_BYTES) -> bytes:
    """The body of a request that says that it is JSON; raises as ``json_object``, but for what is no JSON."""
    _require_json(request)
    return await read(request, most_bytes)


def parse(body: bytes) -> dict[str, object]:
    """The JSON object of those bytes; ``MalformedBody`` says where they cease to be one."""
    try:
        decoded = msgspec.json.decode(body)
    except UnicodeDecodeError:
        raise errors.MalformedBody("The body is not UTF-8.") from None
    except RecursionError:
        raise _too_deep() from None
    except msgspec.DecodeError as error:
        raise errors.MalformedBody(f"The body is not JSON: {error}") from None
    if not isinstance(decoded, dict):
        raise errors.MalformedBody
    if sum(body.count(bracket) for bracket in _OPENING) > MAX_DEPTH:
        _require_shallow(decoded)
    return decoded


def _require_json(request: Request[Any, Any, Any]) -> None:
    media_type, _, parameters = (fields.first(request, b"content-type") or "").partition(";")
    if media_type.strip().lower() != _JSON:
        raise errors.UnsupportedMediaType
    for parameter in parameters.split(";") if parameters else ():
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in {"utf-8", "utf8"}:
            raise errors.UnsupportedMediaType("The body must be sent in UTF-8.")
    encoding = fields.first(request, b"content-encoding")
    if encoding is not None and encoding.strip().lower() != "identity":
        raise errors.UnsupportedMediaType("The body must be sent without a content encoding.")


async def read(
    request: Request[Any, Any, Any], most_bytes: int = MAX_BYTES, came: Callable[[int], None] | None = None
) -> bytes:
    """The bytes of a request's body. Raises ``BodyTooLarge``, ``BodyTooSlow`` or ``MalformedBody``.

    ``came`` is told how many came with each piece, and may raise what ends the reading.
    """
    declared = fields.first(request, b"content-length") or ""
    digits = declared.isascii() and declared.isdigit()
    if digits and (len(declared) > len(str(most_bytes)) or int(declared) > most_bytes):
        raise _too_large(most_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            while True:
                message = await request.receive()
                if message["type"] != "http.request":
                    # Nobody is left to read this answer.
                    raise errors.MalformedBody("The connection was closed before the body was complete.")
                if came is not None:
                    came(len(message["body"]))
                body += message["body"]
                if len(body) > most_bytes:
                    raise _too_large(most_bytes)
                if not message["more_body"]:
                    return bytes(body)
    except TimeoutError:
        raise errors.BodyTooSlow(f"The body did not arrive within {READ_WITHIN_S:g} s.") from None


def _require_shallow(decoded: dict[str, object]) -> None:
    level: list[dict[str, object] | list[object]] = [decoded]
    for _ in range(MAX_DEPTH):
        members = (value.values() if isinstance(value, dict) else value for value in level)
        level = [inner for outer in members for inner in outer if isinstance(inner, (dict, list))]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> errors.MalformedBody:
    return errors.MalformedBody(f"The body is nested deeper than {MAX_DEPTH} levels.")


def _too_large(most_bytes: int) -> errors.BodyTooLarge:
    return errors.BodyTooLarge(f"The body is larger than the {most_bytes} bytes that this route takes.")
