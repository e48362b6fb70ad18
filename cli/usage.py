"""``torii usage``: where the credits went, as a table, JSON or a sheet. Sums nothing itself."""

import sys
from enum import StrEnum
from typing import Annotated, Final

import typer

from cli import reach, screen
from cli.reach import TokenFile, Url
from cli.screen import AsJson
from gateway.ledger.usage import By
from service import admin_books

app = typer.Typer(add_completion=False)

_GROUPS: Final = (
    (By.TEAM, (("team", "TEAM"),)),
    (By.MODEL, (("model", "MODEL"),)),
    (By.KEY, (("team", "TEAM"), ("keyId", "KEY"), ("key", "NAME"))),
    (By.DAY, (("day", "DAY"),)),
)
_SUMS: Final = (
    ("jobs", "JOBS"),
    ("pictures", "PICTURES"),
    ("charged", "CHARGED"),
    ("refunded", "REFUNDED"),
    ("adjusted", "ADJUSTED"),
    ("spent", "SPENT"),
    ("held", "HELD"),
    ("reused", "REUSED"),
    ("saved", "SAVED"),
)


class Format(StrEnum):
    """How usage is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


@app.command()
def usage(
    team: Annotated[str | None, typer.Option(help="Of this team alone: its name or id.")] = None,
    since: Annotated[str | None, typer.Option(help="From this day on, in UTC, such as 2026-11-01.")] = None,
    until: Annotated[str | None, typer.Option(help="Up to the day before this one.")] = None,
    by: Annotated[By, typer.Option(help="What is summed up together.")] = By.TEAM,
    form: Annotated[Format, typer.Option("--format", help="How it is printed.")] = Format.TABLE,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Where the credits went, and which reuse has saved. A job counts for the day of its order."""
    if as_json:
        form = Format.JSON
    query = {"team": team, "since": since, "until": until, "by": by.value}
    query["format"] = "csv" if form is Format.CSV else None
    found = reach.ask(url, token_file, admin_books.USAGE, query=query)
    match form:
        case Format.CSV:
            sys.stdout.write(found)
        case Format.JSON:
            screen.write_json(found)
        case Format.TABLE:
            columns = dict((*dict(_GROUPS)[by], *_SUMS))
            last = {next(iter(columns)): "in all", **found["total"]}
            rows = [*found["usage"], last] if len(found["usage"]) > 1 else found["usage"]
            screen.table(rows, columns, nothing="nothing was used")
