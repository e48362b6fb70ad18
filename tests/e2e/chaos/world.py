"""The world of a run: the real servers, a wire before each, the gateway's processes, and the run's own view.

The gateway reaches every server over a wire; the run itself reaches them directly, so that it sees the truth while the
gateway sees a fault.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway import bootstrap
from gateway.bootstrap import House
from gateway.settings import values
from gateway.settings.values import Purpose
from gateway.storage import database, schema
from gateway.tenancy import keys, scopes, teams
from tests.e2e.chaos.slots import Slot
from tests.support import ports, rig
from tests.support.emulator import EmulatorProcess
from tests.support.postgres import Postgres
from tests.support.receiver import Receiver, answer
from tests.support.s3 import RadosGateway
from tests.support.valkey import Valkey
from tests.support.wire import Wire

#: Slots upstream: a submission that is unknown keeps its slot, so they must not run out.
CONCURRENCY = 400
TEAMS = ("ink", "cedar", "river")
READY_WITHIN_S = 30.0


@dataclass(frozen=True)
class Servers:
    """The real servers of a run; without PostgreSQL the record is SQLite, without S3 the archive is a folder."""

    emulator: EmulatorProcess
    valkey: Valkey
    postgres: Postgres | None
    s3: RadosGateway | None

    def versions(self) -> dict[str, str]:
        """What each server says it is."""
        found = {"Valkey": self.valkey.version}
        if self.postgres is not None:
            found["PostgreSQL"] = self.postgres.version
        if self.s3 is not None:
            found["S3"] = self.s3.version
        return found


@dataclass(frozen=True)
class Wires:
    """The wire before each server."""

    upstream: Wire
    valkey: Wire
    postgres: Wire | None
    s3: Wire | None

    def all(self) -> list[Wire]:
        """Those that there are."""
        return [wire for wire in (self.upstream, self.valkey, self.postgres, self.s3) if wire is not None]


@dataclass(frozen=True)
class Team:
    """A team of the gateway and the header that shows its key."""

    id: str
    headers: dict[str, str]


@dataclass(frozen=True)
class World:
    """Everything there is."""

    folder: Path
    servers: Servers
    wires: Wires
    house: House
    teams: tuple[Team, ...]
    services: tuple[Slot, ...]
    workers: tuple[Slot, ...]
    addresses: tuple[str, ...]
    #: Where webhooks go.
    receiver: Receiver

    @property
    def slots(self) -> list[Slot]:
        """Every process of the gateway."""
        return [*self.services, *self.workers]

    @property
    def archive(self) -> Path | None:
        """The archive's folder, if it is one."""
        return None if self.servers.s3 is not None else self.folder / "archive"

    async def heal(self) -> None:
        """Undo every fault: servers run and answer, wires pass, processes run and none is told to die.

        Processes are started in the main thread, since what a thread has started ends with it (see ``Process``).
        """
        servers = self.servers
        self.receiver.say(answer(204))
        servers.emulator.switch(
            submit_fault=None, poll_fault=None, download_fault=None, list_fault=None, models_fault=None, outcome=None
        )
        if not servers.valkey.process.running:
            servers.valkey.start()
        servers.valkey.resume()
        if servers.postgres is not None:
            servers.postgres.ensure()
        if servers.s3 is not None:
            await begin_s3(servers.s3)
        elif (hidden := self.folder / "archive.away").exists():
            hidden.rename(self.folder / "archive")
        for wire in self.wires.all():
            wire.heal()
        for slot in self.slots:
            slot.disarm()
            slot.resume()
            slot.revive()


async def begin_s3(s3: RadosGateway) -> None:
    """Have the object store's gateway run, awake; it takes some seconds, which hold up nobody."""
    s3.resume()
    if not s3.process.running:
        s3.process.start()
    await asyncio.to_thread(s3.process.wait_ready, f"{s3.endpoint_url}/", 60)


