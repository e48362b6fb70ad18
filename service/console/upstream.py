"""The upstream, the queue before it, and what is in doubt: for an operator. Each deed is the admin surface's own."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from litestar import Request, Response

from gateway import errors
from gateway.jobs import admin, lanes
from gateway.jobs.admin import Filter
from gateway.jobs.states import State
from gateway.ledger import usage
from gateway.ledger.usage import By, Span, Usage
from gateway.money import MICROS_PER_CREDIT
from gateway.storage.pages import Slice
from gateway.tenancy import teams
from gateway.tenancy.scopes import Scope
from service import admin_jobs, admin_upstream
from service.console import chrome, paper, visits
from service.console.handlers import does, shows
from service.console.names import checked_id

PATH: Final = "/console/upstream"
QUEUE: Final = "/console/queue"
UNKNOWN: Final = "/console/unknown"
#: A runway is told by what was spent in as many whole days.
_RUNWAY_DAYS: Final = 7
_DOUBTS: Final = Slice(100)


@shows(QUEUE, "queue", Scope.ADMIN)
async def queue(request: Request[Any, Any, Any]) -> Response[str]:
    """What each team has waiting and under way; the part that changes asks for itself again."""
    visit = await visits.enter(request)
    pauses = (await visit.carry_out(admin_upstream.LIST_PAUSES))["pauses"]
    async with visit.house.database.read() as connection:
        found = await lanes.lanes(connection)
        workers = await lanes.crew(connection)
        ids = {lane.team_id for lane in found} | {each["subject"] for each in pauses if each["scope"] == "team"}
        names = await teams.names(connection, ids)
    return chrome.show(
        visit,
        "queue.html",
        title="Queue",
        block="lanes",
        lanes=found,
        names=names,
        pauses=pauses,
        workers=workers,
        paused_all=any(each["scope"] == "all" for each in pauses),
        models=list(visit.house.catalogue),
    )


@does(f"{QUEUE}/pause", "pause", Scope.ADMIN)
async def pause(request: Request[Any, Any, Any]) -> Response[str]:
    """Send nothing more of everything, or of a model; or send it again."""
    visit, form = await visits.submit(request)
    back, model, team = form.get("back") == "yes", form.text("model"), form.text("team_id")
    body: dict[str, object] = {"team": team} if team else {"model": model} if model else {"all": True}
    await visit.carry_out(admin_upstream.RESUME if back else admin_upstream.PAUSE, body=body)
    return chrome.done(visit, QUEUE, "resumed" if back else "paused")


@shows(UNKNOWN, "unknown", Scope.ADMIN)
async def unknown(request: Request[Any, Any, Any]) -> Response[str]:
    """Submissions whose answer was lost, each with what is known of it and how it can be settled."""
    visit = await visits.enter(request)
    async with visit.house.database.read() as connection:
        found, _ = await admin.page(connection, Filter(state=State.SUBMISSION_UNKNOWN), _DOUBTS)
        names = await teams.names(connection, {job.team_id for job in found})
        attempts = {job.id: await admin.attempts(connection, job.id) for job in found}
    return chrome.show(visit, "unknown.html", title="Unknown submissions", jobs=found, names=names, attempts=attempts)


@does(f"{UNKNOWN}/{{job:str}}/settle", "settle", Scope.ADMIN)
async def settle(request: Request[Any, Any, Any]) -> Response[str]:
    """End the doubt: charged, not charged, or found as the upstream's job."""
    visit, form = await visits.submit(request)
    verdict, found = form.get("verdict"), form.text("upstream_job")
    body: dict[str, object] = {"upstreamJobId": found} if verdict == "found" else {"verdict": verdict or ""}
    if verdict == "found" and found is None:
        raise errors.MissingParameter("upstream job: give its id", param="upstreamJobId")
    await visit.carry_out(admin_jobs.SETTLE, {"job": checked_id(request.path_params["job"])}, body=body)
    return chrome.done(visit, UNKNOWN, "settled")


@shows(PATH, "upstream", Scope.ADMIN)
async def page(request: Request[Any, Any, Any]) -> Response[str]:
    """The account's health, how long its credits last, and the prices in force."""
    visit = await visits.enter(request)
    account = await visit.carry_out(admin_upstream.STATUS)
    models = (await visit.carry_out(admin_upstream.LIST_MODELS))["models"]
    since, today = visit.now.date() - timedelta(days=_RUNWAY_DAYS), visit.now.date()
    async with visit.house.database.read() as connection:
        week = await usage.summed(connection, By.DAY, Span(since=since.isoformat(), until=today.isoformat()))
        day = await usage.summed(connection, By.DAY, Span(since=today.isoformat()))
        row = await admin.account(connection)
        workers = await lanes.crew(connection)
    spent_micros = _spent(week)
    return chrome.show(
        visit,
        "upstream.html",
        title="Upstream",
        account=account,
        models=models,
        spent_today_micros=_spent(day),
        a_day=round(spent_micros / _RUNWAY_DAYS / MICROS_PER_CREDIT, 1),
        runway_days=runway_days(row.remaining_micros, spent_micros, _RUNWAY_DAYS),
        workers=workers,
        rests=account["pausedUntil"] is not None and row.paused_until > visit.now,
        broken=row.breaker_until is not None and row.breaker_until > visit.now,
    )


@does(f"{PATH}/resume", "resumeUpstream", Scope.ADMIN)
async def resume(request: Request[Any, Any, Any]) -> Response[str]:
    """Submit again at once."""
    visit, _ = await visits.submit(request)
    await visit.carry_out(admin_upstream.RESUME_UPSTREAM)
    return chrome.done(visit, PATH, "upstream-resumed")


@does(f"{PATH}/topup", "topup", Scope.ADMIN)
async def topup(request: Request[Any, Any, Any]) -> Response[str]:
    """Note credits that were put into the account."""
    visit, form = await visits.submit(request)
    body: dict[str, object] = {"credits": form.amount("credits") or 0, "reference": form.text("reference")}
    await visit.carry_out(admin_upstream.TOPUP, body=body)
    return chrome.done(visit, PATH, "topup-noted")


@does(f"{PATH}/price", "price", Scope.ADMIN)
async def price(request: Request[Any, Any, Any]) -> Response[str]:
    """Set what one picture costs."""
    visit, form = await visits.submit(request)
    credits = form.amount("credits")
    if credits is None:
        raise errors.MissingParameter("credits: say what one picture costs", param="credits")
    place = {"model": form.get("model", ""), "resolution": form.get("resolution", "")}
    await visit.carry_out(admin_upstream.PUT_PRICE, place, body={"credits": credits})
    return chrome.done(visit, PATH, "priced")


@does(f"{QUEUE}/{{job:str}}/nudge", "nudge", Scope.ADMIN)
async def nudge(request: Request[Any, Any, Any]) -> Response[str]:
    """Have the workers look at a job now."""
    visit, _ = await visits.submit(request)
    job_id = checked_id(request.path_params["job"])
    await visit.carry_out(admin_jobs.REQUEUE, {"job": job_id})
    return paper.leave(chrome.link(visit, f"/console/jobs/{job_id}", done="nudged"))


def runway_days(balance_micros: int | None, spent_micros: int, days: int) -> float | None:
    """For how many days a balance lasts at the pace of those days; none where nobody can tell."""
    if balance_micros is None or spent_micros <= 0:
        return None
    return max(balance_micros, 0) / (spent_micros / days)


def _spent(found: Sequence[Usage]) -> int:
    return sum(each.spent_micros + each.held_micros for each in found)
