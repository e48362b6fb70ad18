"""The run that is pictured: three teams, two services, two workers, and most of what can go wrong, in four minutes.

Real processes on PostgreSQL and Valkey, the emulator in place of PixelDojo with quicker jobs, and Prometheus with the
rules of ``deploy/``. What happens follows from a seed and from the machine's pace; nothing is proven here.
"""

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from gateway.storage import database, schema
from tests.deploy.panels import answers
from tests.deploy.panels.answers import Period, Played
from tests.support import ports, rig, wait, watched
from tests.support.emulator import EmulatorProcess
from tests.support.postgres import Postgres
from tests.support.process import Process
from tests.support.prometheus import Prometheus
from tests.support.receiver import Receiver, answer
from tests.support.valkey import Valkey

RUN_S: Final = 240
#: Prometheus' pace; a page of a busy machine takes its time.
_EVERY: Final = "2s"
#: Jobs that end within are followed to their pictures.
_FOLLOWED_S: Final = 60
_TOKEN: Final = "a-token-of-prometheus"
_MOTIFS: Final = (
    "a torii gate in rain",
    "a fox under a maple",
    "paper cranes",
    "a lighthouse in fog",
    "a glass teapot",
)


@dataclass(frozen=True, kw_only=True)
class Team:
    """A team and how it orders: so many orders a second, some of them again, some twice at once."""

    name: str
    model: str
    per_s: float
    again: float
    wanted: Mapping[str, Any]


TEAMS: Final = (
    Team(
        name="atelier",
        model="flux-2-max",
        per_s=0.55,
        again=0.2,
        wanted={"budgets": [{"window": "day", "limit": 700}, {"window": "month", "limit": 1000}]},
    ),
    Team(
        name="newsroom",
        model="flux-2-max",
        per_s=0.25,
        again=0.1,
        wanted={"budgets": [{"window": "month", "limit": 130}]},
    ),
    Team(
        name="shop",
        model="flux-2-klein-9b",
        per_s=0.3,
        again=0.4,
        wanted={"budgets": [{"window": "day", "limit": 16}], "rpm": 12},
    ),
)


@dataclass
class Stage:
    """The processes of the run, and what its callers need."""

    emulator: EmulatorProcess
    receiver: Receiver
    workers: tuple[Process, ...]
    urls: tuple[str, ...]
    admin_token: str
    client: httpx.AsyncClient
    chance: random.Random = field(default_factory=lambda: random.Random(20))  # noqa: S311  # no secret

    async def ask(self, method: str, path: str, key: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        """Ask one of the services."""
        url = self.chance.choice(self.urls)
        return await self.client.request(method, url + path, headers={"Authorization": f"Bearer {key}"}, json=body)

    async def operate(self, path: str, body: Mapping[str, Any]) -> Any:
        """Make something as the operator."""
        made = await self.ask("POST", f"/admin/v1/{path}", self.admin_token, body)
        assert made.is_success, made.text
        return made.json()


async def played(folder: Path) -> Played:
    """Play for four minutes, and ask what the panels ask."""
    with contextlib.ExitStack() as ending:
        valkey, postgres = ending.enter_context(Valkey()), ending.enter_context(Postgres())
        emulator = ending.enter_context(EmulatorProcess(time_scale=0.12, balance=1000))
        prometheus = ending.enter_context(Prometheus())
        async with _gateway(folder, emulator, postgres, valkey, prometheus) as stage:
            start = time.time()
            await _play(stage)
            return answers.asked(prometheus, Period(start, time.time()))


@contextlib.asynccontextmanager
async def _gateway(
    folder: Path, emulator: EmulatorProcess, postgres: Postgres, valkey: Valkey, prometheus: Prometheus
) -> AsyncIterator[Stage]:
    settings = rig.environment(
        emulator,
        postgres.url(postgres.create()),
        valkey.url,
        folder,
        TORII_METRICS_TOKEN=_TOKEN,
        TORII_UPSTREAM_RPM="1200",
        TORII_UPSTREAM_CONCURRENCY="12",
        TORII_WEBHOOK_ALLOW_NETS="127.0.0.0/8",
    )
    opened = database.open(settings["TORII_DATABASE_URL"])
    await schema.migrate(opened)
    await opened.close()
    doors, engines = ports.free(2), ports.free(2)
    services = [_process("service", folder, {**settings, "TORII_PORT": str(port)}) for port in doors]
    workers = [_process("workers", folder, {**settings, "TORII_WORKER_METRICS_PORT": str(port)}) for port in engines]
    with contextlib.ExitStack() as ending:
        for process in (*services, *workers):
            process.start()
            ending.callback(process.end)
        for port, process in zip(doors, services, strict=True):
            process.wait_ready(f"http://{ports.LOOPBACK}:{port}/health/ready", 60)
        for process in workers:
            process.wait_ready("worker_ready", 60)
        _watch(prometheus, folder, doors, engines)
        async with Receiver().listening() as receiver, httpx.AsyncClient(trust_env=False, timeout=30) as client:
            urls = tuple(f"http://{ports.LOOPBACK}:{port}" for port in doors)
            yield Stage(emulator, receiver, tuple(workers), urls, settings["TORII_ADMIN_TOKEN"], client)


def _process(module: str, folder: Path, settings: Mapping[str, str]) -> Process:
    port = settings.get("TORII_PORT", settings["TORII_WORKER_METRICS_PORT"])
    return Process([sys.executable, "-m", module], folder=folder, environment=settings, name=f"{module}-{port}")


def _watch(prometheus: Prometheus, folder: Path, doors: list[int], engines: list[int]) -> None:
    """Have both of each kind read, and the books of the first."""
    token_file = folder / "token"
    token_file.write_text(_TOKEN)
    configuration = watched.configuration(doors[0], engines[0], token_file)
    configuration["global"] |= {"scrape_interval": _EVERY, "scrape_timeout": _EVERY, "evaluation_interval": _EVERY}
    for job in configuration["scrape_configs"]:
        job |= {"scrape_interval": _EVERY, "scrape_timeout": _EVERY}
        several = {"torii-service": doors, "torii-worker": engines}.get(job["job_name"], doors[:1])
        job["static_configs"][0]["targets"] = [f"{ports.LOOPBACK}:{port}" for port in several]
    prometheus.configure(configuration)
    prometheus.reload()


async def _play(stage: Stage) -> None:
    """Have teams order for the whole run, while trouble comes and goes."""
    keys: list[str] = []
    for team in TEAMS:
        await stage.operate("teams", {"name": team.name, **team.wanted})
        made = await stage.operate(f"teams/{team.name}/keys", {"scopes": ["generate", "read", "manage"]})
        keys.append(str(made["key"]))
    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(_orders(stage, team, key)) for team, key in zip(TEAMS, keys, strict=True)]
        callers.append(group.create_task(_trouble(stage)))
        await asyncio.sleep(RUN_S)
        for caller in callers:
            caller.cancel()


