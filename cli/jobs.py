"""``torii jobs``: lists, shows and watches jobs, and carries out an operator's deeds on them."""

import asyncio
from types import MappingProxyType
from typing import Annotated, Any, Final

import typer

from cli import job_deeds, job_pages, screen
from cli.screen import AsJson
from gateway import errors
from gateway.jobs.settlement import Verdict
from gateway.jobs.states import ENDED, State

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
    }
)
JobId = Annotated[str, typer.Argument(metavar="JOB", help="A job's id.")]


@app.command("list")
def listing(
    team: Annotated[str | None, typer.Option(help="Of this team alone: its name or id.")] = None,
    state: Annotated[State | None, typer.Option(help="In this state alone.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the newest jobs first."""
    rows = asyncio.run(job_pages.rows(team, state, limit))
    if as_json:
        screen.write_json(rows)
    else:
        screen.table(rows, _COLUMNS, nothing="no such jobs")


@app.command()
def show(job: JobId, as_json: AsJson = False) -> None:
    """Show one job and its pictures."""
    page = asyncio.run(job_pages.page(job))
    if as_json:
        screen.write_json(page)
    else:
        screen.facts(job_pages.flat(page))


@app.command()
def watch(job: JobId, as_json: AsJson = False) -> None:
    """Follow a job until it ends; the exit status is 0 only if it completed."""
    last = asyncio.run(_watch(job, as_json=as_json))
    if last["state"] != State.COMPLETED:
        raise typer.Exit(1)


@app.command()
def cancel(
    job: JobId,
    team: Annotated[str | None, typer.Option(help="Only if it is this team's: name or id.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take a queued job back."""
    _done(asyncio.run(job_deeds.cancel(job, team)), "is cancelled; its credits are free again", as_json=as_json)


@app.command()
def requeue(job: JobId, as_json: AsJson = False) -> None:
    """Nudge the workers about a job; never an ended one, never one whose POST may be under way."""
    _done(asyncio.run(job_deeds.requeue(job)), "was brought to the workers' notice", as_json=as_json)


@app.command()
def settle(
    job: JobId,
    charged: Annotated[bool, typer.Option("--charged", help="The upstream took the credits.")] = False,
    not_charged: Annotated[bool, typer.Option("--not-charged", help="The upstream never had the job.")] = False,
    upstream_job: Annotated[str | None, typer.Option(help="The upstream has it, under this id.")] = None,
    as_json: AsJson = False,
) -> None:
    """End the doubt about a job whose submission is unknown."""
    if [charged, not_charged, bool(upstream_job)].count(True) != 1:
        raise errors.InvalidParameter("give exactly one of --charged, --not-charged and --upstream-job ID")
    if upstream_job:
        _done(asyncio.run(job_deeds.found(job, upstream_job)), "runs on as that upstream job", as_json=as_json)
        return
    verdict = Verdict.CHARGED if charged else Verdict.NOT_CHARGED
    said = f"is settled as {verdict.value.replace('_', ' ')}"
    _done(asyncio.run(job_deeds.settle(job, verdict)), said, as_json=as_json)


def _done(row: dict[str, Any], said: str, *, as_json: bool) -> None:
    if as_json:
        screen.write_json(row)
    else:
        screen.console().print(f"job {row['id']} {said}")


async def _watch(job_id: str, *, as_json: bool) -> dict[str, Any]:
    out = screen.console()
    last: dict[str, Any] = {}
    with out.status(f"watching {job_id}") as line:
        async for row in job_pages.changes(job_id):
            last = row
            if as_json:
                screen.write_line(row)
            else:
                note = f": {row['message']}" if row["message"] else ""
                out.print(screen.plain(f"{row['at']}  {row['state']}{note}"), soft_wrap=True)
            line.update(f"{row['state']}{'' if row['state'] in ENDED else ' …'}")
    return last
