"""``torii webhooks``: lists deliveries, has one sent again, rotates a team's secret. Holds no rule about them."""

from types import MappingProxyType
from typing import Annotated, Any, Final

import typer

from cli import amounts, reach, screen
from cli.reach import Reach, TokenFile, Url
from cli.screen import AsJson
from gateway import errors
from gateway.jobs.announce import Status
from gateway.jobs.tries import Outcome
from service import admin_webhooks

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="List and replay webhooks, and rotate what they are signed with."
)

_COLUMNS: Final = MappingProxyType(
    {
        "id": "ID",
        "type": "TYPE",
        "jobId": "JOB",
        "state": "STATE",
        "outcome": "LAST TRY",
        "tries": "TRIES",
        "createdAt": "CREATED",
        "dueAt": "NEXT TRY",
        "url": "URL",
    }
)
_JOB: Final = "job_"


@app.command("list")
def listing(
    team: Annotated[str | None, typer.Option(help="Of this team alone: its name or id.")] = None,
    job: Annotated[str | None, typer.Option(help="About this job alone.")] = None,
    state: Annotated[Status | None, typer.Option(help="In this state alone.")] = None,
    outcome: Annotated[Outcome | None, typer.Option(help="Whose last try came to this alone.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 50,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """List the newest deliveries first."""
    query = {"team": team, "job": job, "state": state, "outcome": outcome}
    rows = reach.carry_out(
        url, token_file, lambda way: reach.listed(way, admin_webhooks.LIST, "deliveries", query=query, limit=limit)
    )
    if as_json:
        screen.write_json(rows)
    else:
        screen.table(rows, _COLUMNS, nothing="no such deliveries")


@app.command()
def show(
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="A delivery's id, `msg_…`.")],
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Show one delivery and each of its tries."""
    page = reach.ask(url, token_file, admin_webhooks.READ_DELIVERY, {"delivery": delivery})
    if as_json:
        screen.write_json(page)
        return
    told = {name: value for name, value in page.items() if name != "log"}
    for each in page["log"]:
        status = f", status {each['statusCode']}" if each["statusCode"] else ""
        took = f" in {each['durationMs']} ms" if each["durationMs"] is not None else ""
        told[f"try {each['number']}"] = f"{each['at']}: {each['outcome']}{status}{took}"
    screen.facts(told)


@app.command()
def replay(
    what: Annotated[str, typer.Argument(metavar="DELIVERY|JOB", help="A delivery's id, or a job's for its last one.")],
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Send a webhook once more, under the same id; also one that was given up."""

    async def replayed(way: Reach) -> dict[str, Any]:
        delivery = what
        if what.startswith(_JOB):
            rows = await reach.listed(way, admin_webhooks.LIST, "deliveries", query={"job": what}, limit=1)
            if not rows:
                raise errors.DeliveryNotFound(f"there is no delivery about job {what[:80]!r}", param="delivery")
            delivery = rows[0]["id"]
        row: dict[str, Any] = await way.ask(admin_webhooks.REPLAY, {"delivery": delivery})
        return row

    row = reach.carry_out(url, token_file, replayed)
    screen.show(row, f"{row['type']} {row['id']} is sent to {row['url']} once more", as_json=as_json)


@app.command("rotate-secret")
def rotate_secret(
    team: Annotated[str, typer.Argument(help="A team's name or id.")],
    grace: Annotated[str, typer.Option(help="How long the secrets before still sign; 0s: not at all.")] = "24h",
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a team's webhook secret, in the place of the one before. Its text is shown this once."""
    body = {"graceS": amounts.seconds("--grace", grace)}
    made = reach.ask(url, token_file, admin_webhooks.ROTATE, {"team": team}, body=body)
    if as_json:
        screen.write_json(made)
        return
    out = screen.console()
    out.print(made["secret"], style="bold", soft_wrap=True)
    said = f"Team {team}'s webhooks are signed with this from now on. It is not shown again: give it to the receiver."
    out.print(screen.plain(said), soft_wrap=True)