@asynccontextmanager
async def world(servers: Servers, folder: Path, *, services: int, workers: int) -> AsyncIterator[World]:
    """A running gateway on those servers; everything of it is ended at the end."""
    with ExitStack() as ending:
        wires = Wires(
            upstream=ending.enter_context(Wire(urlsplit(servers.emulator.base_url).port or 0)),
            valkey=ending.enter_context(Wire(servers.valkey.port)),
            postgres=ending.enter_context(Wire(servers.postgres.port)) if servers.postgres else None,
            s3=ending.enter_context(Wire(servers.s3.port)) if servers.s3 else None,
        )
        direct = _environ(servers, folder)
        distant = _over(wires, servers, direct)
        settings = values.read(Purpose.WORK, environ=direct, env_file=None)
        opened = database.open(settings.reveal("database_url"))
        await schema.migrate(opened)
        await opened.close()
        slots = _slots(distant, folder, services, workers)
        async with bootstrap.house(settings) as house, Receiver().listening() as receiver:
            found = World(
                folder=folder,
                servers=servers,
                wires=wires,
                house=house,
                teams=await _teams(house),
                services=tuple(slot for slot in slots if slot.serves),
                workers=tuple(slot for slot in slots if not slot.serves),
                receiver=receiver,
                addresses=tuple(
                    f"http://{slot.process.environment['TORII_HOST']}:{slot.process.environment['TORII_PORT']}"
                    for slot in slots
                    if slot.serves
                ),
            )
            for slot in slots:
                ending.callback(slot.end)
                slot.start()
            for slot, address in zip(found.services, found.addresses, strict=True):
                slot.process.wait_ready(f"{address}/health/ready", READY_WITHIN_S)
            for slot in found.workers:
                slot.process.wait_ready("worker_ready", READY_WITHIN_S)
            yield found


def _environ(servers: Servers, folder: Path) -> dict[str, str]:
    if servers.postgres is not None:
        database_url = servers.postgres.url(servers.postgres.create())
    else:
        database_url = f"sqlite+aiosqlite:///{folder / 'torii.db'}"
    found = rig.environment(servers.emulator, database_url, servers.valkey.url, folder)
    found["TORII_UPSTREAM_CONCURRENCY"] = str(CONCURRENCY)
    found["TORII_WEBHOOK_ALLOW_NETS"] = "127.0.0.0/8"
    if servers.s3 is not None:
        bucket = servers.s3.create()
        found |= {"TORII_ARCHIVE_URL": bucket.url("chaos"), **bucket.environment()}
    return found


def _over(wires: Wires, servers: Servers, direct: dict[str, str]) -> dict[str, str]:
    """The same settings, each server met over its wire."""
    found = {
        **direct,
        "PIXELDOJO_API_BASE": f"http://{wires.upstream.address}/api/v1",
        "TORII_RESULT_HOSTS": wires.upstream.address,
        "TORII_REDIS_URL": direct["TORII_REDIS_URL"].replace(f":{servers.valkey.port}/", f":{wires.valkey.port}/"),
    }
    if wires.postgres is not None and servers.postgres is not None:
        found["TORII_DATABASE_URL"] = direct["TORII_DATABASE_URL"].replace(
            f":{servers.postgres.port}/", f":{wires.postgres.port}/"
        )
    if wires.s3 is not None:
        found["AWS_ENDPOINT_URL"] = f"http://{wires.s3.address}"
    return found


def _slots(environ: dict[str, str], folder: Path, services: int, workers: int) -> list[Slot]:
    """The services and workers; the last worker is the plain one, as an operator starts it."""
    doors = [{**environ, "TORII_HOST": ports.LOOPBACK, "TORII_PORT": str(port)} for port in ports.free(services)]
    built = ("tests.support.mortal",)
    return [
        *(Slot(f"service-{at}", (*built, "serve"), door, folder) for at, door in enumerate(doors)),
        *(Slot(f"worker-{at}", (*built, "work"), environ, folder) for at in range(workers - 1)),
        Slot(f"worker-{workers - 1}", ("workers",), environ, folder),
    ]


async def _teams(house: House) -> tuple[Team, ...]:
    now = house.clock.now()
    found = []
    async with house.database.write() as tx:
        for name in TEAMS:
            team = await teams.create(tx, name, now)
            _, text = await keys.create(tx, team.id, "chaos", scopes.DEFAULT, house.keys.api_keys, now)
            found.append(Team(team.id, {"Authorization": f"Bearer {text.reveal()}"}))
    return tuple(found)
