"""``flight``: one ``torii work`` with 2,000 jobs upstream at once: its memory, its processor time, its lag, its calls.

On PostgreSQL and Valkey, pictures of 100 kB into a folder, no limit on the rate. Orders come steadily through one
``torii serve``, as many a second as end. The emulator's own books say when each job ended; they, the servers and the
front door share the machine with the worker, so each one's cores are told.
"""

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
import uvloop
from sqlalchemy.ext.asyncio import create_async_engine

from bench import figures, load, machine, orders, stage, watch
from bench.figures import Figure, Row
from bench.plan import Plan
from bench.stage import Gateway
from bench.watch import Watch
from tests.support.emulator import EmulatorProcess

NAME = "flight"
_BODY = MappingProxyType({"prompt": "a torii gate among two thousand"})
_PICTURE_BYTES = 100_000
#: The seed's own spread about its 44 s.
_SHORTEST, _LONGEST = 43.6 / 44, 44.2 / 44
_LOOK_EVERY_S = 2.0
#: Jobs that wait to be looked at take slots here, though they have ended upstream.
_SLOTS_A_JOB = 1.5
_UNLIMITED = "1000000"
_BALANCE = "100000000"
_LATE_S = 120.0

_JOBS = sa.text("SELECT upstream_job_id, state, finished_upstream_at, ended_at FROM jobs")
_OPEN = sa.text("SELECT count(*) FROM jobs WHERE ended_at IS NULL")


@dataclass(frozen=True)
class Landing:
    """One job's end, in Unix seconds: upstream, seen by us, completed; and the calls that it took."""

    begun_at: float
    finished_at: float
    seen_at: float
    completed_at: float
    calls: int


def measure(plan: Plan) -> Iterator[Row]:
    """One row of the steady stretch, and one of what each process used in it."""
    with (
        EmulatorProcess(time_scale=1.0, balance=_BALANCE) as upstream,
        stage.gateway(
            "postgresql",
            upstream,
            TORII_UPSTREAM_RPM=_UNLIMITED,
            TORII_UPSTREAM_CONCURRENCY=str(round(plan.flight_jobs * _SLOTS_A_JOB)),
        ) as gateway,
    ):
        upstream.switch(
            duration_s={"min": plan.flight_job_s * _SHORTEST, "max": plan.flight_job_s * _LONGEST},
            picture_bytes=_PICTURE_BYTES,
        )
        key = gateway.key()
        served, port = gateway.serve()
        worker = gateway.work()
        processes = {"worker": worker.pid, "serve": served.pid, "emulator": upstream.pid, **gateway.servers}
        what = load.call(port, "POST", stage.RUN, key=key, body=_BODY)
        steady_s = 2 * plan.flight_job_s
        begun_at, begun_s = time.time(), time.monotonic()
        with (
            watch.watching(Watch(processes), _LOOK_EVERY_S) as seen,
            _ordering(what, plan.flight_jobs / plan.flight_job_s, steady_s + plan.flight_hold_s),
        ):
            time.sleep(steady_s + plan.flight_hold_s)
            busy = machine.load_average()
        looks = seen.between(begun_s + steady_s, begun_s + steady_s + plan.flight_hold_s)
        landings = _landings(gateway, upstream, plan)
        window = (begun_at + steady_s, begun_at + steady_s + plan.flight_hold_s)
    yield Row(NAME, "the worker", {**told(landings, *window), **_worker(looks), "load average": busy})
    yield Row(NAME, "cores of each", {name: used for name, used in watch.cores(looks).items() if name != "worker"})


def told(landings: Sequence[Landing], begin_at: float, end_at: float) -> dict[str, Figure]:
    """What became of the jobs that ended upstream in a stretch of time."""
    ended = [each for each in landings if begin_at <= each.finished_at < end_at]
    lags = sorted(each.completed_at - each.finished_at for each in ended)
    return {
        "in flight": round(sum(_overlap_s(each, begin_at, end_at) for each in landings) / (end_at - begin_at)),
        "pictures/s": len(ended) / (end_at - begin_at),
        "lag median s": figures.percentile(lags, 0.5),
        "lag p90 s": figures.percentile(lags, 0.9),
        "lag max s": lags[-1],
        "seen median s": figures.percentile(sorted(each.seen_at - each.finished_at for each in ended), 0.5),
        "calls/picture": figures.mean([float(each.calls) for each in ended]),
    }


def _overlap_s(each: Landing, begin_at: float, end_at: float) -> float:
    return max(0.0, min(each.finished_at, end_at) - max(each.begun_at, begin_at))


def _worker(looks: Sequence[watch.Look]) -> dict[str, Figure]:
    return {
        "RSS MiB": watch.median_mib(looks, "worker"),
        "most MiB": max(look.rss_mib["worker"] for look in looks),
        "cores used": watch.cores(looks)["worker"],
    }


@contextmanager
def _ordering(what: load.Call, per_second: float, seconds: float) -> Iterator[None]:
    """Order steadily from a thread of its own; a wrong answer is raised at the end."""
    wrong: list[BaseException] = []

    def order() -> None:
        try:
            uvloop.run(load.paced(what, 32, per_second, seconds))
        except (load.SpoiltRun, OSError) as error:
            wrong.append(error)

    thread = threading.Thread(target=order, name="orders", daemon=True)
    thread.start()
    yield
    thread.join(seconds + 2 * load.LAST_ANSWERS_S)
    if wrong:
        raise wrong[0]


def _landings(gateway: Gateway, upstream: EmulatorProcess, plan: Plan) -> list[Landing]:
    """All jobs, once the last has ended."""
    rows = asyncio.run(_ended(gateway.environment["TORII_DATABASE_URL"], 2 * plan.flight_job_s + _LATE_S))
    books = {row["jobId"]: row for row in upstream.books()["jobs"]}
    wrong = [row.state for row in rows if row.state != "completed"]
    if wrong:
        raise RuntimeError(f"{len(wrong)} jobs did not complete, the first is {wrong[0]}")
    return [_landing(row, books[row.upstream_job_id]) for row in rows]


async def _ended(url: str, within_s: float) -> Sequence[sa.Row[Any]]:
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection, asyncio.timeout(within_s):
            while (await connection.execute(_OPEN)).scalar_one():
                await connection.rollback()
                await asyncio.sleep(1)
            return (await connection.execute(_JOBS)).all()
    finally:
        await engine.dispose()


def _landing(row: sa.Row[Any], book: Mapping[str, Any]) -> Landing:
    seen_at: datetime = row.finished_upstream_at
    ended_at: datetime = row.ended_at
    return Landing(
        begun_at=orders.moment(book["createdAt"]),
        finished_at=orders.moment(book["finishedAt"]),
        seen_at=seen_at.timestamp(),
        completed_at=ended_at.timestamp(),
        calls=1 + int(book["polls"]),
    )
