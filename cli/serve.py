"""``torii serve``: one process of the HTTP service, until it is told to end. Knows no route."""

import asyncio

import typer

from cli import stores
from cli.screen import AsJson
from gateway.settings import values
from gateway.settings.values import Purpose
from service import server

app = typer.Typer(add_completion=False)


@app.command()
def serve(as_json: AsJson = False) -> None:
    """Run the HTTP service on TORII_HOST and TORII_PORT. Logs go to standard error."""
    del as_json  # for a mistake alone, which the entry point reports
    settings = values.read(Purpose.SERVE)
    asyncio.run(stores.require(settings))
    server.run(settings)
