"""The way in for people and tools: what is here, and the OpenAPI document with a page to read it."""

from importlib import metadata
from typing import Any

from litestar import Request, Response, route

from service import answers, front, wire


@route("/", http_method=["GET", "HEAD"], name="welcome")
async def welcome() -> Response[bytes]:
    """What is behind this address."""
    return answers.json(wire.Welcome(name="torii", version=metadata.version("torii"), documentation="/schema"))


@route("/schema", http_method=["GET", "HEAD"], name="documentation")
async def page(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The OpenAPI document as a page that needs no other host and runs no script."""
    return Response(
        front.of(request).page,
        status_code=200,
        media_type="text/html",
        headers={
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
            "Cache-Control": "no-cache",
        },
    )


@route("/schema/openapi.json", http_method=["GET", "HEAD"], name="openapi")
async def openapi(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The OpenAPI document."""
    return Response(
        front.of(request).document,
        status_code=200,
        media_type="application/json",
        headers={"Cache-Control": "no-cache"},
    )
