"""JSON answers in the house's spelling. Decides no status."""

from collections.abc import Mapping

from litestar import Response

from service import wire


def json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    """The answer with that value as its body."""
    return Response(
        wire.encode(value),
        status_code=status,
        media_type="application/json",
        headers=dict(headers) if headers else None,
    )
