"""``torii openapi``: prints or writes the service's OpenAPI document. Needs no setting and no store."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.screen import AsJson
from service import document

app = typer.Typer(add_completion=False)


@app.command()
def openapi(
    output: Annotated[Path | None, typer.Option(help="Write to this file instead of standard output.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the OpenAPI document of the service, which is JSON in any case."""
    del as_json
    rendered = document.render()
    if output is None:
        sys.stdout.write(rendered.decode())
    else:
        output.write_bytes(rendered)
