"""A worker or a service whose process kills itself at a named step: ``python -m tests.support.mortal work|serve``.

It is built from the same parts as ``torii work`` and ``torii serve``. Between the house and its outer parts stands a
guard that sees each transaction and each call, and has the process killed (SIGKILL) before or after the one it was
told of. A step is named for the function that took it, so a new step is known as soon as it is taken:
``attempts.open:before-commit``, ``keeping._store:bucket.put:after``.

Three files of the folder named by ``MORTAL_FOLDER`` are its orders and its books, each named for the process: in
``NAME.order`` stands ``step TAB n``, die at the n-th time from now; ``NAME.seen`` gets each step once, when it is taken
first; ``NAME.died`` gets the step at which it died.
"""

import asyncio
import dataclasses
import inspect
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import uvloop
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import bootstrap, errors
from gateway.settings import values
from gateway.settings.values import Purpose, Settings
from gateway.storage.database import Database
from gateway.telemetry import logs
from service import listening, server
from workers import process

FOLDER = "MORTAL_FOLDER"
NAME = "MORTAL_NAME"
#: Parts that only read for the door, and whose calls are no step of a job.
_LEFT_ALONE = frozenset({"recogniser"})

Parts = TypeVar("Parts")


class Reaper:
    """Knows at which step this process is to die."""

    def __init__(self, folder: Path, name: str) -> None:
        self._order = folder / f"{name}.order"
        self._seen_file = folder / f"{name}.seen"
        self._died_file = folder / f"{name}.died"
        self._seen: set[str] = set()
        self._order_text = ""
        self._left = 0

    def at(self, step: str) -> None:
        """Note the step, and die if this is the one."""
        if step not in self._seen:
            self._seen.add(step)
            _append(self._seen_file, step)
        try:
            text = self._order.read_text()
        except FileNotFoundError:
            return
        wanted, _, times = text.partition("\t")
        if text != self._order_text:
            self._order_text, self._left = text, int(times or 1)
        if step == wanted:
            self._left -= 1
            if self._left == 0:
                _append(self._died_file, step)
                os.kill(os.getpid(), signal.SIGKILL)

    async def around(
        self, step: str, deed: Callable[..., Any], given: tuple[Any, ...], named: Mapping[str, Any]
    ) -> Any:
        """Await a call between its two steps; one that raises has no step after it."""
        self.at(f"{step}:before")
        found = await deed(*given, **named)
        self.at(f"{step}:after")
        return found


class MortalDatabase:
    """A database whose transactions may be the process's last."""

    def __init__(self, real: Database, reaper: Reaper) -> None:
        self._real = real
        self._reaper = reaper

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """One transaction, with a step just before its commit and one just after."""
        return self._unit(_caller(sys._getframe(1)))  # noqa: SLF001  the one way to learn who calls

    @asynccontextmanager
    async def _unit(self, step: str) -> AsyncIterator[AsyncConnection]:
        async with self._real.write() as tx:
            yield tx
            self._reaper.at(f"{step}:before-commit")
        self._reaper.at(f"{step}:after-commit")


class MortalPart:
    """A part each of whose calls may be the process's last."""

    def __init__(self, real: Any, name: str, reaper: Reaper) -> None:
        self._real = real
        self._name = name
        self._reaper = reaper

    def __getattr__(self, name: str) -> Any:
        deed = getattr(self._real, name)
        if not inspect.iscoroutinefunction(deed):
            return deed

        def call(*given: Any, **named: Any) -> Any:
            step = f"{_caller(sys._getframe(1))}:{self._name}.{name}"  # noqa: SLF001  as above
            return self._reaper.around(step, deed, given, named)

        return call


def mortal(parts: Parts, reaper: Reaper) -> Parts:
    """The same dataclass with each outer part guarded; what is guarded already stays as it is."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(parts):  # type: ignore[arg-type]  # its callers hand in dataclasses
        part = getattr(parts, field.name)
        guarded = part if field.name in _LEFT_ALONE else _guarded(part, field.name, reaper)
        if guarded is not part:
            found[field.name] = guarded
    return dataclasses.replace(parts, **found) if found else parts  # type: ignore[type-var]  # as above


def _guarded(part: Any, name: str, reaper: Reaper) -> Any:
    if isinstance(part, type) or not type(part).__module__.startswith("gateway."):
        return part
    if isinstance(part, Database):
        return MortalDatabase(part, reaper)
    if any(inspect.iscoroutinefunction(deed) for each, deed in vars(type(part)).items() if not each.startswith("_")):
        return MortalPart(part, name, reaper)
    return mortal(part, reaper) if dataclasses.is_dataclass(part) else part


def _caller(frame: FrameType) -> str:
    module = str(frame.f_globals["__name__"]).rpartition(".")[2]
    return f"{module}.{frame.f_code.co_qualname.replace('.<locals>', '')}"


def _append(path: Path, line: str) -> None:
    with path.open("a") as book:
        book.write(f"{line}\n")


async def _work(settings: Settings, reaper: Reaper) -> None:
    async with bootstrap.house(settings) as built:
        house = mortal(built, reaper)
        async with bootstrap.shop(house) as shop:
            await process.work(house, mortal(shop, reaper))


def _serve(settings: Settings, reaper: Reaper) -> None:
    async def serving() -> None:
        async with bootstrap.house(settings) as house:
            await server.build(mortal(house, reaper)).serve(sockets=[listener])

    with (
        listening.open(settings.host, settings.port) as listener,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(serving())


def main() -> int:
    """Work or serve, as the first argument says, until told to end or to die."""
    working = sys.argv[1] == "work"
    reaper = Reaper(Path(os.environ[FOLDER]), os.environ[NAME])
    try:
        settings = values.read(Purpose.WORK if working else Purpose.SERVE)
        logs.configure(hidden=settings.secrets())
        if working:
            uvloop.run(_work(settings, reaper))
        else:
            _serve(settings, reaper)
    except errors.ToriiError as error:
        sys.stderr.write(f"{error.message}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
