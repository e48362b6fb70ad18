"""Where a team's credits went: by day against its budget, by model, by key, and what reuse has saved. Reads only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from litestar import Request, Response

from gateway.ledger import budgets, entries, usage
from gateway.ledger.budgets import Standing, Window
from gateway.ledger.usage import By, Span, Usage
from gateway.money import MICROS_PER_CREDIT
from gateway.reuse import standing
from gateway.reuse.standing import Savings
from gateway.tenancy import keys
from gateway.tenancy.scopes import Scope
from service.console import chrome, paper, plots, visits
from service.console.handlers import shows
from service.console.plots import Column, Plot

PATH: Final = "/console/usage"
#: How many days may be looked at; the first is looked at unless another is asked for.
DAYS: Final = (30, 7, 90)


@dataclass(frozen=True)
class Line:
    """One group of a table: its name, its sums, and what was saved of it."""

    name: str
    sums: Usage
    saved: Savings


@shows(PATH, "usage", Scope.READ, Scope.MANAGE)
async def page(request: Request[Any, Any, Any]) -> Response[str]:
    """Plots, with the same in tables."""
    visit = await visits.enter(request)
    asked = request.query_params.get("days", "")
    length = int(asked) if asked.isdigit() and int(asked) in DAYS else DAYS[0]
    days = _days(visit.now, length)
    team_id, span = visit.of_team.id, Span(visit.of_team.id, days[0])
    saved_span = standing.Span(team_id, since=days[0])
    async with visit.house.database.read() as connection:
        by_day = {each.group[0]: each for each in await usage.summed(connection, By.DAY, span)}
        by_model = await usage.summed(connection, By.MODEL, span)
        by_key = await usage.summed(connection, By.KEY, span)
        names = await keys.names(connection, {each.group[1] for each in by_key})
        saved_by_day = await standing.saved(connection, ("day",), saved_span)
        saved_by_model = await standing.saved(connection, ("model",), saved_span)
        standings = await budgets.standing(connection, team_id, visit.now)
        month = await usage.summed(connection, By.DAY, Span(team_id, f"{entries.windows(visit.now).month}-01"))
    of_team = [each for each in standings if not each.budget.key_id]
    lines = [Line(day, by_day.get(day, Usage((day,))), saved_by_day.get((day,), Savings())) for day in days]
    models = {each.group[0] for each in by_model} | {group[0] for group in saved_by_model}
    sums = {each.group[0]: each for each in by_model}
    return chrome.show(
        visit,
        "usage.html",
        title="Usage",
        days=length,
        choices=DAYS,
        daily=_daily(lines, _limit(of_team, Window.DAY)),
        monthly=_monthly(visit.now, month, _limit(of_team, Window.MONTH)),
        lines=[line for line in lines if line.sums.jobs or line.sums.spent_micros or line.saved.answers],
        models=_dearest(
            [Line(name, sums.get(name, Usage((name,))), saved_by_model.get((name,), Savings())) for name in models]
        ),
        keys=_dearest([Line(names.get(each.group[1], "by the team"), each, Savings()) for each in by_key]),
        total=usage.total(list(by_day.values())),
        saved=Savings(
            sum(each.answers for each in saved_by_day.values()), sum(each.micros for each in saved_by_day.values())
        ),
        standings=standings,
    )


def _days(now: datetime, length: int) -> list[str]:
    today = now.date()
    return [(today - timedelta(days=back)).isoformat() for back in range(length - 1, -1, -1)]


def _limit(standings: Sequence[Standing], window: Window) -> float | None:
    found = next((each for each in standings if each.budget.window is window), None)
    return None if found is None else found.budget.limit_micros / MICROS_PER_CREDIT


def _daily(lines: Sequence[Line], limit: float | None) -> Plot:
    columns = []
    for line in lines:
        at = date.fromisoformat(line.name)
        parts = (
            ("s1", "spent", line.sums.spent_micros),
            ("s3", "held", line.sums.held_micros),
            ("s2", "saved", line.saved.micros),
        )
        said = [
            (kind, micros / MICROS_PER_CREDIT, f"{at.day} {at:%b}: {paper.credits_of(micros)} credits {what}")
            for kind, what, micros in parts
        ]
        columns.append(Column(f"{at.day} {at:%b}", said))
    named = "" if limit is None else f"daily budget {limit:,g}"
    return plots.stacked(columns, limit, named)


def _monthly(now: datetime, month: Sequence[Usage], limit: float | None) -> Plot:
    """What was spent since the month began, day upon day, up to today."""
    spent: Mapping[str, int] = {each.group[0]: each.spent_micros + each.held_micros for each in month}
    columns, so_far = [], 0
    for number in range(1, now.day + 1):
        day = now.date().replace(day=number)
        so_far += spent.get(day.isoformat(), 0)
        said = f"until {day.day} {day:%b}: {paper.credits_of(so_far)} credits"
        columns.append(Column(f"{day.day} {day:%b}", [("s1", so_far / MICROS_PER_CREDIT, said)]))
    named = "" if limit is None else f"monthly budget {limit:,g}"
    return plots.stacked(columns, limit, named)


def _dearest(lines: list[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: (line.sums.spent_micros, line.saved.micros), reverse=True)
