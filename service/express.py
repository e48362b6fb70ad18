"""The three routes that are asked most, past the framework's own machinery: a hit and a read are a third of its cost.

Calls the very handlers and error answers that the framework would, with the same request. Whatever is not plainly one
of those routes (another method, an odd path or host) goes through the framework, which knows what to say to it.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from litestar import Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.status_codes import HTTP_200_OK
from litestar.types import ASGIApp, HTTPResponseStartEvent, Receive, Scope, Send

Handler = Callable[[Request[Any, Any, Any]], Awaitable[Response[Any]]]
Fault = Callable[[Request[Any, Any, Any], Exception], Response[Any]]

#: What common callers send; the framework looks at the others.
_HOST: Final = re.compile(rb"[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?")
_PARAMETER: Final = re.compile(r"\{(\w+):str\}")
#: Of a parameter: letters that mean nothing in a path.
_PLAIN: Final = r"([0-9A-Za-z._-]{1,64})"


@dataclass(frozen=True)
class Way:
    """One route: its method, its path, and who answers."""

    method: str
    path: re.Pattern[str]
    names: tuple[str, ...]
    #: As the framework names it, which is what metrics are labelled with.
    template: str
    handler: Handler


def way(method: str, route: HTTPRouteHandler) -> Way:
    """The way to a handler of one path."""
    (path,) = route.paths
    pieces = [re.escape(piece) for piece in _PARAMETER.split(path)[::2]]
    return Way(
        method=method,
        path=re.compile(_PLAIN.join(pieces)),
        names=tuple(_PARAMETER.findall(path)),
        template=_PARAMETER.sub(r"{\1}", path),
        handler=cast("Handler", route.fn),
    )


class Express:
    """An ASGI app before the framework's."""

    def __init__(self, inner: ASGIApp, ways: tuple[Way, ...], faults: Mapping[Any, Fault]) -> None:
        self._inner = inner
        self._ways = ways
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or have the framework serve it."""
        asgi: dict[str, Any] = scope  # type: ignore[assignment]  # the framework's type knows no members of ours
        found = self._find(asgi)
        if found is None:
            await self._inner(scope, receive, send)
            return
        request: Request[Any, Any, Any] = Request(scope, receive, send)
        try:
            answer = await found.handler(request)
        except Exception as error:  # noqa: BLE001  the last of the answers to faults is the one to bugs
            answer = self._fault(error)(request, error)
        if not isinstance(answer.content, bytes) or not answer.content or answer.background is not None:
            await answer.to_asgi_response(None, request)(scope, receive, send)
            return
        start: HTTPResponseStartEvent = {
            "type": "http.response.start",
            "status": answer.status_code or HTTP_200_OK,
            "headers": _headers(answer),
        }
        await send(start)
        await send({"type": "http.response.body", "body": answer.content, "more_body": False})

    def _find(self, asgi: dict[str, Any]) -> Way | None:
        path, method = asgi["path"], asgi["method"]
        for each in self._ways:
            if each.method == method and (match := each.path.fullmatch(path)):
                host = next((value for name, value in asgi["headers"] if name == b"host"), b"")
                if asgi.get("root_path") or not _HOST.fullmatch(host):
                    return None
                asgi["path_params"] = dict(zip(each.names, match.groups(), strict=True))
                asgi["path_template"] = each.template
                return each
        return None

    def _fault(self, error: Exception) -> Fault:
        return next(self._faults[kind] for kind in type(error).__mro__ if kind in self._faults)


def _headers(answer: Response[bytes]) -> list[tuple[bytes, bytes]]:
    told = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    if answer.media_type is not None:
        told.append((b"content-type", str(answer.media_type).encode("latin-1")))
    told.append((b"content-length", str(len(answer.content)).encode()))
    return told
