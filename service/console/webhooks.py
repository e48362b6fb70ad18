"""A team's webhooks: where ends of jobs are told, the secret that signs, each delivery, and sending one again."""

from typing import Any, Final

from litestar import Request, Response

from gateway.tenancy.scopes import Scope
from service import admin_webhooks, webhook_shapes
from service.console import chrome, visits
from service.console.handlers import does, shows
from service.console.names import checked_id
from service.console.visits import Visit

PATH: Final = "/console/webhooks"
_PAGE: Final = "40"


@shows(PATH, "webhooks", Scope.MANAGE)
async def page(request: Request[Any, Any, Any]) -> Response[str]:
    """The address, the secrets without their texts, and the log of deliveries."""
    visit = await visits.enter(request)
    return await _shown(visit, "rows" if "cursor" in request.query_params else "log")


async def _shown(visit: Visit, block: str, made: str | None = None) -> Response[str]:
    named, query = {"team": visit.of_team.name}, visit.request.query_params
    state = query.get("state", "") if query.get("state", "") in webhook_shapes.STATES else ""
    asked = {**named, "limit": _PAGE, "cursor": query.get("cursor"), "state": state}
    found = await visit.carry_out(admin_webhooks.LIST, query=asked)
    cursor = found["nextCursor"]
    return chrome.show(
        visit,
        "webhooks.html",
        title="Webhooks",
        block=block,
        hook=await visit.carry_out(admin_webhooks.READ, named),
        deliveries=found["deliveries"],
        more=chrome.link(visit, PATH, state=state, cursor=cursor) if cursor else None,
        state=state,
        states=webhook_shapes.STATES,
        secret=made,
    )


@does(f"{PATH}/address", "setWebhook", Scope.MANAGE)
async def address(request: Request[Any, Any, Any]) -> Response[str]:
    """Say where ends of jobs are told; nothing says nowhere."""
    visit, form = await visits.submit(request)
    url = form.text("url")
    await visit.carry_out(admin_webhooks.PUT, {"team": visit.of_team.name}, body={"url": url})
    return chrome.done(visit, PATH, "webhook-saved" if url else "webhook-removed")


@does(f"{PATH}/secret", "rotateSecret", Scope.MANAGE)
async def secret(request: Request[Any, Any, Any]) -> Response[str]:
    """A new secret, with its text, which is on this page alone."""
    visit, form = await visits.submit(request)
    named = {"team": visit.of_team.name}
    body: dict[str, object] = {"graceS": (form.count("grace_h") or 0) * 3600}
    made = await visit.carry_out(admin_webhooks.ROTATE, named, body=body)
    return await _shown(visit, "hook", made["secret"])


@shows(f"{PATH}/{{delivery:str}}", "delivery", Scope.MANAGE)
async def one(request: Request[Any, Any, Any]) -> Response[str]:
    """A delivery and each of its tries."""
    visit = await visits.enter(request)
    named = {"delivery": checked_id(request.path_params["delivery"])}
    found = await visit.carry_out(admin_webhooks.READ_DELIVERY, named)
    return chrome.show(visit, "delivery.html", title="Delivery", delivery=found)


@does(f"{PATH}/{{delivery:str}}/replay", "replay", Scope.MANAGE)
async def replay(request: Request[Any, Any, Any]) -> Response[str]:
    """Send a message once more."""
    visit, _ = await visits.submit(request)
    delivery_id = checked_id(request.path_params["delivery"])
    await visit.carry_out(admin_webhooks.REPLAY, {"delivery": delivery_id})
    return chrome.done(visit, f"{PATH}/{delivery_id}", "replayed")
