"""JSON answers in the house's spelling. Decides no status."""

from collections.abc import Mapping

from litestar import Response

from service import wire


def json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    """The answer with that value as its body."""
    return ready(encoded(value), status, headers)


def encoded(value: object) -> bytes:
    """The value as the body of an answer."""
    return wire.encode(value)


def ready(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    """The answer with that body."""
    return Response(
        body,
        status_code=status,
        media_type="application/json",
        headers=dict(headers) if headers else None,
    )
