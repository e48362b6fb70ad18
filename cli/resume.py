"""``torii resume``: ends a pause. The jobs that waited have as much patience left as they had before it."""

import typer

from cli import pause
from cli.pause import All, Model, Team
from cli.reach import TokenFile, Url
from cli.screen import AsJson
from service import admin_upstream

app = typer.Typer(add_completion=False)


@app.command()
def resume(
    team: Team = None,
    model: Model = None,
    everything: All = False,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """End a pause."""
    about = {"team": team, "model": model, "all": everything}
    pause.tell(url, token_file, admin_upstream.RESUME, about, ("goes on", "was not paused"), as_json=as_json)
