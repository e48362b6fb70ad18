"""The cache: what it holds and has saved, and taking answers out of it, of one team or as an operator of all.

The rules and the records are the admin surface's own (``service.admin_cache``). Erases no job and no picture.
"""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Request, Response

from gateway import errors
from gateway.tenancy.scopes import Scope
from service import admin_cache
from service.console import chrome, paper, visits
from service.console.forms import Form
from service.console.handlers import does, shows
from service.console.visits import Visit

PATH: Final = "/console/cache"
EVERYONES: Final = "/console/caches"
_PURGED: Final = "purged"


@shows(PATH, "cache", Scope.MANAGE)
async def page(request: Request[Any, Any, Any]) -> Response[str]:
    """What is kept for the team, by model."""
    visit = await visits.enter(request)
    return await _shown(visit, PATH, visit.of_team.name)


@shows(EVERYONES, "caches", Scope.ADMIN)
async def everyones(request: Request[Any, Any, Any]) -> Response[str]:
    """What is kept for all teams, by team and model."""
    return await _shown(await visits.enter(request), EVERYONES, None)


@does(f"{PATH}/purge", "purgeCache", Scope.MANAGE)
async def purge(request: Request[Any, Any, Any]) -> Response[str]:
    """Take the team's answers out: all, those of a model, or those of a job."""
    visit, form = await visits.submit(request)
    return await _purged(visit, PATH, {"team": visit.of_team.name, **_named(form)})


@does(f"{EVERYONES}/purge", "purgeCaches", Scope.ADMIN)
async def purge_everyones(request: Request[Any, Any, Any]) -> Response[str]:
    """Take answers out: of a team, a model or a job, or all there are for who says so."""
    visit, form = await visits.submit(request)
    wanted: dict[str, object] = {**_named(form), **({"team": team} if (team := form.text("owner")) else {})}
    if not wanted:
        if form.get("all") != "yes":
            raise errors.MissingParameter("Name a team, a model or a job, or tick that everything is meant.")
        wanted = {"all": True}
    return await _purged(visit, EVERYONES, wanted)


def _named(form: Form) -> dict[str, object]:
    """What the form names beside the team."""
    named = {"model": form.text("model"), "jobId": form.text("job")}
    return {name: text for name, text in named.items() if text is not None}


async def _purged(visit: Visit, path: str, wanted: Mapping[str, object]) -> Response[str]:
    """Go back to the page, which says how many are gone."""
    found = await visit.carry_out(admin_cache.PURGE, body=wanted)
    said = "all" if found["done"] and found["immediate"] else "more" if not found["done"] else "late"
    return paper.leave(chrome.link(visit, path, **{_PURGED: str(found["purged"]), "left": said}))


async def _shown(visit: Visit, path: str, team: str | None) -> Response[str]:
    found = await visit.carry_out(admin_cache.READ, query={"team": team})
    lines, query = found["cache"], visit.request.query_params
    purged = query.get(_PURGED, "")
    return chrome.show(
        visit,
        "cache.html",
        title="Cache" if team else "Caches",
        path=path,
        of_one=team is not None,
        lines=lines,
        entries=sum(line["entries"] for line in lines),
        shared=sum(line["shared"] for line in lines),
        reused=sum(line["reused"] for line in lines),
        saved=sum(line["saved"] for line in lines),
        models=list(visit.house.catalogue),
        owners=sorted({line["team"] for line in lines}),
        purged=int(purged) if purged.isascii() and purged.isdigit() and len(purged) < 10 else None,
        left=query.get("left", ""),
    )
