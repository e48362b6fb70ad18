"""Who is asking, by the ``Authorization`` header alone: a key in the query string is never looked at.

A caller is turned away as unknown only when the store said so; when it could not be asked, that is a 503.
"""

from typing import Any, Final

import structlog
from litestar import Request

from gateway import errors
from gateway.admission.rate import WINDOW_S, Standing
from gateway.jobs.accept import Caller
from gateway.telemetry import access
from gateway.tenancy import recognition
from gateway.tenancy.keys import Key
from gateway.tenancy.scopes import Scope
from service import fields, forwarding, front

#: Where a request's state has the id of the team that asks, once it is known.
TEAM: Final = "team_id"
_SCHEME: Final = "bearer"
#: The peer's address where the server does not know it, as on a Unix socket.
_NOWHERE: Final = "unknown"


async def known(request: Request[Any, Any, Any], *scopes: Scope) -> Key:
    """The living key that was shown, with at least one of ``scopes``; raises what ``recognised`` does."""
    return (await recognised(request, *scopes)).key


async def recognised(request: Request[Any, Any, Any], *scopes: Scope) -> recognition.Caller:
    """The living key that was shown, with at least one of ``scopes``, and what its team is held to.

    Raises ``NotAuthenticated``, ``RateLimited`` (to who keeps trying wrong keys), ``MissingScope`` or
    ``StoreUnavailable``.
    """
    address = _NOWHERE if request.client is None else request.client.host
    found = await front.of(request).house.recogniser.recognise(_shown(request), address)
    structlog.contextvars.bind_contextvars(team_id=found.team.id, key_id=found.key.id)
    request.state[TEAM] = found.team.id
    if found.key.scopes.isdisjoint(scopes):
        wanted = " or ".join(f"`{scope}`" for scope in scopes)
        raise errors.MissingScope(f"This key lacks the scope {wanted}.")
    return found


def caller(key: Key) -> Caller:
    """On whose behalf the house acts for that key."""
    return Caller(team_id=key.team_id, key_id=key.id)


def rate_headers(standing: Standing | None) -> dict[str, str]:
    """How a caller stands with its limits, as draft-ietf-httpapi-ratelimit-headers spells it; nothing if nobody knows.

    The tighter of the key's and the team's is told.
    """
    if standing is None:
        return {}
    return {
        "RateLimit-Policy": f'"{standing.name}";q={standing.limit};w={WINDOW_S}',
        "RateLimit": f'"{standing.name}";r={standing.remaining};t={standing.reset_s}',
    }


def require_watcher(request: Request[Any, Any, Any]) -> None:
    """Return for the holder of ``TORII_METRICS_TOKEN``, or without one, for a peer on this machine; else raise.

    Whoever comes through a proxy is never on this machine: not by its headers, and not by a listed one's silence.
    """
    secret = front.of(request).house.settings.metrics_token
    token = None if secret is None else secret.get_secret_value()
    peer = None if request.client is None or forwarding.PROXIED in request.scope else request.client.host
    host = access.asker(peer, request.headers)
    if access.granted(token, request.headers.get("authorization"), host):
        return
    if token is None:
        raise errors.NotAllowed("Without TORII_METRICS_TOKEN this page answers callers on the same machine only.")
    raise errors.NotAuthenticated("This page needs TORII_METRICS_TOKEN as a bearer token.")


def _shown(request: Request[Any, Any, Any]) -> str:
    scheme, _, text = (fields.first(request, b"authorization") or "").partition(" ")
    if scheme.lower() != _SCHEME or not text.strip():
        raise errors.NotAuthenticated("Send an API key in the header `Authorization: Bearer torii_…`.")
    return text.strip()
