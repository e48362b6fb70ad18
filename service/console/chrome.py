"""What surrounds every page: where one is, where one may go, and what just happened. Renders; decides nothing.

A page is shown whole, or for htmx the one block of it that changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode

from litestar import Request, Response

from gateway.tenancy.scopes import Scope
from service import problems
from service.console import parts
from service.console.paper import leave
from service.console.visits import Visit

HOME: Final = "/console"
INSTALLATION: Final = "/console/installation"
THEME: Final = "torii_theme"
THEMES: Final = ("light", "dark")

GENERATE, READ, MANAGE, ADMIN = Scope.GENERATE, Scope.READ, Scope.MANAGE, Scope.ADMIN


@dataclass(frozen=True)
class Place:
    """A page in the menu."""

    label: str
    path: str
    icon: str
    scopes: tuple[Scope, ...]


OF_TEAM: Final = (
    Place("Overview", HOME, "home", ()),
    Place("Playground", "/console/playground", "spark", (GENERATE,)),
    Place("Gallery", "/console/gallery", "grid", (READ, GENERATE)),
    Place("Jobs", "/console/jobs", "list", (READ, GENERATE)),
    Place("Batches", "/console/batches", "stack", (READ, GENERATE)),
    Place("Usage", "/console/usage", "chart", (READ, MANAGE)),
    Place("Keys", "/console/keys", "key", (MANAGE,)),
    Place("Webhooks", "/console/webhooks", "hook", (MANAGE,)),
    Place("Cache", "/console/cache", "again", (MANAGE,)),
)
OF_OPERATOR: Final = (
    Place("Overview", INSTALLATION, "home", (ADMIN,)),
    Place("Teams", "/console/teams", "team", (ADMIN,)),
    Place("Budgets", "/console/budgets", "coin", (ADMIN,)),
    Place("Ledger", "/console/ledger", "lines", (ADMIN,)),
    Place("Queue", "/console/queue", "queue", (ADMIN,)),
    Place("Unknown", "/console/unknown", "doubt", (ADMIN,)),
    Place("Upstream", "/console/upstream", "cloud", (ADMIN,)),
    Place("Caches", "/console/caches", "again", (ADMIN,)),
    Place("Audit log", "/console/audit", "book", (ADMIN,)),
)

#: What a page says after a form was carried out, by the word that its address then has.
DONE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cancelled": "The job was taken back. Nothing was charged.",
        "erased": "The job is erased: what it was asked for, and its pictures. Its ids and amounts stay.",
        "batch-cancelled": "Nothing more of the batch is sent. What waits is taken back within seconds.",
        "key-revoked": "The key is revoked. Within a second no door takes it any more.",
        "webhook-saved": "The webhook's address is saved.",
        "webhook-removed": "The webhook's address is removed. Ends of jobs are no longer told.",
        "replayed": "The message is on its way once more, under the same id.",
        "team-made": "The team is there. Make a key for it next.",
        "team-drained": "The team takes no new orders. What it has goes on.",
        "team-undrained": "The team takes orders again.",
        "limits-saved": "The limits are saved.",
        "budget-saved": "The budget is saved, and in force for the next order.",
        "budget-removed": "The budget is removed.",
        "paused": "Nothing more is sent upstream of it. Accepted jobs wait.",
        "resumed": "It is sent upstream again.",
        "settled": "The submission is settled, and the ledger with it.",
        "nudged": "The workers were told to look at the job.",
        "upstream-resumed": "Submitting goes on at once.",
        "topup-noted": "The credits are noted.",
        "priced": "The price is in force.",
    }
)


def link(visit: Visit, path: str, **query: str | int | None) -> str:
    """An address within the console that stays with the page's team."""
    team = visit.team
    named = None if team is None or (visit.own and "team" not in visit.request.query_params) else team.name
    asked = {"team": named, **query} if visit.operator else dict(query)
    said = urlencode({name: value for name, value in asked.items() if value not in (None, "")})
    return f"{path}?{said}" if said else path


def show(visit: Visit, template: str, *, title: str, block: str | None = None, **more: Any) -> Response[str]:  # noqa: ANN401
    """The page, or for htmx that block of it."""
    paper = parts.of(visit.request).paper
    context = {**_context(visit, title), **more}
    if block is not None and visit.in_htmx:
        return paper.fragment(template, block, context)
    return paper.page(template, context)


def bare(
    request: Request[Any, Any, Any], template: str, *, title: str, status: int = 200, **more: object
) -> Response[str]:
    """A page for somebody of whom nothing is known."""
    return parts.of(request).paper.page(template, {**_always(request, title), **more}, status)


def done(visit: Visit, path: str, word: str) -> Response[str]:
    """Go on to a page that says what was done."""
    return leave(link(visit, path, done=word))


def theme(request: Request[Any, Any, Any]) -> str:
    """The theme that was chosen; ``auto`` leaves it to the browser."""
    chosen = request.cookies.get(THEME, "")
    return chosen if chosen in THEMES else "auto"


def _always(request: Request[Any, Any, Any], title: str) -> dict[str, Any]:
    return {
        "title": title,
        "theme": theme(request),
        "request_id": str(request.scope.get(problems.REQUEST_ID, "none")),
        "here": request.url.path,
        "here_whole": _whole(request),
        "visit": None,
    }


def _context(visit: Visit, title: str) -> dict[str, Any]:
    def linked(path: str, **query: str | int | None) -> str:
        return link(visit, path, **query)

    return {
        **_always(visit.request, title),
        "visit": visit,
        "now": visit.now,
        "csrf": visit.session.csrf,
        "link": linked,
        "of_team": [place for place in OF_TEAM if _shown(visit, place)],
        "of_operator": OF_OPERATOR if visit.operator else (),
        "notice": DONE.get(visit.request.query_params.get("done", "")),
    }


def _shown(visit: Visit, place: Place) -> bool:
    if not place.scopes:
        return True
    return visit.team is not None and visit.may(*place.scopes)


def _whole(request: Request[Any, Any, Any]) -> str:
    """Where one is, to come back to; a notice is not said twice."""
    kept = [(name, text) for name, text in request.query_params.multi_items() if name != "done"]
    return f"{request.url.path}?{urlencode(kept)}" if kept else request.url.path
