"""The audit log: who changed what, before and after, for an operator."""

import json
from collections.abc import Mapping
from typing import Any, Final

from litestar import Request, Response

from gateway.tenancy.scopes import Scope
from service import admin_books
from service.console import chrome, visits
from service.console.handlers import shows

PATH: Final = "/console/audit"
_FILTERS: Final = ("team", "actor", "action", "subject")
_PAGE: Final = "50"


@shows(PATH, "audit", Scope.ADMIN)
async def page(request: Request[Any, Any, Any]) -> Response[str]:
    """The records, newest first."""
    visit = await visits.enter(request)
    asked = {name: request.query_params.get(name, "").strip() for name in _FILTERS}
    query = {**asked, "limit": _PAGE, "cursor": request.query_params.get("cursor")}
    found = await visit.carry_out(admin_books.AUDIT, query=query)
    cursor = found["nextCursor"]
    more = chrome.link(visit, PATH, **{**asked, "cursor": cursor}) if cursor else None
    block = "rows" if "cursor" in request.query_params else "results"
    records = [{**record, "changes": _changes(record["before"], record["after"])} for record in found["records"]]
    return chrome.show(visit, "audit.html", title="Audit log", block=block, records=records, more=more, asked=asked)


def _changes(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    """What is different, member by member: its name, how it was, how it is."""
    was, is_now = before or {}, after or {}
    names = [name for name in {**was, **is_now} if was.get(name) != is_now.get(name)]
    return [(name, _said(was, name), _said(is_now, name)) for name in names]


def _said(members: Mapping[str, Any], name: str) -> str:
    if name not in members:
        return ""
    value = members[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