async def _orders(stage: Stage, team: Team, key: str) -> None:
    """Order at the team's pace until told to end; at times it is in a hurry."""
    began = time.monotonic()
    made: list[Mapping[str, Any]] = []
    async with asyncio.TaskGroup() as group:
        while True:
            hurry = 3.0 if team.name == "atelier" and 150 < time.monotonic() - began < 168 else 1.0
            await asyncio.sleep(stage.chance.expovariate(team.per_s * hurry))
            if made and stage.chance.random() < team.again:
                body = stage.chance.choice(made)
            else:
                body = _body(stage)
                made.append(body)
            twice = stage.chance.random() < 0.12
            for _ in range(1 + twice):
                group.create_task(_order(stage, team, key, body))


def _body(stage: Stage) -> dict[str, Any]:
    """Return an order that nobody made before; one of sixteen fails upstream."""
    prompt = stage.chance.choice(_MOTIFS)
    if stage.chance.random() < 1 / 16:
        prompt += ", haunted"
    seed = stage.chance.randrange(1_000_000)
    return {"prompt": prompt, "seed": seed, "resolution": "0.5 MP", "webhook_url": stage.receiver.url()}


async def _order(stage: Stage, team: Team, key: str, body: Mapping[str, Any]) -> None:
    """Order, look until the job has ended, read its pictures; sometimes by a broken link, sometimes to erase it."""
    ordered = await stage.ask("POST", f"/api/v1/models/{team.model}/run", key, body)
    if not ordered.is_success:
        return
    path = f"/api/v1/jobs/{ordered.json()['jobId']}"

    async def ended() -> dict[str, Any] | None:
        job: dict[str, Any] = (await stage.ask("GET", path, key)).json()
        return job if job["status"] in ("completed", "failed") else None

    with contextlib.suppress(wait.NotInTimeError):
        job = await wait.until(ended, timeout_s=_FOLLOWED_S, what="the job ended", every_s=1.5)
        for link in (job or {}).get("output", {}).get("images", []):
            broken = stage.chance.random() < 0.1
            await stage.client.get(f"{link}x" if broken else link)
        if stage.chance.random() < 0.06:
            await stage.ask("DELETE", path, key)


async def _trouble(stage: Stage) -> None:
    """What goes wrong, and when, in seconds from the beginning."""
    began = time.monotonic()
    for at, happens in sorted(_happenings(stage), key=lambda each: each[0]):
        await asyncio.sleep(max(began + at - time.monotonic(), 0))
        await happens()


def _happenings(stage: Stage) -> list[tuple[float, Callable[[], Awaitable[Any]]]]:
    switch, say, worker = stage.emulator.switch, stage.receiver.say, stage.workers[1]
    many = {"kind": "status", "status": 429, "retry_after_s": 1}
    slow = {"kind": "slow", "delay_s": 2.5}

    def done(what: Callable[..., object], *words: object, **more: object) -> Callable[[], Awaitable[Any]]:
        return lambda: asyncio.to_thread(what, *words, **more)

    return [
        (0, done(switch, outcome={"kind": "failed", "prompt_contains": "haunted"})),
        (45, done(switch, submit_fault={**many, "times": 8}, poll_fault={**many, "times": 10})),
        (62, done(switch, submit_fault=None, poll_fault=None)),
        (95, done(switch, submit_fault=slow, poll_fault=slow)),
        (122, done(switch, submit_fault=None, poll_fault=None)),
        (75, done(say, answer(500))),
        (105, done(say, answer(410), answer(410), answer(410), answer(204))),
        (158, done(worker.kill)),
        (180, done(worker.start)),
        (
            200,
            done(
                switch,
                submit_fault={"kind": "cut_after", "times": 3},
                list_fault={"kind": "status", "status": 500},
            ),
        ),
        (226, done(switch, list_fault=None)),
    ]
