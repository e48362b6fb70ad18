"""Watching jobs: one to its end, or all of them as they move. Looks again and again; changes nothing."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from rich import box
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli import screen
from cli.failures import Failure, Status
from cli.reach import Reach
from gateway import errors
from gateway.clock import rfc3339
from gateway.jobs.states import ENDED
from service import admin_jobs

Row = dict[str, Any]

_LOOK_EVERY_S: Final = 0.5
_LIST_EVERY_S: Final = 1.0
#: A gateway or a database that restarts is back within this.
_AWAY_S: Final = 60.0
#: How many of the newest jobs are watched together.
NEWEST: Final = 100
#: What a table needs beside its rows.
_FRAME_ROWS: Final = 5
_COLUMNS: Final = MappingProxyType(
    {
        "id": "ID",
        "state": "STATE",
        "team": "TEAM",
        "model": "MODEL",
        "ageS": "FOR S",
        "credits": "CREDITS",
        "error": "ERROR",
    }
)
_STYLES: Final = MappingProxyType(
    {"completed": "green", "failed": "red", "cancelled": "dim", "submission_unknown": "yellow"}
)


async def one(way: Reach, job_id: str, wait_s: float | None) -> AsyncGenerator[Row]:
    """The job's page now and at each change that its caller can see, until it ends; ``Failure`` when time is over."""
    deadline_s = None if wait_s is None else time.monotonic() + wait_s
    mark: object = None
    away = _Away()
    while True:
        page = await away.ask(way, job_id)
        if page is not None and mark != (mark := (page.get("version"), page["state"], page["status"])):
            yield page
        if page is not None and page["state"] in ENDED:
            return
        if deadline_s is not None and time.monotonic() >= deadline_s:
            raise late(job_id)
        await asyncio.sleep(_LOOK_EVERY_S)


def late(job_id: str) -> Failure:
    """The end of a wait that had one."""
    return Failure("still_running", f"the time is over; job {job_id} goes on", Status.UNFINISHED)


def event(page: Mapping[str, Any]) -> Row:
    """A change of one job, for a line."""
    error = page.get("error", {})
    return {
        "id": page["jobId"],
        "state": page["state"],
        "version": page.get("version"),
        "at": page.get("seenAt") or rfc3339(datetime.now(UTC)),
        "error": error.get("code"),
        "message": error.get("message"),
    }


async def moves(way: Reach, team: str | None) -> AsyncGenerator[Row]:
    """What waits or runs now, then each job that is new or has moved, without an end."""
    known: dict[str, str] = {}
    first = True
    async for rows in _lists(way, team):
        for row in reversed(rows):
            if known.get(row["id"]) != row["state"] and not (first and row["state"] in ENDED):
                yield row
        known, first = {row["id"]: row["state"] for row in rows}, False


async def table(way: Reach, team: str | None) -> None:
    """A table on the terminal that moves with the jobs, without an end."""
    out = screen.console()
    with Live(console=out, auto_refresh=False, screen=False) as live:
        async for rows in _lists(way, team):
            live.update(drawn(rows, out.height, datetime.now(UTC)), refresh=True)


def drawn(rows: list[Row], height: int, now: datetime) -> Group:
    """The table: what has not ended first, as much as the terminal has room for."""
    ordered = sorted(rows, key=lambda row: row["state"] in ENDED)
    shown = ordered[: max(height - _FRAME_ROWS, 1)]
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in _COLUMNS.values():
        made.add_column(heading, no_wrap=True)
    for row in shown:
        told = {**row, "ageS": row["tookS"] if row["tookS"] is not None else _age_s(row, now)}
        style = _STYLES.get(row["state"], "")
        made.add_row(*(Text(screen.plain(told.get(member))) for member in _COLUMNS), style=style)
    counts = Counter(row["state"] for row in rows)
    said = ", ".join(f"{count} {state}" for state, count in counts.most_common()) or "no jobs yet"
    left = len(ordered) - len(shown)
    return Group(made, Text(f"{said}{f' ({left} not shown)' if left else ''}; Ctrl-C ends the watching", style="dim"))


async def _lists(way: Reach, team: str | None) -> AsyncGenerator[list[Row]]:
    away = _Away()
    while True:
        rows = await away.rows(way, team)
        if rows is not None:
            yield rows
        await asyncio.sleep(_LIST_EVERY_S)


class _Away:
    """Patience with a gateway or a store that was there before: none at first, then for as long as a restart takes."""

    def __init__(self) -> None:
        self._seen_s: float | None = None

    async def ask(self, way: Reach, job_id: str) -> Row | None:
        """The job's page; none while nobody answers."""
        try:
            page: Row = await way.ask(admin_jobs.READ, {"job": job_id})
        except (errors.Unavailable, Failure) as error:
            self._missed(error)
            return None
        self._seen_s = time.monotonic()
        return page

    async def rows(self, way: Reach, team: str | None) -> list[Row] | None:
        """The newest jobs; none while nobody answers."""
        try:
            page = await way.ask(admin_jobs.LIST, query={"team": team, "limit": str(NEWEST)})
        except (errors.Unavailable, Failure) as error:
            self._missed(error)
            return None
        self._seen_s = time.monotonic()
        found: list[Row] = page["jobs"]
        return found

    def _missed(self, error: errors.Unavailable | Failure) -> None:
        """Return while it is worth waiting; else raise the error."""
        lasting = isinstance(error, Failure) and error.status is not Status.UNREACHED
        if lasting or self._seen_s is None or time.monotonic() - self._seen_s > _AWAY_S:
            raise error


def _age_s(row: Row, now: datetime) -> int:
    return max(round((now - datetime.fromisoformat(row["createdAt"])).total_seconds()), 0)
