"""The first page: how the team stands, or how the installation does. Reads only."""

from collections.abc import Sequence
from typing import Any

from litestar import Request, Response

from gateway.jobs import admin, books, browsing, lookup
from gateway.jobs.browsing import Wanted
from gateway.ledger import budgets, entries, usage
from gateway.ledger.usage import By, Span, Usage
from gateway.storage.pages import Slice
from gateway.tenancy import teams
from gateway.tenancy.scopes import Scope
from service.console import chrome, visits
from service.console.handlers import shows
from service.console.visits import Visit

_LATEST = Slice(8)


@shows(chrome.HOME, "home")
async def page(request: Request[Any, Any, Any]) -> Response[str]:
    """The team's overview; the operator's where no team was chosen."""
    visit = await visits.enter(request)
    return await (_of_installation(visit) if visit.team is None else _of_team(visit))


@shows(chrome.INSTALLATION, "installation", Scope.ADMIN)
async def installation(request: Request[Any, Any, Any]) -> Response[str]:
    """How everything behind this gateway stands."""
    return await _of_installation(await visits.enter(request))


async def _of_team(visit: Visit) -> Response[str]:
    team = visit.of_team
    sees = visit.may(Scope.READ, Scope.GENERATE)
    wanted = Wanted(key_id=visit.own_key_alone)
    async with visit.house.database.read() as connection:
        key_id = visit.asker.key.id if visit.own and visit.asker is not None else None
        standings = await budgets.standing(connection, team.id, visit.now, key_id)
        unfinished = await admin.count_unfinished(connection, team.id)
        pictures = (await browsing.pictures(connection, team.id, wanted, _LATEST))[0] if sees else []
        jobs = (await browsing.jobs(connection, team.id, wanted, _LATEST))[0] if sees else []
        jobs = await lookup.all_shown(connection, jobs)
        month = await usage.summed(connection, By.TEAM, Span(team.id, since=_month_begins(visit)))
    return chrome.show(
        visit,
        "home.html",
        title=team.name,
        standings=standings,
        unfinished=unfinished,
        pictures=pictures,
        jobs=jobs,
        month=_all(month),
        sees=sees,
    )


async def _of_installation(visit: Visit) -> Response[str]:
    async with visit.house.database.read() as connection:
        found = await books.snapshot(connection, visit.now)
        account = await admin.account(connection)
        month = await usage.summed(connection, By.TEAM, Span(since=_month_begins(visit)))
        everyone = await teams.listing(connection)
        names = await teams.names(connection, {each.group[0] for each in month})
    spenders = sorted(month, key=lambda each: each.spent_micros, reverse=True)
    return chrome.show(
        visit,
        "installation.html",
        title="Installation",
        books=found,
        account=account,
        month=_all(month),
        spenders=[(names[each.group[0]], each) for each in spenders[:6]],
        teams=everyone,
    )


def _all(found: Sequence[Usage]) -> Usage:
    return usage.total(found)


def _month_begins(visit: Visit) -> str:
    return f"{entries.windows(visit.now).month}-01"
