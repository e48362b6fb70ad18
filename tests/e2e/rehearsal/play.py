"""One rehearsal: a load, each process replaced by the release before and by this one again, each store restarted."""

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.e2e.chaos import unresolved
from tests.e2e.chaos.kills import Kills
from tests.e2e.chaos.run import PICTURE_BYTES, TIME_SCALE, UNKNOWN_BOUND_S, Length, Run
from tests.e2e.chaos.slots import Slot
from tests.e2e.chaos.world import World, begin_s3
from tests.e2e.rehearsal.crowd import Crowd
from tests.support import ports, wait
from tests.support.prometheus import Prometheus
from tests.support.tree import ROOT

READY_WITHIN_S: Final = 60.0
_QUIET_WITHIN_S: Final = UNKNOWN_BOUND_S + 60.0
#: Of the accepted jobs so many are read once more at the end; the record is judged whole.
_READ_AGAIN: Final = 50
_SCRAPE_EVERY: Final = "1s"


@dataclass(frozen=True)
class Scale:
    """How long a rehearsal is."""

    #: How often every process is replaced by the release before, and then by this one.
    rounds: int = 1
    #: Time under load between two restarts, and between two orders.
    pause_s: float = 1.0
    order_every_s: float = 0.3


@dataclass
class Rehearsal:
    """A rehearsal and what became of it."""

    run: Run
    crowd: Crowd
    #: Each restart, in order: what, to which release, and how many seconds until it was ready again.
    restarts: list[tuple[str, str, float]] = field(default_factory=list)
    #: What Prometheus has seen of the money in the end, in credits; none without it.
    scraped: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


async def play(
    world: World, before: Path | None, prometheus: Prometheus | None, scale: Scale, tell: Callable[[str], None]
) -> Rehearsal:
    """Play it to its end: all jobs have ended, or have had the time for it. ``before`` is the release before's tree."""
    began_s = time.monotonic()
    chance = random.Random(7)  # noqa: S311  which caller orders what
    crowd = Crowd(world, chance, "rehearsal")
    run = Run(world, crowd, Kills(world, chance), 7, Length(0, patient=True))
    found = Rehearsal(run, crowd)
    world.servers.emulator.switch(
        time_scale=TIME_SCALE, picture_bytes=PICTURE_BYTES, job_list=True, job_list_prompts=True
    )
    for worker in world.workers:
        worker.process.environment["TORII_WORKER_METRICS_PORT"] = str(ports.free_one())
    try:
        async with _going_on(crowd.balance(), crowd.order_on(scale.order_every_s)):
            crowd.read_on()
            await asyncio.sleep(scale.pause_s)
            for _ in range(scale.rounds):
                await _roll(found, before, scale, tell)
                _scrape(world, prometheus)
                await _restart_stores(found, scale, tell)
                await _roll(found, None, scale, tell)
        async with _going_on(crowd.balance()):
            await crowd.settled()
            await _quiet(found)
            for order in [order for order in crowd.orders if order.job_id is not None][-_READ_AGAIN:]:
                await crowd.read(order)
            if prometheus is not None:
                found.scraped = _money(prometheus)
    finally:
        await crowd.close()
    found.seconds = time.monotonic() - began_s
    return found


@asynccontextmanager
async def _going_on(*deeds: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(deed) for deed in deeds]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        if not isinstance(end, asyncio.CancelledError) and isinstance(end, BaseException):
            raise end


async def _roll(found: Rehearsal, tree: Path | None, scale: Scale, tell: Callable[[str], None]) -> None:
    """Replace one process after the other, workers first as the upgrade says."""
    world = found.run.world
    release = "this" if tree is None else "before"
    for slot in (*world.workers, *world.services):
        began_s = time.monotonic()
        await _replace(slot, tree, world.addresses[world.services.index(slot)] if slot.serves else None)
        took_s = time.monotonic() - began_s
        found.restarts.append((slot.name, release, took_s))
        tell(f"{slot.name} is of the release {release}, {took_s:.1f} s; {found.crowd.requests} requests")
        await asyncio.sleep(scale.pause_s)


