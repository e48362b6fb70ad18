"""What went wrong, told to people: a page, or for htmx a notice in the page that is open. Decides no status.

Whoever is not signed in is sent to sign in, and comes back to where it was.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit

from litestar import Request, Response

from gateway import errors
from service.console import chrome
from service.console.paper import leave

SIGN_IN: Final = "/console/sign-in"
#: An address within the console: plain segments and a query, so that nobody is ever sent to another site.
_WITHIN: Final = re.compile(r"/console(?:/[A-Za-z0-9_.~-]+)*(?:\?[A-Za-z0-9_.~%=&+:-]*)?", re.ASCII)
_INSIDE: Final = "/console"

Error = TypeVar("Error", bound=Exception)
Answering = Callable[[Request[Any, Any, Any], Error], Response[bytes]]


def shown_by(answer: Answering[Error]) -> Callable[[Request[Any, Any, Any], Error], Response[Any]]:
    """That way to answer an error, with pages where a page was asked for.

    The house's own answer is made first: what it logs and counts is the same for both.
    """

    def either(request: Request[Any, Any, Any], error: Error) -> Response[Any]:
        told = answer(request, error)
        path = request.url.path
        if path != _INSIDE and not path.startswith(f"{_INSIDE}/"):
            return told
        if isinstance(error, errors.NotAuthenticated):
            return _to_sign_in(request)
        return _page(request, error, told)

    return either


def within(address: str | None) -> str:
    """That address if it is one of the console's, else the console's own."""
    return address if address and len(address) < 2000 and _WITHIN.fullmatch(address) else _INSIDE


def _to_sign_in(request: Request[Any, Any, Any]) -> Response[Any]:
    if request.headers.get("hx-request") == "true":
        current = urlsplit(request.headers.get("hx-current-url", ""))
        answer = leave(_sign_in(f"{current.path}?{current.query}" if current.query else current.path))
        answer.status_code = 401
        answer.headers["HX-Redirect"] = answer.headers.pop("Location")
        return answer
    if request.method not in ("GET", "HEAD"):
        return leave(SIGN_IN)
    query = request.url.query
    return leave(_sign_in(f"{request.url.path}?{query}" if query else request.url.path))


def _sign_in(back: str) -> str:
    back = within(back)
    return SIGN_IN if back == _INSIDE else f"{SIGN_IN}?{urlencode({'next': back})}"


def _page(request: Request[Any, Any, Any], error: Exception, told: Response[bytes]) -> Response[Any]:
    status = told.status_code or 500
    title, advice = _ADVICE.get(status, ("That did not work", ""))
    message = error.message if isinstance(error, errors.ToriiError) and status < 500 else ""
    found = {"code": status, "advice": advice, "message": message}
    if request.headers.get("hx-request") == "true":
        answer = chrome.bare(request, "notice.html", title=title, status=status, **found)
        # What was there stays; the notice has a place of its own.
        answer.headers |= {"HX-Retarget": "#notices", "HX-Reswap": "innerHTML show:top"}
    else:
        answer = chrome.bare(request, "fault.html", title=title, status=status, **found)
    for name in ("Retry-After", "Allow"):
        if name in told.headers:
            answer.headers[name] = told.headers[name]
    return answer


_ADVICE: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        400: ("That cannot be", "Change what the message names and send it again."),
        402: ("The budget is used up", "An operator can raise the budget; it also begins anew with its window."),
        403: ("Not allowed", "Sign in with a key that has the scope, or ask whoever manages your team's keys."),
        404: ("Not here", "It may belong to another team, or be gone. The menu leads to what is here."),
        405: ("Not this way", "Open the page from the menu."),
        409: ("Not in this state", "Load the page anew to see how it stands now."),
        413: ("Too large", "Send less at once."),
        429: ("Too many at once", "Wait a moment and try again."),
        500: ("A fault of ours", "Nothing you did wrong. The request's id below finds it in the logs."),
        503: ("A part does not answer", "Nothing is lost, and accepted jobs go on. Try again in a few seconds."),
    }
)
