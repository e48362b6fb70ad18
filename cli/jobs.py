"""``torii jobs``: lists, shows and watches jobs, and asks for an operator's deeds on them. Holds no rule about jobs."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

import typer

from cli import reach, screen
from cli.reach import Reach, TokenFile, Url
from cli.screen import AsJson
from gateway import errors
from gateway.jobs.states import ENDED, State
from service import admin_jobs

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="List, show, watch, cancel, requeue and settle jobs."
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
_LOOK_EVERY_S: Final = 0.5
#: What of a page is told in lines of its own.
_NESTED: Final = ("assets", "attempts", "output", "error", "parameters", "torii")

JobId = Annotated[str, typer.Argument(metavar="JOB", help="A job's id.")]


@app.command("list")
def listing(
    team: Annotated[str | None, typer.Option(help="Of this team alone: its name or id.")] = None,
    state: Annotated[State | None, typer.Option(help="In this state alone.")] = None,
    model: Annotated[str | None, typer.Option(help="Of this model alone.")] = None,
    since: Annotated[str | None, typer.Option(help="Made at this moment (RFC 3339) or later.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 50,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """List the newest jobs first."""
    query = {"team": team, "state": state, "model": model, "since": since}
    rows = reach.carry_out(
        url, token_file, lambda way: reach.listed(way, admin_jobs.LIST, "jobs", query=query, limit=limit)
    )
    if as_json:
        screen.write_json(rows)
    else:
        screen.table(rows, _COLUMNS, nothing="no such jobs")


@app.command()
def show(job: JobId, url: Url = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Show one job and its pictures."""
    page = reach.ask(url, token_file, admin_jobs.READ, {"job": job})
    if as_json:
        screen.write_json(page)
    else:
        screen.facts(_flat(page))


@app.command()
def watch(job: JobId, url: Url = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Follow a job until it ends; the exit status is 0 only if it completed."""
    last = reach.carry_out(url, token_file, lambda way: _watch(way, job, as_json=as_json))
    if last["state"] != State.COMPLETED:
        raise typer.Exit(1)


@app.command()
def cancel(
    job: JobId,
    team: Annotated[str | None, typer.Option(help="Only if it is this team's: name or id.")] = None,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Take a queued job back."""

    async def cancelled(way: Reach) -> dict[str, Any]:
        if team is not None:
            page = await way.ask(admin_jobs.READ, {"job": job})
            if team not in (page["team"], page["teamId"]):
                raise errors.JobNotFound(f"team {team!r} has no job {job[:80]!r}", param="job")
        row: dict[str, Any] = await way.ask(admin_jobs.CANCEL, {"job": job})
        return row

    row = reach.carry_out(url, token_file, cancelled)
    screen.show(row, f"job {row['id']} is cancelled; its credits are free again", as_json=as_json)


@app.command()
def requeue(job: JobId, url: Url = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Nudge the workers about a job; never an ended one, never one whose POST may be under way."""
    row = reach.ask(url, token_file, admin_jobs.REQUEUE, {"job": job})
    screen.show(row, f"job {row['id']} was brought to the workers' notice", as_json=as_json)


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


async def _watch(way: Reach, job_id: str, *, as_json: bool) -> dict[str, Any]:
    out = screen.console()
    last: dict[str, Any] = {}
    with out.status(f"watching {screen.plain(job_id)}") as line:
        async for row in _changes(way, job_id):
            last = row
            if as_json:
                screen.write_line(row)
            else:
                note = f": {row['message']}" if row["message"] else ""
                out.print(screen.plain(f"{row['at']}  {row['state']}{note}"), soft_wrap=True)
            line.update(f"{row['state']}{'' if row['state'] in ENDED else ' …'}")
    return last


async def _changes(way: Reach, job_id: str) -> AsyncIterator[dict[str, Any]]:
    """The job now and at each change that its caller can see, until it ends."""
    version: int | None = None
    while True:
        page = await way.ask(admin_jobs.READ, {"job": job_id})
        if page["version"] != version:
            version = page["version"]
            error = page.get("error", {})
            yield {
                "id": page["jobId"],
                "state": page["state"],
                "version": version,
                "at": page["seenAt"],
                "error": error.get("code"),
                "message": error.get("message"),
            }
        if page["state"] in ENDED:
            return
        await asyncio.sleep(_LOOK_EVERY_S)


def _flat(page: Mapping[str, Any]) -> dict[str, Any]:
    """A page for people: nested members spelled out, empty ones left out."""
    told = {name: value for name, value in page.items() if name not in _NESTED}
    told |= {f"parameters.{name}": value for name, value in page["parameters"].items()}
    if "error" in page:
        told["error"] = f"{page['error']['code']}: {page['error']['message']}"
    for attempt in page["attempts"]:
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
