"""The playground: a form for each model, the price before it is paid, and the picture as it comes.

Orders in the name of the key that is signed in, held to all that an order over the API is held to.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response

from gateway import errors, ids
from gateway.images.model import Model
from gateway.jobs import accept, quote, traced
from gateway.jobs.quote import Quote
from gateway.tenancy.scopes import Scope
from service import caching
from service.console import chrome, fields, paper, progress, snippets, visits
from service.console.forms import Form
from service.console.handlers import does, shows
from service.console.visits import Visit

PATH: Final = "/console/playground"
#: Priced in place of a prompt that is not written yet: no price depends on the words.
_SOME_PROMPT: Final = "a torii gate in rain"
_ONCE_MAX: Final = 40

log = structlog.get_logger(__name__)


@shows(PATH, "playground", Scope.GENERATE, Scope.READ, Scope.ADMIN)
async def page(request: Request[Any, Any, Any]) -> Response[str]:
    """The form, empty or as an earlier job had it."""
    visit = await visits.enter(request)
    if not visit.can_order:
        return chrome.show(visit, "playground_closed.html", title="Playground")
    model, given = await _beginning(visit)
    return chrome.show(
        visit,
        "playground.html",
        title="Playground",
        block="form",
        models=list(visit.house.catalogue),
        model=model,
        fields=fields.of(model, given),
        once=ids.base62(22),
        quote=None,
        mistake=None,
        snippets=snippets.of(visit.house.settings.public_url, model.api_id, {"prompt": _SOME_PROMPT}),
    )


@does(f"{PATH}/quote", "quote", Scope.GENERATE)
async def price(request: Request[Any, Any, Any]) -> Response[str]:
    """What the form as it stands would cost, and the code of this very call."""
    visit, form = await visits.submit(request)
    model = visit.house.catalogue.model(form.get("model", ""))
    asked = fields.body(model, form)
    found, mistake = await _quoted(visit, model, {**asked, "prompt": asked.get("prompt") or _SOME_PROMPT})
    shown = {**asked, "prompt": asked.get("prompt") or _SOME_PROMPT}
    return chrome.show(
        visit,
        "quote.html",
        title="Quote",
        quote=found,
        mistake=mistake,
        snippets=snippets.of(visit.house.settings.public_url, model.api_id, shown),
    )


@does(f"{PATH}/run", "run", Scope.GENERATE)
async def run(request: Request[Any, Any, Any]) -> Response[str]:
    """Order the picture, once however often the form is sent; then how it comes along."""
    visit, form = await visits.submit(request)
    house = visit.house
    model = house.catalogue.model(form.get("model", ""))
    body = fields.body(model, form)
    asker = visit.asked_by
    with caching.counted(house, asker):
        accepted = await accept.accept(
            house.counter,
            visit.caller,
            model.api_id,
            body,
            _idempotency_key(form, body),
            house.gate.of(asker),
            caching.wish(request, asker),
        )
    caching.told(house, asker, accepted, visit.now)
    traced.ordered(house.traces, accepted.job)
    structlog.contextvars.bind_contextvars(job_id=accepted.job.id)
    log.info("ordered_in_console", key_id=asker.key.id)
    if not visit.in_htmx:
        return paper.leave(chrome.link(visit, f"/console/jobs/{accepted.job.id}"))
    shown = await progress.of(visit, accepted.job.id)
    reused = accepted.answer is not None
    # The next order of this form is a new one.
    return chrome.show(
        visit, "progress.html", title="Progress", block="ordered", shown=shown, once=ids.base62(22), reused=reused
    )


def _idempotency_key(form: Form, body: Mapping[str, object]) -> str:
    """The same for the same form with the same content: a button pressed twice orders once, a changed text anew."""
    content = hashlib.sha256(msgspec.json.encode(body, order="deterministic")).hexdigest()
    return f"console-{form.get('once', '')[:_ONCE_MAX]}-{content[:32]}"


async def _beginning(visit: Visit) -> tuple[Model, Mapping[str, Any]]:
    """The model and what its fields begin with: an earlier job's, if the address names one."""
    asked, house = visit.request.query_params, visit.house
    if named := asked.get("from"):
        job = await progress.job(visit, named)
        if job.model in house.catalogue.models:
            given = {**job.parameters, **({"seed": asked["seed"]} if asked.get("seed", "").isdigit() else {})}
            return house.catalogue.model(job.model), given
    chosen = asked.get("model")
    if chosen:
        return house.catalogue.model(chosen), {"prompt": asked.get("prompt", "")}
    return next(iter(house.catalogue)), {}


async def _quoted(visit: Visit, model: Model, body: Mapping[str, object]) -> tuple[Quote | None, str | None]:
    """The quote, or what is wrong with the form."""
    house = visit.house
    try:
        found = await quote.quote(
            house.counter,
            visit.caller,
            model.api_id,
            body,
            house.settings.upstream_concurrency,
            caching.wish(visit.request, visit.asked_by),
            house.gate.policies.of(visit.asked_by.team),
        )
    except (errors.InvalidRequest, errors.NotAllowed) as error:
        return None, error.message
    return found, None
