"""Batches: the list, one with its items, and taking back what of it waits. Translates; the house decides."""

from dataclasses import dataclass
from typing import Any, Final

from litestar import Request, Response

from gateway import errors
from gateway.jobs import batches, lookup
from gateway.jobs.batches import Batch, Count
from gateway.tenancy import keys
from gateway.tenancy.scopes import Scope
from service.console import chrome, jobs, visits
from service.console.handlers import does, shows
from service.console.names import checked_id
from service.console.visits import Visit

PATH: Final = "/console/batches"
_PAGE: Final = 40
#: A batch has more places than this nowhere.
_PLACE_DIGITS: Final = 4


@dataclass(frozen=True)
class Shown:
    """A batch, and how its jobs stand."""

    batch: Batch
    counted: Count

    @property
    def state(self) -> str:
        """As the API says it."""
        if self.batch.finished_at is not None:
            return "finished"
        return "running" if self.batch.cancelled_at is None else "cancelling"

    @property
    def ended(self) -> int:
        """How many of its jobs have."""
        return self.counted.jobs.get("completed", 0) + self.counted.jobs.get("failed", 0)

    @property
    def failed(self) -> int:
        """How many of them brought nothing, and were not taken back."""
        return self.counted.jobs.get("failed", 0) - self.counted.cancelled

    @property
    def told(self) -> list[tuple[str, int]]:
        """How many of its jobs stand how, in words; what none does is left out, but for what was made."""
        counts, cancelled = self.counted.jobs, self.counted.cancelled
        found = [
            ("completed", counts.get("completed", 0)),
            ("under way", counts.get("processing", 0)),
            ("waiting", counts.get("pending", 0)),
            ("failed", self.failed),
            ("taken back", cancelled),
        ]
        return [(word, number) for word, number in found if number or word == "completed"]


@shows(PATH, "batches", Scope.READ, Scope.GENERATE)
async def page(request: Request[Any, Any, Any]) -> Response[str]:
    """The team's batches, newest first."""
    visit = await visits.enter(request)
    async with visit.house.database.read() as connection:
        found, next_cursor = await batches.page(
            connection, visit.of_team.id, visit.own_key_alone, jobs.cursor(request, _PAGE)
        )
        counted = await batches.count(connection, [batch.id for batch in found])
        names = await keys.names(connection, {batch.key_id for batch in found})
    return chrome.show(
        visit,
        "batches.html",
        title="Batches",
        block="rows" if "cursor" in request.query_params else "results",
        batches=[Shown(batch, counted[batch.id]) for batch in found],
        names=names,
        more=chrome.link(visit, PATH, cursor=next_cursor) if next_cursor else None,
    )


@shows(f"{PATH}/{{batch:str}}", "batch", Scope.READ, Scope.GENERATE)
async def one(request: Request[Any, Any, Any]) -> Response[str]:
    """A batch: how far it is, what it cost, and its items, a page at a time."""
    visit = await visits.enter(request)
    place = _place(request)
    async with visit.house.database.read() as connection:
        batch = await batches.find(connection, visit.of_team.id, _named(request), visit.own_key_alone)
        counted = await batches.count(connection, [batch.id])
        items, following = await batches.items(connection, batch, _PAGE, place)
        shown = await lookup.all_shown(connection, [job for job, _ in items])
        names = await keys.names(connection, {batch.key_id})
    return chrome.show(
        visit,
        "batch.html",
        title="Batch",
        block="live",
        shown=Shown(batch, counted[batch.id]),
        items=[(job, images) for job, (_, images) in zip(shown, items, strict=True)],
        key_name=names.get(batch.key_id, batch.key_id),
        here_again=_page_link(visit, batch, place),
        earlier=_page_link(visit, batch, max(place - _PAGE, 0)) if place else None,
        later=None if following is None else _page_link(visit, batch, following),
    )


@does(f"{PATH}/{{batch:str}}/cancel", "cancelBatch", Scope.GENERATE)
async def cancel(request: Request[Any, Any, Any]) -> Response[str]:
    """Send nothing more of a batch, and take back what waits."""
    visit, _ = await visits.submit(request)
    house = visit.house
    batch = await batches.cancel(house.database, house.clock, visit.of_team.id, _named(request), visit.own_key_alone)
    await house.queue.deliver(hint=batch.id)
    return chrome.done(visit, f"{PATH}/{batch.id}", "batch-cancelled")


def _named(request: Request[Any, Any, Any]) -> str:
    try:
        return checked_id(request.path_params["batch"])
    except errors.JobNotFound:
        raise errors.BatchNotFound(param="batchId") from None


def _place(request: Request[Any, Any, Any]) -> int:
    """The place of the first item on the page; the beginning for what is no place."""
    text = request.query_params.get("from", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _PLACE_DIGITS else 0


def _page_link(visit: Visit, batch: Batch, place: int) -> str:
    return chrome.link(visit, f"{PATH}/{batch.id}", **{"from": place or None})
