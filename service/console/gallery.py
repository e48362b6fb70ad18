"""The gallery: every picture that the team has, newest first, by model, day and words. Shows small copies."""

from typing import Any, Final

from litestar import Request, Response

from gateway.jobs import browsing
from gateway.tenancy.scopes import Scope
from service.console import chrome, jobs, visits
from service.console.handlers import shows

PATH: Final = "/console/gallery"
_PAGE: Final = 30


@shows(PATH, "gallery", Scope.READ, Scope.GENERATE)
async def page(request: Request[Any, Any, Any]) -> Response[str]:
    """The pictures, a page at a time."""
    visit = await visits.enter(request)
    filters = jobs.asked(request)
    async with visit.house.database.read() as connection:
        found, next_cursor = await browsing.pictures(
            connection, visit.of_team.id, filters.wanted(visit), jobs.cursor(request, _PAGE)
        )
    more = chrome.link(visit, PATH, **filters.query, cursor=next_cursor) if next_cursor else None
    block = "tiles" if "cursor" in request.query_params else "results"
    return chrome.show(
        visit,
        "gallery.html",
        title="Gallery",
        block=block,
        pictures=found,
        more=more,
        asked=filters,
        models=list(visit.house.catalogue),
    )
