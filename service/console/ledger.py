"""The ledger: each credit that moved, when, for which job, and what each kind of entry means. For an operator."""

from typing import Any, Final

from litestar import Request, Response

from gateway.ledger.entries import Kind
from gateway.tenancy.scopes import Scope
from service import admin_books
from service.console import chrome, visits
from service.console.handlers import shows

PATH: Final = "/console/ledger"
_FILTERS: Final = ("team", "key", "job")
_PAGE: Final = "50"
_TEXT_MAX: Final = 80
#: What an entry of each kind did to what its team may spend, as the page says it.
KINDS: Final = (
    (Kind.HOLD, "set aside before a job is sent"),
    (Kind.CHARGE, "what the upstream took"),
    (Kind.RELEASE, "the hold, given back"),
    (Kind.REFUND, "given back of a charge"),
    (Kind.ADJUST, "corrected by evidence or by hand"),
)
#: Kinds whose amount leaves the team more to spend.
_BACK: Final = (Kind.RELEASE, Kind.REFUND)


@shows(PATH, "ledger", Scope.ADMIN)
async def page(request: Request[Any, Any, Any]) -> Response[str]:
    """The entries, newest first: all of them, or a team's, a key's, a job's, of one kind."""
    visit = await visits.enter(request)
    texts = {name: request.query_params.get(name, "").strip()[:_TEXT_MAX] for name in _FILTERS}
    asked = {name: text if text.isprintable() else "" for name, text in texts.items()}
    kind = request.query_params.get("kind", "")
    asked["kind"] = kind if kind in {each.value for each in Kind} else ""
    query = {**asked, "limit": _PAGE, "cursor": request.query_params.get("cursor")}
    found = await visit.carry_out(admin_books.LEDGER, query=query)
    cursor = found["nextCursor"]
    back = {each.value for each in _BACK}
    return chrome.show(
        visit,
        "ledger.html",
        title="Ledger",
        block="rows" if "cursor" in request.query_params else "results",
        entries=[{**entry, "back": entry["kind"] in back} for entry in found["entries"]],
        more=chrome.link(visit, PATH, **{**asked, "cursor": cursor}) if cursor else None,
        asked=asked,
        kinds=KINDS,
    )
