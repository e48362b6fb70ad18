"""``torii jobs``: lists, shows and watches jobs, and asks for an operator's deeds on them. Holds no rule about jobs.

With a team's key instead of an operator's means, what a caller may do is done as the caller.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, TypeVar

import typer

from cli import access, amounts, job_times, job_watch, ordering, own_jobs, places, progress, reach, screen
from cli.access import Access
from cli.failures import Status
from cli.own_jobs import Own
from cli.places import Place
from cli.reach import Reach, TokenFile, Url
from cli.screen import AsJson
from gateway import errors
from gateway.jobs.states import State
from service import admin_jobs

T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="List, show, watch, cancel, requeue, settle and erase jobs."
)

_COLUMNS: Final = MappingProxyType(
    {
        "id": "ID",
        "state": "STATE",
        "team": "TEAM",
        "model": "MODEL",
        "createdAt": "CREATED",
        "tookS": "TOOK S",
        "credits": "CREDITS",
        "error": "ERROR",
        "settlesAt": "SETTLES",
    }
)
#: What of a page is told in lines of its own.
_NESTED: Final = ("assets", "attempts", "output", "error", "parameters", "torii")

JobId = Annotated[str, typer.Argument(metavar="JOB", help="A job's id.")]
KeyFile = Annotated[
    Path | None,
    typer.Option(help="As a caller: a file with a team's key. \\[default: TORII_API_KEY, without an operator's means]"),
]


@app.command("list")
def listing(
    team: Annotated[str | None, typer.Option(help="Of this team alone: its name or id.")] = None,
    state: Annotated[State | None, typer.Option(help="In this state alone.")] = None,
    model: Annotated[str | None, typer.Option(help="Of this model alone.")] = None,
    since: Annotated[str | None, typer.Option(help="Made at this moment (RFC 3339) or later.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 50,
    url: Url = None,
    token_file: TokenFile = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """List the newest jobs first."""
    query = {"team": team, "state": state, "model": model, "since": since}

    async def listed(way: Reach) -> list[dict[str, Any]]:
        return await reach.listed(way, admin_jobs.LIST, "jobs", query=query, limit=limit)

    rows = _carry_out(access.instead(url, token_file, key_file), url, token_file, listed)
    if as_json:
        screen.write_json(rows)
    else:
        screen.table(rows, _COLUMNS, nothing="no such jobs")


@app.command()
def show(
    job: JobId, url: Url = None, token_file: TokenFile = None, key_file: KeyFile = None, as_json: AsJson = False
) -> None:
    """Show one job, what it cost, where its time went, and its pictures."""

    async def read(way: Reach) -> dict[str, Any]:
        page: dict[str, Any] = await way.ask(admin_jobs.READ, {"job": job})
        return page

    page = _carry_out(access.instead(url, token_file, key_file), url, token_file, read)
    if as_json:
        screen.write_json(page)
    else:
        screen.facts(_flat(page))


@app.command()
def watch(
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="A job's id; without it all jobs.")] = None,
    team: Annotated[str | None, typer.Option(help="Without a job: of this team alone, its name or id.")] = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="DIR|FILE", help="Save the job's pictures there.")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="SPAN", help="How long to wait, such as 90s. \\[default: to the end]")
    ] = None,
    url: Url = None,
    token_file: TokenFile = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Follow a job until it ends, or see all jobs move; the exit status is 0 only if the job completed.

    Ctrl-C ends the watching and cancels nothing.
    """
    given = access.instead(url, token_file, key_file)
    if job is None:
        if out is not None or timeout is not None:
            raise errors.InvalidParameter("--out and --timeout need a job", param="job")
        _carry_out(given, url, token_file, lambda way: _watch_all(way, team, as_json=as_json))
        return
    place = None if out is None else places.place(out)
    if place is not None:
        place.prepare()
    wait_s = None if timeout is None else amounts.seconds("--timeout", timeout)
    last = _carry_out(given, url, token_file, lambda way: _watch(way, job, wait_s, as_json=as_json))
    if place is not None and last["status"] == "completed":
        base = access.address(access.administered(url)) if given is None else given.url
        _save(last, base, place, access.options(url, token_file, key_file), as_json=as_json)
    if last["state"] != State.COMPLETED:
        raise typer.Exit(Status.JOB_FAILED)


