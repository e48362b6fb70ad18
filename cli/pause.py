"""``torii pause``: sends nothing more of a team, of a model, or at all. Accepted jobs wait meanwhile."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from cli import reach, screen
from cli.reach import TokenFile, Url
from cli.screen import AsJson
from service import admin_upstream
from service.admin_deeds import Deed

app = typer.Typer(add_completion=False)

Team = Annotated[str | None, typer.Option(help="A team's name or id.")]
Model = Annotated[str | None, typer.Option(help="A model's id.")]
All = Annotated[bool, typer.Option("--all", help="Everything.")]


@app.command()
def pause(
    team: Team = None,
    model: Model = None,
    everything: All = False,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Send nothing more; jobs are accepted and wait, and what was sent goes on."""
    about = {"team": team, "model": model, "all": everything}
    tell(url, token_file, admin_upstream.PAUSE, about, ("is paused", "was paused already"), as_json=as_json)


def tell(
    url: str | None,
    token_file: Path | None,
    deed: Deed,
    about: Mapping[str, object],
    said: tuple[str, str],
    *,
    as_json: bool,
) -> None:
    """Ask for a pause or its end, and say what it came to: whether it changed anything."""
    done = reach.ask(url, token_file, deed, body=about)
    what = "everything" if done["scope"] == "all" else f"{done['scope']} {done['subject']}"
    screen.show(done, f"{what} {said[0] if done['changed'] else said[1]}", as_json=as_json)