async def _replace(slot: Slot, tree: Path | None, address: str | None) -> None:
    slot.tell_to_end()
    await asyncio.to_thread(slot.await_end)
    slot.process.command = [sys.executable, "-m", "service" if slot.serves else "workers"]
    slot.process.environment["PYTHONPATH"] = str(ROOT if tree is None else tree)
    # Started here and not in a thread: what a thread has started ends with it.
    slot.start()
    sign = f"{address}/health/ready" if address else "worker_ready"
    await asyncio.to_thread(slot.process.wait_ready, sign, READY_WITHIN_S)


async def _restart_stores(found: Rehearsal, scale: Scale, tell: Callable[[str], None]) -> None:
    servers = found.run.world.servers
    began_s = time.monotonic()
    await asyncio.to_thread(servers.valkey.stop)
    servers.valkey.start()
    _note(found, "Valkey", began_s, tell)
    await asyncio.sleep(scale.pause_s)
    if servers.postgres is not None:
        began_s = time.monotonic()
        await asyncio.to_thread(servers.postgres.stop)
        servers.postgres.start()
        _note(found, "PostgreSQL", began_s, tell)
        await asyncio.sleep(scale.pause_s)
    if servers.s3 is not None:
        began_s = time.monotonic()
        await asyncio.to_thread(servers.s3.stop)
        await begin_s3(servers.s3)
        _note(found, "S3", began_s, tell)
        await asyncio.sleep(scale.pause_s)


def _note(found: Rehearsal, name: str, began_s: float, tell: Callable[[str], None]) -> None:
    found.restarts.append((name, "", time.monotonic() - began_s))
    tell(f"{name} was restarted, {time.monotonic() - began_s:.1f} s; {found.crowd.requests} requests")


def _scrape(world: World, prometheus: Prometheus | None) -> None:
    """Have Prometheus read every process, and the books once."""
    if prometheus is None:
        return
    workers = [f"{ports.LOOPBACK}:{slot.process.environment['TORII_WORKER_METRICS_PORT']}" for slot in world.workers]
    services = [address.removeprefix("http://") for address in world.addresses]
    jobs = {"torii-worker": (workers, "/metrics"), "torii-service": (services, "/metrics")}
    jobs["torii-books"] = (services[:1], "/metrics/books")
    prometheus.configure(
        {
            "global": {"scrape_interval": _SCRAPE_EVERY},
            "scrape_configs": [
                {"job_name": name, "metrics_path": path, "static_configs": [{"targets": targets}]}
                for name, (targets, path) in jobs.items()
            ],
        }
    )
    prometheus.reload()


def _money(prometheus: Prometheus) -> dict[str, float]:
    now = datetime.now(UTC)

    def read() -> bool:
        seen = prometheus.query("min(timestamp(torii_credits_spent_total))")
        return bool(seen) and float(seen[0]["value"][1]) > now.timestamp()

    wait.until_sync(read, timeout_s=20, what="a scrape of the books after the end")
    asked = {
        "spent": "sum(torii_credits_spent_total) - sum(torii_credits_refunded_total)",
        "held": 'sum(torii_credits_held{window="total"})',
        "processes": 'count(up{job!="torii-books"} == 1)',
    }
    return {name: float(prometheus.query(question)[0]["value"][1]) for name, question in asked.items()}


async def _quiet(found: Rehearsal) -> None:
    """Wait until all jobs have ended and all webhooks are delivered; what has not by then is open."""
    database = found.run.world.house.database

    async def over() -> bool:
        found.run.open_jobs = await unresolved.jobs(database)
        return not found.run.open_jobs and not await unresolved.deliveries(database)

    with contextlib.suppress(wait.NotInTimeError):
        await wait.until(over, timeout_s=_QUIET_WITHIN_S, what="all has ended", every_s=0.5)
