"""``torii up``: a whole gateway on this machine by one command, and its end by Ctrl-C. Writes under ``var/`` alone."""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Annotated

import typer

from cli import first_team, follow, house_files, migrate, plan, roster, screen, stores
from cli.banner import Welcome
from cli.crew import Crew
from cli.house_files import HouseFiles
from cli.parts import NotStarted, Part
from cli.plan import Plan
from cli.screen import AsJson
from cli.teller import Teller
from gateway.settings import values
from gateway.settings.values import Purpose
from gateway.storage import stores as house_stores
from gateway.storage import valkey

app = typer.Typer(add_completion=False)

_QUICK = 0.05


@app.command()
def up(
    real_time: Annotated[
        bool, typer.Option("--real-time", help="The emulator takes 40 to 45 s, as PixelDojo.")
    ] = False,
    emulator_scale: Annotated[
        float, typer.Option(min=0.001, max=100, help="The emulator's pace: 1 is real time, 0.05 about 2 s.")
    ] = _QUICK,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the parts' logs too, without --json.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a whole gateway on this machine: Valkey, database, service, worker, and a stand-in PixelDojo.

    The real PixelDojo does the work once PIXELDOJO_API_KEY is set. Everything is kept under var/ in this directory.
    """
    given = values.read(Purpose.UP)
    files = HouseFiles()
    files.prepare()
    teller = Teller(screen.console(quiet=as_json))
    with house_files.locked(files, lambda: teller.say("waiting for the parts of an earlier run to end")) as lock:
        drawn = plan.draw(files, given, os.environ, 1.0 if real_time else emulator_scale)
        stores.quiet(drawn.settings)
        run = Run(files, drawn, teller, Crew(lock, teller.news))
        status = asyncio.run(run.whole(verbose=verbose, as_json=as_json))
    raise typer.Exit(status)


class Run:
    """One run, from the first part's start to the last one's end."""

    def __init__(self, files: HouseFiles, drawn: Plan, teller: Teller, crew: Crew) -> None:
        self._files = files
        self._plan = drawn
        self._teller = teller
        self._crew = crew
        self._told_to_end = 0

    async def whole(self, *, verbose: bool, as_json: bool) -> int:
        """Start, keep running until told to end, stop; returns the exit status."""
        work = asyncio.create_task(self._start_and_keep(as_json=as_json))
        logs = asyncio.create_task(follow.follow(self._logs(), self._teller.log_line)) if verbose else None
        self._on_signals(work)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await work
        except NotStarted as error:
            self._teller.last_lines(error.lines)
            raise
        finally:
            await self._end()
            if logs is not None:
                logs.cancel()
        return 130 if self._told_to_end > 1 else 0

    async def _start_and_keep(self, *, as_json: bool) -> None:
        with self._teller.starting():
            key = await self._start()
        settings = self._plan.settings
        welcome = Welcome(
            url=settings.public_url,
            admin_token=settings.admin_token[0].get_secret_value(),
            team=first_team.TEAM,
            key=key,
            emulated_s=self._plan.emulated_s,
        )
        if as_json:
            screen.write_line(welcome.members())
        else:
            welcome.draw(self._teller.out)
            self._teller.say("Ctrl-C stops it; the parts' logs are in var/log/")
        await self._crew.keep()

    async def _start(self) -> str:
        """Everything, in the order of need; the first team's key."""
        foundation = asyncio.create_task(self._crew.start(self._plan.foundation, self._started))
        try:
            key = await self._open_database()
            await foundation
            await self._reach_redis()
        finally:
            foundation.cancel()
            await asyncio.gather(foundation, return_exceptions=True)
        self._teller.upstream(self._plan.settings.pixeldojo_api_base, self._plan.emulated_s)
        await self._crew.start(self._plan.doors, self._started)
        return key

    async def _open_database(self) -> str:
        begun_s = time.monotonic()
        async with house_stores.open(self._plan.settings) as house:
            changed = await migrate.bring_up(house.database)
            key = await first_team.key(self._files, house)
            kind = house.database.dialect
        self._teller.part("database", "migrated" if changed else "ready", kind, time.monotonic() - begun_s)
        return key

    async def _reach_redis(self) -> None:
        """One that is not ours may be away, and without it no picture would ever be made."""
        redis = valkey.open(self._plan.settings.reveal("redis_url"))
        try:
            await stores.reach_redis(redis)
        finally:
            await redis.aclose()

    def _started(self, part: Part, took_s: float) -> None:
        self._teller.part(part.name, "ready", part.address, took_s)

    def _logs(self) -> dict[str, Path]:
        return {part.name: part.log for part in (*self._plan.foundation, *self._plan.doors)}

    def _on_signals(self, work: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            self._told_to_end += 1
            if self._told_to_end == 1:
                self._teller.say("stopping… (Ctrl-C again kills)")
                work.cancel()
            else:
                self._crew.kill()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop)

    async def _end(self) -> None:
        begun_s = time.monotonic()
        await self._crew.stop(roster.STOPPED)
        if self._told_to_end:
            self._teller.say(f"stopped after {time.monotonic() - begun_s:.1f} s; `torii up` goes on where this ended")
