"""How the console's routes are declared: what they show or do, and which scopes a session needs for it."""

from collections.abc import Callable
from typing import Any, Final

from litestar import HttpMethod
from litestar.handlers import HTTPRouteHandler

from gateway.tenancy.scopes import Scope
from service.console import visits

#: On a handler that asks for no session.
OPEN: Final = "console_open"
_PREFIX: Final = "console"

Handler = Callable[[Callable[..., Any]], HTTPRouteHandler]


def shows(path: str, name: str, *scopes: Scope, open_to_all: bool = False) -> Handler:
    """A page, for sessions with one of the scopes, or for all sessions."""
    methods = [HttpMethod.GET, HttpMethod.HEAD]
    return _handler(path, methods, name, scopes, open_to_all)


def does(path: str, name: str, *scopes: Scope, open_to_all: bool = False) -> Handler:
    """What a form asks for."""
    return _handler(path, [HttpMethod.POST], name, scopes, open_to_all)


def _handler(
    path: str, methods: list[HttpMethod], name: str, scopes: tuple[Scope, ...], open_to_all: bool
) -> HTTPRouteHandler:
    return HTTPRouteHandler(
        path,
        http_method=methods,
        name=f"{_PREFIX}.{name}",
        status_code=200,
        opt={visits.SCOPES: scopes, OPEN: open_to_all},
    )
