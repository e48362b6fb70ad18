"""``torii ledger``: lists the ledger's entries, and corrects them by new ones. No entry is ever changed."""

from types import MappingProxyType
from typing import Annotated, Final

import typer

from cli import amounts, reach, screen
from cli.reach import TokenFile, Url
from cli.screen import AsJson
from gateway.ledger.entries import Kind
from service import admin_books

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="List the ledger's entries, and correct them by new ones."
)

_COLUMNS: Final = MappingProxyType(
    {
        "createdAt": "AT",
        "team": "TEAM",
        "kind": "KIND",
        "credits": "CREDITS",
        "jobId": "JOB",
        "model": "MODEL",
        "reference": "REFERENCE",
        "note": "NOTE",
    }
)

Team = Annotated[str | None, typer.Option(help="A team's name or id.")]
Job = Annotated[str | None, typer.Option(help="A job's id.")]
Reference = Annotated[str, typer.Option(help="The entry's own name, such as a ticket's; twice the same is refused.")]
Note = Annotated[str | None, typer.Option(help="Why, for whoever reads it later.")]


@app.command("list")
def listing(
    team: Team = None,
    job: Job = None,
    kind: Annotated[Kind | None, typer.Option(help="Of this kind alone.")] = None,
    since: Annotated[str | None, typer.Option(help="At this moment (RFC 3339) or later.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this moment.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """List the newest entries first."""
    query = {"team": team, "job": job, "kind": kind, "since": since, "until": until}
    rows = reach.carry_out(
        url, token_file, lambda way: reach.listed(way, admin_books.LEDGER, "entries", query=query, limit=limit)
    )
    if as_json:
        screen.write_json(rows)
    else:
        screen.table(rows, _COLUMNS, nothing="no such entries")


@app.command()
def adjust(
    credits: Annotated[str, typer.Option(help="Positive takes more, negative gives back.")],
    reference: Reference,
    team: Team = None,
    job: Job = None,
    note: Note = None,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Correct what a job, or a team, has spent."""
    amount = amounts.credits("--credits", credits)
    body = {"reference": reference, "note": note, "team": team, "job": job, "credits": amount}
    done = reach.ask(url, token_file, admin_books.ADJUST, body=body)
    screen.show(done, f"{done['credits']} credits are booked on {done['jobId'] or done['teamId']}", as_json=as_json)


@app.command()
def refund(
    reference: Reference,
    job: Job = None,
    team: Team = None,
    credits: Annotated[str | None, typer.Option(help="How much. \\[default: all that the job has cost]")] = None,
    note: Note = None,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Give credits back, of a job or to a team."""
    amount = None if credits is None else amounts.credits("--credits", credits)
    body = {"reference": reference, "note": note, "team": team, "job": job, "credits": amount}
    done = reach.ask(url, token_file, admin_books.REFUND, body=body)
    screen.show(done, f"{done['credits']} credits are given back to {done['jobId'] or done['teamId']}", as_json=as_json)