@app.command()
def cancel(
    job: JobId,
    team: Annotated[str | None, typer.Option(help="Only if it is this team's: name or id.")] = None,
    url: Url = None,
    token_file: TokenFile = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Take a queued job back."""

    async def cancelled(way: Reach) -> dict[str, Any]:
        if team is not None:
            page = await way.ask(admin_jobs.READ, {"job": job})
            if team not in (page.get("team"), page.get("teamId")):
                raise errors.JobNotFound(f"team {team!r} has no job {job[:80]!r}", param="job")
        row: dict[str, Any] = await way.ask(admin_jobs.CANCEL, {"job": job})
        return row

    row = _carry_out(access.instead(url, token_file, key_file), url, token_file, cancelled)
    screen.show(row, f"job {row['id']} is cancelled; its credits are free again", as_json=as_json)


@app.command()
def requeue(job: JobId, url: Url = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Nudge the workers about a job; never an ended one, never one whose POST may be under way."""
    row = reach.ask(url, token_file, admin_jobs.REQUEUE, {"job": job})
    screen.show(row, f"job {row['id']} was brought to the workers' notice", as_json=as_json)


@app.command()
def erase(job: JobId, url: Url = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Erase what a job was asked for and what it made, for good; its ids and amounts stay.

    One that waits is taken back first. Workers delete the pictures in the archive, within seconds while it answers.
    """
    row = reach.ask(url, token_file, admin_jobs.ERASE, {"job": job})
    late = "" if row["immediate"] else "; Redis was not told, so a copy may be handed out for a minute more"
    screen.show(row, f"job {row['id']} is erased{late}", as_json=as_json)


@app.command()
def settle(
    job: JobId,
    charged: Annotated[bool, typer.Option("--charged", help="The upstream took the credits.")] = False,
    not_charged: Annotated[bool, typer.Option("--not-charged", help="The upstream never had the job.")] = False,
    upstream_job: Annotated[str | None, typer.Option(help="The upstream has it, under this id.")] = None,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """End the doubt about a job whose submission is unknown."""
    if [charged, not_charged, bool(upstream_job)].count(True) != 1:
        raise errors.InvalidParameter("give exactly one of --charged, --not-charged and --upstream-job ID")
    body, said = {"upstreamJobId": upstream_job}, "runs on as that upstream job"
    if not upstream_job:
        body = {"verdict": "charged" if charged else "not_charged"}
        said = "is settled as charged" if charged else "is settled as not charged"
    row = reach.ask(url, token_file, admin_jobs.SETTLE, {"job": job}, body=body)
    screen.show(row, f"job {row['id']} {said}", as_json=as_json)


def _carry_out(
    given: Access | None, url: str | None, token_file: Path | None, work: Callable[[Reach], Awaitable[T]]
) -> T:
    """Do the work as a caller where there is a key for that, else as an operator."""
    if given is None:
        return reach.carry_out(url, token_file, work)

    async def carried_out() -> T:
        async with own_jobs.opened(given) as own:
            return await work(own)

    return asyncio.run(carried_out())


async def _watch(way: Reach, job_id: str, wait_s: float | None, *, as_json: bool) -> dict[str, Any]:
    out = screen.console()
    last: dict[str, Any] = {}
    with screen.console(stderr=True).status(f"watching {screen.plain(job_id)}") as line:
        pages = way.changes(job_id, wait_s) if isinstance(way, Own) else job_watch.one(way, job_id, wait_s)
        async with aclosing(pages) as changes:
            async for page in changes:
                last, row = page, job_watch.event(page)
                if as_json:
                    screen.write_line(row)
                else:
                    note = f": {row['message']}" if row["message"] else ""
                    out.print(screen.plain(f"{row['at']}  {row['state']}{note}"), soft_wrap=True)
                line.update(f"{progress.words(row['state'])} …")
    took = job_times.told(last)
    if not as_json:
        out.print(screen.plain(f"{ordering.paid(last)}{f'; {took}' if took else ''}"), soft_wrap=True)
    return last


async def _watch_all(way: Reach, team: str | None, *, as_json: bool) -> None:
    out = screen.console()
    if not as_json and out.is_terminal and not out.is_dumb_terminal:
        await job_watch.table(way, team)
        return
    async with aclosing(job_watch.moves(way, team)) as moves:
        async for row in moves:
            if as_json:
                screen.write_line(row)
            else:
                sys.stdout.write(
                    f"{row['createdAt']}  {row['id']}  {row['state']}  {row['error'] or ''}".rstrip() + "\n"
                )
                sys.stdout.flush()


def _save(page: dict[str, Any], base: str, place: Place, there: str, *, as_json: bool) -> None:
    teller = progress.teller(quiet=as_json)
    for saved in asyncio.run(ordering.finished(page, base, place, teller, there)):
        if as_json:
            screen.write_line({"id": page["jobId"], "file": str(saved.path)})
        else:
            sys.stdout.write(f"{saved.path}\n")


def _flat(page: Mapping[str, Any]) -> dict[str, Any]:
    """A page for people: nested members spelled out, empty ones left out."""
    told = {name: value for name, value in page.items() if name not in _NESTED}
    told["took"] = job_times.told(page)
    told |= {f"parameters.{name}": value for name, value in page.get("parameters", {}).items()}
    if "error" in page:
        told["error"] = f"{page['error']['code']}: {page['error']['message']}"
    for attempt in page.get("attempts", []):
        told[f"attempt {attempt['number']}"] = _told(attempt)
    for number, asset in enumerate(page.get("assets", []), start=1):
        told[f"picture {number}"] = asset["url"]
    return {name: value for name, value in told.items() if value is not None}


def _told(attempt: Mapping[str, Any]) -> str:
    """What became of an attempt, in a line."""
    parts = [attempt["outcome"], *(attempt[name] for name in ("reason", "evidence") if attempt[name] is not None)]
    if attempt["settlesAt"] is not None:
        parts += [f"for {attempt['ageS']:.0f} s", f"settles at {attempt['settlesAt']}"]
    return ", ".join(parts)
