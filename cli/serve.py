"""``torii serve``: the HTTP service, in one process or several, until it is told to end. Knows no route."""

import asyncio
from typing import Annotated

import typer

from cli import stores
from cli.screen import AsJson
from gateway.settings import values
from gateway.settings.values import Purpose
from service import listening, server

#: More than this is a slip: each takes a core, and connections to the database and Redis.
WORKERS_MAX = 256

app = typer.Typer(add_completion=False)


@app.command()
def serve(
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", min=1, max=WORKERS_MAX, help="Processes on the one port.")
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Run the HTTP service on TORII_HOST and TORII_PORT. Logs go to standard error."""
    del as_json  # for a mistake alone, which the entry point reports
    if workers > 1:
        listening.require_sharing()
    settings = values.read(Purpose.SERVE)
    asyncio.run(stores.require(settings))
    if workers > 1:
        server.run_many(settings, workers)
    else:
        server.run(settings)
