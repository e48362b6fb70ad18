"""A whole gateway in real processes for a fuzzer to walk over: emulator, stores, front door, worker, and what is in it.

Everything is on loopback and made for one run. Checks nothing.
"""

import asyncio
import contextlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

from gateway.ledger import budgets
from gateway.ledger.budgets import Budget, Window
from gateway.settings import keyring, values
from gateway.settings.values import Purpose
from gateway.storage import database, schema
from gateway.tenancy import keys, scopes, teams
from gateway.tenancy.scopes import Scope
from tests.support import ports, rig, wait
from tests.support.emulator import EmulatorProcess
from tests.support.process import Process

#: So many orders are made first, so that there is something to name.
_ORDERS = 3
#: A fuzzer asks for more in a minute than any caller; how the limit answers has tests of its own.
_RPM = 1_000_000
_BUDGET_MICROS = 100_000_000_000


@dataclass(frozen=True)
class Ground:
    """Where the front door is, who may pass it, and what can be named there."""

    base_url: str
    admin_token: str
    team_key: str
    #: What a parameter of a path may be called, by its name.
    known: Mapping[str, list[str]]
    processes: tuple[Process, ...]


@dataclass(frozen=True)
class _Tenant:
    names: list[str]
    key_ids: list[str]
    key_text: str


@contextmanager
def ground(emulator: EmulatorProcess, database_url: str, redis_url: str, folder: Path) -> Iterator[Ground]:
    """Start it all on those servers; ends what it started."""
    port = ports.free_one()
    environ = rig.environment(emulator, database_url, redis_url, folder, TORII_PORT=str(port))
    tenant = asyncio.run(_prepare(environ))
    base_url = f"http://{ports.LOOPBACK}:{port}"
    with contextlib.ExitStack() as ending:
        started = []
        for name, module, ready in (
            ("serve", "service", f"{base_url}/health/ready"),
            ("work", "workers", "worker_ready"),
        ):
            process = Process([sys.executable, "-m", module], folder=folder, environment=environ, name=name)
            ending.callback(process.end)
            started.append(process.start().wait_ready(ready))
        jobs = _orders(base_url, tenant.key_text)
        yield Ground(
            base_url=base_url,
            admin_token=environ["TORII_ADMIN_TOKEN"],
            team_key=tenant.key_text,
            known={
                "team": tenant.names,
                "key": tenant.key_ids,
                "job": jobs,
                "jobId": jobs,
                "apiId": ["flux-2-max", "flux-2-klein-9b"],
                "model": ["flux-2-max"],
                "resolution": ["1 MP", "4 MP"],
            },
            processes=tuple(started),
        )


async def _prepare(environ: Mapping[str, str]) -> _Tenant:
    settings = values.read(Purpose.SERVE, environ, env_file=None)
    opened = database.open(settings.reveal("database_url"))
    ring = keyring.derive(settings.secret_key)
    now = datetime.now(UTC)
    try:
        await schema.migrate(opened)
        async with opened.write() as tx:
            team = await teams.create(tx, "fuzzers", now)
            await teams.limit(tx, team.id, {"rpm": _RPM})
            _, text = await keys.create(tx, team.id, "fuzz", scopes.DEFAULT | {Scope.MANAGE}, ring.api_keys, now)
            spare, _ = await keys.create(tx, team.id, "spare", scopes.DEFAULT, ring.api_keys, now)
            await budgets.put(tx, Budget(team.id, "", Window.MONTH, _BUDGET_MICROS))
            victim = await teams.create(tx, "victims", now)
    finally:
        await opened.close()
    # The fuzzer's own team and key are not named to it, or it would soon delete the one and revoke the other.
    return _Tenant([victim.id, victim.name], [spare.id], text.reveal())


def _orders(base_url: str, key_text: str) -> list[str]:
    with httpx.Client(base_url=base_url, headers={"Authorization": f"Bearer {key_text}"}, trust_env=False) as client:
        jobs = [
            str(client.post("/api/v1/models/flux-2-max/run", json={"prompt": "a torii gate"}).json()["jobId"])
            for _ in range(_ORDERS)
        ]
        wait.until_sync(
            lambda: all(client.get(f"/api/v1/jobs/{job}").json()["status"] == "completed" for job in jobs),
            timeout_s=30,
            what="the first pictures are made",
            every_s=0.1,
        )
    return jobs


def is_bug(line: str) -> bool:
    """Whether a line of a process's log tells of a bug of ours."""
    return '"event":"bug"' in line.replace(" ", "") or "Traceback" in line
