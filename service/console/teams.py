"""All teams, one team's limits and budgets, and all budgets: for an operator."""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Request, Response

from gateway import errors
from gateway.ledger import budgets, usage
from gateway.ledger.budgets import Window
from gateway.ledger.usage import By, Span
from gateway.tenancy import teams
from gateway.tenancy.scopes import Scope
from service import admin_budgets, admin_keys, admin_teams, admin_upstream
from service.console import chrome, paper, visits
from service.console.handlers import does, shows

PATH: Final = "/console/teams"
BUDGETS: Final = "/console/budgets"
_LIMITS: Final = ("rpm", "concurrency", "queueDepth", "maxQueueS")
_NAME_MAX: Final = 80
_MOST_KEYS: Final = "200"


@shows(PATH, "teams", Scope.ADMIN)
async def page(request: Request[Any, Any, Any]) -> Response[str]:
    """The teams by name, with what each spent this month, and a form for a new one."""
    visit = await visits.enter(request)
    query = {"limit": "100", "cursor": request.query_params.get("cursor")}
    found = await visit.carry_out(admin_teams.LIST, query=query)
    async with visit.house.database.read() as connection:
        month = await usage.summed(connection, By.TEAM, Span(since=f"{visit.now:%Y-%m}-01"))
        standings = await budgets.everyone(connection, visit.now)
    tightest: dict[str, budgets.Standing] = {}
    for each in standings:
        known = tightest.get(each.budget.team_id)
        if known is None or each.left_micros < known.left_micros:
            tightest[each.budget.team_id] = each
    return chrome.show(
        visit,
        "teams.html",
        title="Teams",
        teams=found["teams"],
        more=chrome.link(visit, PATH, cursor=found["nextCursor"]) if found["nextCursor"] else None,
        month={each.group[0]: each for each in month},
        tightest=tightest,
    )


@does(f"{PATH}/make", "makeTeam", Scope.ADMIN)
async def make(request: Request[Any, Any, Any]) -> Response[str]:
    """A new team, with a budget if one was named."""
    visit, form = await visits.submit(request)
    body: dict[str, object] = {"name": form.text("name") or ""}
    if (limit := form.amount("limit")) is not None:
        body["budgets"] = [{"window": form.text("window") or "month", "limit": limit}]
    made = await visit.carry_out(admin_teams.CREATE, body=body)
    return paper.leave(f"{PATH}/{made['name']}?done=team-made")


@shows(f"{PATH}/{{name:str}}", "team", Scope.ADMIN)
async def one(request: Request[Any, Any, Any]) -> Response[str]:
    """One team: what it is held to, what is left to it, and what can be done about it."""
    visit = await visits.enter(request)
    named = {"team": _name(request)}
    found = await visit.carry_out(admin_teams.READ, named)
    listed = await visit.carry_out(admin_keys.LIST, named, query={"limit": _MOST_KEYS})
    pauses = (await visit.carry_out(admin_upstream.LIST_PAUSES))["pauses"]
    return chrome.show(
        visit,
        "team.html",
        title=found["name"],
        team=found,
        keys={key["id"]: key["name"] for key in listed["keys"]},
        paused=any(pause["scope"] == "team" and pause["subject"] == found["id"] for pause in pauses),
        windows=list(Window),
    )


@does(f"{PATH}/{{name:str}}/limits", "setLimits", Scope.ADMIN)
async def limits(request: Request[Any, Any, Any]) -> Response[str]:
    """Change what a team is held to; a limit that is left blank stays, but jobs at once then have none."""
    visit, form = await visits.submit(request)
    wanted: dict[str, object] = {name: count for name in _LIMITS if (count := form.count(name)) is not None}
    wanted.setdefault("concurrency", None)
    await visit.carry_out(admin_teams.CHANGE, {"team": _name(request)}, body=wanted)
    return _done(request, "limits-saved")


@does(f"{PATH}/{{name:str}}/drain", "drainTeam", Scope.ADMIN)
async def drain(request: Request[Any, Any, Any]) -> Response[str]:
    """Let a team take no new orders, or take them again."""
    visit, form = await visits.submit(request)
    back = form.get("back") == "yes"
    await visit.carry_out(admin_teams.UNDRAIN if back else admin_teams.DRAIN, {"team": _name(request)})
    return _done(request, "team-undrained" if back else "team-drained")


@does(f"{PATH}/{{name:str}}/pause", "pauseTeam", Scope.ADMIN)
async def pause(request: Request[Any, Any, Any]) -> Response[str]:
    """Send nothing more of a team, or send it again."""
    visit, form = await visits.submit(request)
    back = form.get("back") == "yes"
    deed = admin_upstream.RESUME if back else admin_upstream.PAUSE
    await visit.carry_out(deed, body={"team": _name(request)})
    return _done(request, "resumed" if back else "paused")


@does(f"{PATH}/{{name:str}}/budget", "setBudget", Scope.ADMIN)
async def set_budget(request: Request[Any, Any, Any]) -> Response[str]:
    """Set the budget of a window, or take it away."""
    visit, form = await visits.submit(request)
    place: Mapping[str, str] = {"team": _name(request), "window": form.get("window", "")}
    query = {"key": form.text("key")}
    if form.get("remove") == "yes":
        await visit.carry_out(admin_budgets.DELETE, place, query=query)
        return _done(request, "budget-removed")
    limit = form.amount("limit")
    if limit is None:
        raise errors.MissingParameter("limit: say how many credits", param="limit")
    body: dict[str, object] = {"limit": limit, "soft": form.amount("soft")}
    await visit.carry_out(admin_budgets.PUT, place, query=query, body=body)
    return _done(request, "budget-saved")


@shows(BUDGETS, "budgets", Scope.ADMIN)
async def all_budgets(request: Request[Any, Any, Any]) -> Response[str]:
    """Every team's budgets, the fullest first, and the teams that have none."""
    visit = await visits.enter(request)
    async with visit.house.database.read() as connection:
        standings = await budgets.everyone(connection, visit.now)
        everyone = await teams.listing(connection)
    names = {team.id: team.name for team in everyone}
    shown = [each for each in standings if each.budget.team_id in names]
    limited = {each.budget.team_id for each in shown}
    return chrome.show(
        visit,
        "budgets.html",
        title="Budgets",
        standings=sorted(shown, key=_fullness, reverse=True),
        names=names,
        without=[team for team in everyone if team.id not in limited],
    )


def _fullness(each: budgets.Standing) -> float:
    used = each.spent_micros + each.held_micros
    return used / each.budget.limit_micros if each.budget.limit_micros else float(used > 0)


def _name(request: Request[Any, Any, Any]) -> str:
    name: str = request.path_params["name"]
    if not name.isprintable() or len(name) > _NAME_MAX:
        raise errors.TeamNotFound(param="team")
    return name


def _done(request: Request[Any, Any, Any], word: str) -> Response[str]:
    return paper.leave(f"{PATH}/{_name(request)}?done={word}")
