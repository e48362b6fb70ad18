"""``memory``: ten minutes of mixed load on one ``torii serve`` and one ``torii work``, and whether their memory grows.

On PostgreSQL, with the emulator at 1 s. Of ten requests two order a picture, one of them waiting for it; the others are
a hit, two reads, a list, a stream of events, and three that are refused: a wrong key, a job that is not there, a wrong
order.
"""

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import httpx
import uvloop

from bench import machine, stage, watch
from bench.figures import Row
from bench.load import LOOPBACK, SpoiltRun
from bench.plan import Plan
from bench.watch import Watch
from tests.support.emulator import EmulatorProcess

NAME = "memory"
_ONE_SECOND = 1 / 42.5
_AT_ONCE = 200
_ANSWER_WITHIN_S = 60.0
_SETTLES_S = 30.0
_ACCEPTED = 202
#: What a store that does not answer in time leads to: counted, since it says how crowded the machine was.
_BUSY = 503
#: Of the whole time: of the third minute of ten and of the tenth, and what the slope is laid through.
_EARLY, _LATE, _SLOPE = (0.2, 0.3), (0.9, 1.0), (1 / 3, 1.0)
_BALANCE = "100000000"


def measure(plan: Plan) -> Iterator[Row]:
    """A row for each process."""
    settings = {"TORII_UPSTREAM_RPM": "100000", "TORII_UPSTREAM_CONCURRENCY": "200"}
    with (
        EmulatorProcess(time_scale=_ONE_SECOND, balance=_BALANCE) as upstream,
        stage.gateway("postgresql", upstream, **settings) as gateway,
    ):
        upstream.switch(picture_bytes=100_000)
        key = gateway.key()
        served, port = gateway.serve()
        processes = {"serve": served.pid, "work": gateway.work().pid}
        crowd = Crowd(f"http://{LOOPBACK}:{port}", key)
        begun_s = time.monotonic()
        with watch.watching(Watch(processes), plan.memory_every_s) as seen:
            crowd.come(plan.memory_per_s, plan.memory_s)
            busy = machine.load_average()
        for name in processes:
            yield Row(NAME, name, {**grown(seen, name, begun_s, plan.memory_s), "load average": busy})
    # A crowded machine asks and answers less than was meant: then the run says less.
    meant = round(plan.memory_per_s * plan.memory_s)
    yield Row(NAME, "requests", {"meant": meant, **dict(sorted(crowd.answered.items()))})


def grown(seen: Watch, name: str, begun_s: float, took_s: float) -> dict[str, float | int | str]:
    """What one process's memory did over a run that began at a moment of ``time.monotonic``."""

    def part(share: tuple[float, float]) -> list[watch.Look]:
        return seen.between(begun_s + share[0] * took_s, begun_s + share[1] * took_s)

    early_mib, late_mib = watch.median_mib(part(_EARLY), name), watch.median_mib(part(_LATE), name)
    return {
        "MiB at first": seen.looks[0].rss_mib[name],
        "MiB early": early_mib,
        "MiB late": late_mib,
        "MiB grown": late_mib - early_mib,
        "MiB/h": watch.slope_mib_per_h(part(_SLOPE), name),
        "cores used": watch.cores(seen.looks)[name],
        "looks": len(seen.looks),
    }


@dataclass
class Crowd:
    """Callers of every kind, and what they were answered, by the kind."""

    base_url: str
    key: str = field(repr=False)
    answered: Counter[str] = field(default_factory=Counter)
    _job_id: str = ""

    def come(self, per_second: float, seconds: float) -> None:
        """Ask steadily, from a thread of its own; raises ``SpoiltRun`` for an answer that should not be."""
        wrong: list[BaseException] = []

        def ask() -> None:
            try:
                uvloop.run(self._ask(per_second, seconds))
            except (SpoiltRun, httpx.HTTPError, TimeoutError, ExceptionGroup) as error:
                wrong.append(error)

        thread = threading.Thread(target=ask, name="crowd", daemon=True)
        thread.start()
        thread.join(seconds + _ANSWER_WITHIN_S + _SETTLES_S)
        if wrong:
            raise SpoiltRun(f"the mixed load broke off: {_first(wrong[0])!r}")

    async def _ask(self, per_second: float, seconds: float) -> None:
        limits = httpx.Limits(max_connections=_AT_ONCE, max_keepalive_connections=_AT_ONCE)
        headers = {"Authorization": f"Bearer {self.key}"}
        async with (
            httpx.AsyncClient(
                base_url=self.base_url, headers=headers, trust_env=False, timeout=_ANSWER_WITHIN_S, limits=limits
            ) as client,
            asyncio.TaskGroup() as asking,
        ):
            while not self._job_id:
                await self._order(client)
            kinds: itertools.cycle[Callable[[httpx.AsyncClient], Awaitable[None]]] = itertools.cycle(
                (
                    self._order,
                    self._hit,
                    self._read,
                    self._listen,
                    self._strange,
                    self._list,
                    self._wait,
                    self._absent,
                    self._read,
                    self._wrong,
                )
            )
            begun_s = time.monotonic()
            for number in range(round(per_second * seconds)):
                await asyncio.sleep(begun_s + number / per_second - time.monotonic())
                asking.create_task(_awaited(next(kinds)(client)))

    async def _order(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(stage.RUN, json={"prompt": "a torii gate of its own"})
        self._count("order", answer, 202)
        if answer.status_code == _ACCEPTED:
            self._job_id = answer.json()["jobId"]

    async def _hit(self, client: httpx.AsyncClient) -> None:
        # The first of them is no hit, nor those that come while it is made.
        self._count("hit", await client.post(stage.RUN, json={"prompt": "the same torii gate", "seed": 7}), 200, 202)

    async def _wait(self, client: httpx.AsyncClient) -> None:
        body = {"prompt": "a torii gate that is waited for"}
        self._count("wait", await client.post(stage.RUN, json=body, headers={"Prefer": "wait=30"}), 200, 202)

    async def _read(self, client: httpx.AsyncClient) -> None:
        self._count("read", await client.get(f"/api/v1/jobs/{self._job_id}"), 200)

    async def _list(self, client: httpx.AsyncClient) -> None:
        self._count("list", await client.get("/api/v1/jobs?limit=20"), 200)

    async def _listen(self, client: httpx.AsyncClient) -> None:
        async with client.stream("GET", f"/api/v1/jobs/{self._job_id}/events") as answer:
            self._count("events", answer, 200)
            async for _ in answer.aiter_bytes():
                pass

    async def _strange(self, client: httpx.AsyncClient) -> None:
        headers = {"Authorization": "Bearer torii_made_up"}
        self._count("wrong key", await client.get("/api/v1/account", headers=headers), 401, 429)

    async def _absent(self, client: httpx.AsyncClient) -> None:
        self._count("no such job", await client.get("/api/v1/jobs/job_0000000000000000000000"), 404)

    async def _wrong(self, client: httpx.AsyncClient) -> None:
        self._count("wrong order", await client.post(stage.RUN, json={"prompt": "x", "seed": "seven"}), 400)

    def _count(self, kind: str, answer: httpx.Response, *expected: int) -> None:
        if answer.status_code not in (*expected, _BUSY):
            raise SpoiltRun(f"{kind}: answered {answer.status_code}")
        self.answered[f"{kind} {answer.status_code}"] += 1


async def _awaited(asked: Awaitable[None]) -> None:
    await asked


def _first(error: BaseException) -> BaseException:
    """Of a group of errors the first; a single one is that."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
