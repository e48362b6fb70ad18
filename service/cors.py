"""Pages of other origins in a browser: which may call the API and read its answers (``TORII_CORS_ORIGINS``).

Of the Fetch standard's CORS protocol, without credentials: callers show a key, never a cookie. Not for the console, the
admin API, metrics or health, whatever is set. A preflight is answered by the route itself, so that what it says of
methods is so; this only adds headers.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gateway.settings.shapes import ANY_ORIGIN

#: Below these is what teams' keys and signed links are for, and the document that describes it.
OPEN: Final = ("/api/v1/", "/v1/", "/images/", "/uploads/", "/schema/openapi.json")
#: What a page may read of an answer beside the few headers that it always may.
EXPOSED: Final = (
    "Age",
    "Allow",
    "Cache-Status",
    "Content-Disposition",
    "ETag",
    "Idempotent-Replayed",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-ID",
    "X-Should-Retry",
)
#: How long a browser need not ask again; none remembers it for longer than two hours.
REMEMBERED_S: Final = 3600
_EXPOSED: Final = ", ".join(EXPOSED).encode()
#: Names of headers, as a browser lists them; what else is asked for is not granted.
_NAMES: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-zA-Z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9a-zA-Z-]+)*")
_NAMES_BYTES_MAX: Final = 2048

Fields = list[tuple[bytes, bytes]]


class Cors:
    """An ASGI app around another one."""

    def __init__(self, inner: ASGIApp, origins: Sequence[str]) -> None:
        self._inner = inner
        self._any = ANY_ORIGIN in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, and say in its answer what a page may do with it."""
        if scope["type"] != ScopeType.HTTP or not scope["path"].startswith(OPEN):
            await self._inner(scope, receive, send)
            return
        asked = list(scope["headers"])
        preflight = scope["method"] == "OPTIONS" and _one(asked, b"access-control-request-method") is not None

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = list(message["headers"])
                message["headers"] = [*answer, *self._fields(asked, answer, preflight=preflight)]
            await send(message)

        await self._inner(scope, receive, told)

    def _fields(self, asked: Fields, answer: Fields, *, preflight: bool) -> Fields:
        origin = _one(asked, b"origin")
        # What is answered to one origin must not be given to another out of a cache, be it allowed or none.
        fields = [] if self._any else [(b"vary", b"Origin")]
        if origin is None or not (self._any or origin in self._origins):
            return fields
        fields.append((b"access-control-allow-origin", b"*" if self._any else origin))
        return fields + (_permissions(asked, answer) if preflight else [(b"access-control-expose-headers", _EXPOSED)])


def _permissions(asked: Fields, answer: Fields) -> Fields:
    """What the request that is asked about may be: by the route's methods, with any headers since none is a secret."""
    fields = [
        (b"vary", b"Access-Control-Request-Headers"),
        (b"access-control-max-age", str(REMEMBERED_S).encode()),
    ]
    methods = _one(answer, b"allow")
    if methods is not None:
        fields.append((b"access-control-allow-methods", methods))
    names = _one(asked, b"access-control-request-headers") or b""
    if len(names) <= _NAMES_BYTES_MAX and _NAMES.fullmatch(names):
        fields.append((b"access-control-allow-headers", names))
    return fields


def _one(fields: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The value of a header that is there at most once; none too where it is there twice and says nothing."""
    found = [value for key, value in fields if key.lower() == name]
    return found[0] if len(found) == 1 else None
