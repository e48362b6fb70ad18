"""The way in and out of the console: signing in with a key or the admin token, signing out, and what needs neither.

A wrong credential is slowed by the client's address, as at every other door. What is shown is kept nowhere: the
browser gets a session of its own.
"""

import hmac
from typing import Any, Final

import structlog
from litestar import Request, Response

from gateway import errors
from gateway.bootstrap import House
from gateway.tenancy import keytext, sessions
from gateway.tenancy.sessions import Begun
from service import callers, front
from service.console import assets, chrome, faults, forms, parts, visits
from service.console.handlers import does, shows
from service.console.paper import leave

#: Longer than any key; an admin token of more characters than this would be no token.
_CREDENTIAL_MAX: Final = 4096
_YEAR_S: Final = 31_536_000
_NOWHERE: Final = "unknown"

log = structlog.get_logger(__name__)


@shows(faults.SIGN_IN, "signIn", open_to_all=True)
async def page(request: Request[Any, Any, Any]) -> Response[str]:
    """The form to sign in with."""
    return _form(request, request.query_params.get("next"))


@does(faults.SIGN_IN, "beginSession", open_to_all=True)
async def sign_in(request: Request[Any, Any, Any]) -> Response[str]:
    """Begin a session, and go where one wanted to."""
    forms.require_own(request)
    form = await forms.read(request)
    house, back = front.of(request).house, form.get("next")
    try:
        begun = await _begin(request, house, form.get("credential", ""))
    except errors.NotAuthenticated:
        return _form(request, back, "This is no living key, and not the admin token.", 401)
    await visits.leave(request)
    log.info("signed_in", session_id=begun.session.id, key_id=begun.session.key_id)
    return leave(faults.within(back), {"Set-Cookie": visits.cookie(house, begun.text)})


@does("/console/sign-out", "endSession")
async def sign_out(request: Request[Any, Any, Any]) -> Response[str]:
    """End the session, in the store and in the browser."""
    visit, _ = await visits.submit(request)
    await visits.leave(request)
    # What the browser keeps of a team's pictures goes with the session.
    gone = {"Set-Cookie": visits.cookie(visit.house, None), "Clear-Site-Data": '"cache"'}
    return leave(faults.SIGN_IN, gone)


@does("/console/theme", "setTheme", open_to_all=True)
async def set_theme(request: Request[Any, Any, Any]) -> Response[str]:
    """Remember light, dark, or whatever the browser prefers."""
    forms.require_own(request)
    form = await forms.read(request)
    chosen = form.get("theme", "")
    known = chosen in chrome.THEMES
    words = [f"{chrome.THEME}={chosen if known else ''}", "Path=/console", "HttpOnly", "SameSite=Lax"]
    words.append(f"Max-Age={_YEAR_S if known else 0}")
    return leave(faults.within(form.get("back")), {"Set-Cookie": "; ".join(words)})


@shows(f"{assets.PREFIX}/{{mark:str}}/{{name:str}}", "asset", open_to_all=True)
async def asset(request: Request[Any, Any, Any]) -> Response[bytes]:
    """A style or a script, for good."""
    found = parts.of(request).paper.assets.by_url.get(request.url.path)
    if found is None:
        raise errors.NotFound
    headers = {"Cache-Control": f"public, max-age={_YEAR_S}, immutable", "Cross-Origin-Resource-Policy": "same-origin"}
    return Response(found.data, media_type=found.media_type, headers=headers)


def _form(
    request: Request[Any, Any, Any], back: str | None, mistake: str | None = None, status: int = 200
) -> Response[str]:
    return chrome.bare(
        request, "sign_in.html", title="Sign in", status=status, back=faults.within(back), mistake=mistake
    )


async def _begin(request: Request[Any, Any, Any], house: House, credential: str) -> Begun:
    """A session of whoever that is. Raises ``NotAuthenticated``, ``RateLimited`` or ``StoreUnavailable``."""
    text = credential[:_CREDENTIAL_MAX]
    now, ring = house.clock.now(), house.keys.sessions
    token = _admin_token(house, text)
    if token is not None:
        async with house.database.write() as tx:
            return await sessions.begin(tx, ring, now, admin_token=token)
    address = _NOWHERE if request.client is None else request.client.host
    if keytext.parse(text) is None:
        # The API lets these pass unslowed, since they guess no key; here they may be guesses at the admin token.
        await house.recogniser.hold_back(address)
        raise errors.NotAuthenticated
    asker = await house.recogniser.recognise(text, address)
    request.state[callers.TEAM] = asker.team.id
    async with house.database.write() as tx:
        return await sessions.begin(tx, ring, now, key_id=asker.key.id)


def _admin_token(house: House, text: str) -> str | None:
    shown, found = text.encode(errors="surrogateescape"), None
    for token in house.settings.admin_token:
        known = token.get_secret_value()
        # Each one is compared, so that the time taken tells nothing about which one matched.
        if hmac.compare_digest(shown, known.encode()):
            found = known
    return found
