"""``torii work``: one worker process, until it is told to end. Knows no task."""

import asyncio

import typer
import uvloop

from cli import stores
from cli.screen import AsJson
from gateway.settings import values
from gateway.settings.values import Purpose
from gateway.telemetry import logs
from workers import process

app = typer.Typer(add_completion=False)


@app.command()
def work(as_json: AsJson = False) -> None:
    """Run one worker: it submits, polls and archives. Logs go to standard error."""
    del as_json  # for a mistake alone, which the entry point reports
    settings = values.read(Purpose.WORK)
    asyncio.run(stores.require(settings))
    logs.configure(prompts=settings.log_prompts, hidden=settings.secrets())
    uvloop.run(process.run(settings))
