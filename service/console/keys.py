"""A team's keys: made, rotated, revoked. A key's text is on one page, once, and kept nowhere."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from litestar import Request, Response

from gateway.clock import rfc3339
from gateway.tenancy.scopes import Scope
from service import admin_keys
from service.console import chrome, visits
from service.console.forms import Form
from service.console.handlers import does, shows
from service.console.names import checked_id
from service.console.visits import Visit

PATH: Final = "/console/keys"
_PAGE: Final = "50"
_DAY_S: Final = 86_400
#: What each scope lets a key do, as the page says it.
SCOPES: Final = (
    (Scope.GENERATE, "order pictures, quote them, see the jobs of its own"),
    (Scope.READ, "see all jobs and pictures of the team"),
    (Scope.MANAGE, "make and revoke the team's keys, set its webhooks, delete its jobs"),
    (Scope.ADMIN, "everything, of all teams"),
)


@shows(PATH, "keys", Scope.MANAGE)
async def page(request: Request[Any, Any, Any]) -> Response[str]:
    """The keys, and a form for a new one."""
    return await _shown(await visits.enter(request))


@does(f"{PATH}/make", "makeKey", Scope.MANAGE)
async def make(request: Request[Any, Any, Any]) -> Response[str]:
    """A new key, with its text."""
    visit, form = await visits.submit(request)
    made = await visit.carry_out(admin_keys.CREATE, {"team": visit.of_team.name}, body=_wanted(visit, form))
    return await _shown(visit, made)


@does(f"{PATH}/{{key:str}}/rotate", "rotateKey", Scope.MANAGE)
async def rotate(request: Request[Any, Any, Any]) -> Response[str]:
    """A key in the place of that one, with its text."""
    visit, form = await visits.submit(request)
    body = {"graceS": (form.count("grace_h") or 0) * 3600}
    return await _shown(visit, await visit.carry_out(admin_keys.ROTATE, _named(request), body=body))


@does(f"{PATH}/{{key:str}}/revoke", "revokeKey", Scope.MANAGE)
async def revoke(request: Request[Any, Any, Any]) -> Response[str]:
    """End a key at once."""
    visit, _ = await visits.submit(request)
    await visit.carry_out(admin_keys.REVOKE, _named(request))
    return chrome.done(visit, PATH, "key-revoked")


def _named(request: Request[Any, Any, Any]) -> Mapping[str, str]:
    return {"key": checked_id(request.path_params["key"])}


async def _shown(visit: Visit, made: Mapping[str, Any] | None = None) -> Response[str]:
    cursor = visit.request.query_params.get("cursor")
    query = {"limit": _PAGE, "cursor": cursor}
    found = await visit.carry_out(admin_keys.LIST, {"team": visit.of_team.name}, query=query)
    own = visit.authority.key
    reach = frozenset(Scope) if own is None else own.scopes
    if visit.operator and own is not None:
        reach = frozenset(Scope) - {Scope.ADMIN}
    # The living first, each as old as they come.
    rows = sorted(found["keys"], key=lambda key: key["state"] != "living")
    return chrome.show(
        visit,
        "keys.html",
        title="Keys",
        block="keys",
        keys=rows,
        more=chrome.link(visit, PATH, cursor=found["nextCursor"]) if found["nextCursor"] else None,
        made=made,
        scopes=[(scope, said) for scope, said in SCOPES if scope in reach],
    )


def _wanted(visit: Visit, form: Form) -> dict[str, object]:
    """The body of the deed; what is left blank is left out."""
    days, limit = form.count("expires_days"), form.amount("limit")
    wanted: dict[str, object] = {"name": form.text("name") or "key", "scopes": list(form.all("scopes"))}
    if days:
        wanted["expiresAt"] = rfc3339(visit.now + timedelta(seconds=days * _DAY_S))
    for name in ("rpm", "concurrency"):
        if (count := form.count(name)) is not None:
            wanted[name] = count
    if limit is not None:
        wanted["budgets"] = [{"window": form.text("window") or "month", "limit": limit}]
    return wanted
