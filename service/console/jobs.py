"""Jobs: the list with its filters, one job with all that happened to it, and taking one back."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from litestar import Request, Response

from gateway import errors
from gateway.jobs import admin, browsing, delivery_log, desk, erasing, lookup
from gateway.jobs.browsing import Wanted
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.storage.pages import Slice
from gateway.tenancy import keys
from gateway.tenancy.scopes import Scope
from service import admin_jobs
from service.console import chrome, paper, progress, timeline, visits
from service.console.handlers import does, shows
from service.console.names import checked_id
from service.console.timeline import Reader
from service.console.visits import Visit

PATH: Final = "/console/jobs"
_PAGE: Final = 40
_SAID_MAX: Final = 200
_DELIVERIES: Final = Slice(20)


@dataclass(frozen=True)
class Asked:
    """What a list was asked for, as the address says it."""

    model: str = ""
    state: str = ""
    since: str = ""
    until: str = ""
    said: str = ""

    @property
    def narrowed(self) -> bool:
        """Whether anything at all is left out."""
        return any((self.model, self.state, self.since, self.until, self.said))

    @property
    def query(self) -> Mapping[str, str]:
        """As it stands in an address."""
        named = {"model": self.model, "state": self.state, "since": self.since, "until": self.until, "q": self.said}
        return {name: text for name, text in named.items() if text}

    def wanted(self, visit: Visit) -> Wanted:
        """As the house is asked; ``InvalidParameter`` for a day that is none."""
        until = _day("until", self.until)
        return Wanted(
            model=self.model or None,
            state=State(self.state) if self.state else None,
            since=_day("since", self.since),
            until=None if until is None else until + timedelta(days=1),
            said=self.said or None,
            key_id=visit.own_key_alone,
        )


def asked(request: Request[Any, Any, Any]) -> Asked:
    """What the address asks for; what it says wrongly is left out."""
    query = request.query_params
    texts = {name: query.get(name, "").strip()[:_SAID_MAX] for name in ("model", "state", "since", "until", "q")}
    texts = {name: text if text.isprintable() else "" for name, text in texts.items()}
    state = texts["state"] if texts["state"] in {each.value for each in State} else ""
    return Asked(texts["model"], state, texts["since"], texts["until"], texts["q"])


def cursor(request: Request[Any, Any, Any], limit: int) -> Slice:
    """Which page of a list."""
    return Slice(limit, request.query_params.get("cursor") or None)


@shows(PATH, "jobs", Scope.READ, Scope.GENERATE)
async def page(request: Request[Any, Any, Any]) -> Response[str]:
    """The team's jobs, newest first."""
    visit = await visits.enter(request)
    filters = asked(request)
    async with visit.house.database.read() as connection:
        found, next_cursor = await browsing.jobs(
            connection, visit.of_team.id, filters.wanted(visit), cursor(request, _PAGE)
        )
        found = await lookup.all_shown(connection, found)
        names = await keys.names(connection, {job.key_id for job in found})
    more = chrome.link(visit, PATH, **filters.query, cursor=next_cursor) if next_cursor else None
    block = "rows" if "cursor" in request.query_params else "results"
    return chrome.show(
        visit,
        "jobs.html",
        title="Jobs",
        block=block,
        jobs=found,
        names=names,
        more=more,
        asked=filters,
        states=list(State),
        models=list(visit.house.catalogue),
    )


@shows(f"{PATH}/{{job:str}}", "job", Scope.READ, Scope.GENERATE, Scope.ADMIN)
async def one(request: Request[Any, Any, Any]) -> Response[str]:
    """One job: what it gave or why not, what it was asked, and all that happened to it."""
    visit = await visits.enter(request)
    job_id = checked_id(request.path_params["job"])
    if visit.team is None:
        # An operator follows a job's id: the team is whose it is.
        return paper.leave(f"{PATH}/{job_id}?team={(await _anyones(visit, job_id)).team_id}")
    shown = await progress.of(visit, job_id)
    async with visit.house.database.read() as connection:
        attempts = await admin.attempts(connection, shown.job.id)
        wanted = delivery_log.Filter(visit.of_team.id, shown.job.id)
        deliveries, _ = await delivery_log.page(connection, wanted, _DELIVERIES)
        names = await keys.names(connection, {shown.job.key_id})
    return chrome.show(
        visit,
        "job.html",
        title="Job",
        block="live",
        shown=shown,
        moments=timeline.of(shown.job, attempts, deliveries, Reader(visit.operator, visit.may(Scope.MANAGE))),
        attempts=attempts,
        key_name=names.get(shown.job.key_id, shown.job.key_id),
    )


@shows(f"{PATH}/{{job:str}}/progress", "progress", Scope.READ, Scope.GENERATE)
async def part(request: Request[Any, Any, Any]) -> Response[str]:
    """How a job comes along: the part of a page that asks for itself again."""
    visit = await visits.enter(request)
    shown = await progress.of(visit, checked_id(request.path_params["job"]))
    return chrome.show(visit, "progress_part.html", title="Progress", shown=shown)


@does(f"{PATH}/{{job:str}}/cancel", "cancel", Scope.GENERATE, Scope.ADMIN)
async def cancel(request: Request[Any, Any, Any]) -> Response[str]:
    """Take a queued job back."""
    visit, _ = await visits.submit(request)
    job_id = checked_id(request.path_params["job"])
    if visit.can_order:
        whole_team = visit.may(Scope.READ)
        await desk.cancel(visit.house.counter, visit.caller, job_id, whole_team=whole_team)
    else:
        await visit.carry_out(admin_jobs.CANCEL, {"job": job_id})
    return chrome.done(visit, f"{PATH}/{job_id}", "cancelled")


@does(f"{PATH}/{{job:str}}/erase", "erase", Scope.MANAGE)
async def erase(request: Request[Any, Any, Any]) -> Response[str]:
    """Erase what a job was asked for and its pictures, for who has said that nothing brings them back."""
    visit, form = await visits.submit(request)
    job_id = checked_id(request.path_params["job"])
    if form.get("sure") != "yes":
        raise errors.MissingParameter("Nothing brings it back: tick that you know.", param="sure")
    await erasing.erase(visit.house.counter, visit.authority.actor, visit.of_team.id, job_id)
    return chrome.done(visit, f"{PATH}/{job_id}", "erased")


async def _anyones(visit: Visit, job_id: str) -> Job:
    if not visit.operator:
        raise errors.JobNotFound
    async with visit.house.database.read() as connection:
        return await admin.find(connection, job_id)


def _day(name: str, text: str) -> datetime | None:
    try:
        return None if not text else datetime.combine(date.fromisoformat(text), time(), UTC)
    except (ValueError, OverflowError):
        raise errors.InvalidParameter(f"{name}: use a day such as 2026-11-23", param=name) from None
