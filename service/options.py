"""What a path takes, told to whoever asks by OPTIONS. Asks for no key; what a browser's preflight needs, ``cors`` adds.

The framework answers OPTIONS by itself, but of a path with several handlers it knows the first one's methods alone.
"""

from collections.abc import Iterable

from litestar import HttpMethod, Response
from litestar.handlers import HTTPRouteHandler


def handlers(routes: Iterable[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """One handler for each path; registered before the others, or the framework's own is there first."""
    methods: dict[str, set[str]] = {}
    for route in routes:
        for path in route.paths:
            methods.setdefault(path, {HttpMethod.OPTIONS.value}).update(route.http_methods)
    return [_telling(path, ", ".join(sorted(found))) for path, found in methods.items()]


def _telling(path: str, allowed: str) -> HTTPRouteHandler:
    async def tell() -> Response[None]:
        return Response(None, status_code=204, headers={"Allow": allowed})

    return HTTPRouteHandler(path, http_method=[HttpMethod.OPTIONS], status_code=204)(tell)
