"""A request's header fields, looked up where the server left them: no handler needs more than a few of them.

The framework would first make a mapping of all, which costs more than the looks.
"""

from typing import Any

from litestar import Request


def first(request: Request[Any, Any, Any], name: bytes) -> str | None:
    """The value of the first line of that name, which is in lower case (ASGI)."""
    for key, value in request.scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return None


def joined(request: Request[Any, Any, Any], name: bytes) -> str:
    """All lines of that name as one (RFC 9110 section 5.3); nothing where there is none."""
    lines = [value for key, value in request.scope["headers"] if key == name]
    return b", ".join(lines).decode("latin-1") if lines else ""
