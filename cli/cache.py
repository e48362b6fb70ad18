"""``torii cache``: what the cache holds and has saved, and taking things out of it. Holds no rule about either."""

from types import MappingProxyType
from typing import Annotated, Any, Final

import typer

from cli import reach, screen
from cli.reach import Reach, TokenFile, Url
from cli.screen import AsJson
from service import admin_cache

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Show what the cache holds, and take things out of it."
)

_COLUMNS: Final = MappingProxyType(
    {
        "team": "TEAM",
        "model": "MODEL",
        "entries": "ENTRIES",
        "shared": "SHARED",
        "reused": "REUSED",
        "saved": "SAVED",
    }
)

Team = Annotated[str | None, typer.Option(help="Of this team alone: its name or id.")]
Model = Annotated[str | None, typer.Option(help="Of this model alone.")]


@app.command()
def show(
    team: Team = None, model: Model = None, url: Url = None, token_file: TokenFile = None, as_json: AsJson = False
) -> None:
    """Show how many requests can be answered again, and what that has saved."""
    found = reach.ask(url, token_file, admin_cache.READ, query={"team": team, "model": model})
    if as_json:
        screen.write_json(found)
    else:
        screen.table(found["cache"], _COLUMNS, nothing="nothing is kept, and nothing was saved")


@app.command()
def purge(
    team: Team = None,
    model: Model = None,
    job: Annotated[str | None, typer.Option(help="Whose pictures are handed out again: the job's id.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All there is.")] = False,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Take answers out of the cache; the same request is made anew. Jobs and pictures stay."""
    body = {"team": team, "model": model, "jobId": job, "all": everything}
    gone = reach.carry_out(url, token_file, lambda way: _purged(way, body))
    said = f"{gone['purged']} entries are gone"
    if not gone["immediate"]:
        said += "; Redis could not be told, so copies of them may be handed out for up to a minute more"
    screen.show(gone, said, as_json=as_json)


async def _purged(way: Reach, body: dict[str, Any]) -> dict[str, Any]:
    """Ask until nothing is left: one request takes a portion."""
    purged, immediate = 0, True
    while True:
        gone = await way.ask(admin_cache.PURGE, body=body)
        purged += gone["purged"]
        immediate = immediate and gone["immediate"]
        if gone["done"]:
            return {"purged": purged, "immediate": immediate}
