"""A whole gateway in real processes while Redis, PostgreSQL or the archive is away, and while it is ended itself."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from gateway.jobs.states import State
from gateway.storage import tables
from tests.support import ports, wait
from tests.support import rig as rigs
from tests.support.emulator import EmulatorProcess
from tests.support.postgres import Postgres
from tests.support.process import Process, StartProcess
from tests.support.rig import Rig
from tests.support.s3 import RadosGateway
from tests.support.s3_bucket import Bucket
from tests.support.valkey import Valkey

CREDIT = 1_000_000
StartWorker = Callable[..., Process]
#: DESIGN's bound on an answer while Redis is away or stalled, and what a busy machine may add to it.
ANSWER_WITHIN_S = 2.0
BUSY_S = 1.0
MOST_ORDERS = 8


@dataclass(frozen=True)
class Door:
    """A service process, met over HTTP with the rig's key."""

    process: Process
    client: httpx.AsyncClient

    async def order(self, **more: Any) -> httpx.Response:
        """Order a picture."""
        body = {"prompt": "a torii gate", "resolution": "0.5 MP", **more}
        return await self.client.post("/api/v1/models/flux-2-max/run", json=body)

    async def read(self, job_id: str) -> httpx.Response:
        """Read a job."""
        return await self.client.get(f"/api/v1/jobs/{job_id}")


StartDoor = Callable[..., Door]


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """Give PostgreSQL alone: what takes the time here is processes, and steps on SQLite have their tests elsewhere."""
    return postgres_url


@pytest.fixture
async def start_door(start_process: StartProcess, environ: dict[str, str], rig: Rig) -> AsyncIterator[StartDoor]:
    """Start `torii serve` as a real process, and wait until it is ready."""
    clients: list[httpx.AsyncClient] = []

    def start(name: str = "service", port: int | None = None) -> Door:
        at = ports.free_one() if port is None else port
        own = {**environ, "TORII_HOST": ports.LOOPBACK, "TORII_PORT": str(at)}
        base_url = f"http://{ports.LOOPBACK}:{at}"
        process = start_process([sys.executable, "-m", "service"], own, name=name)
        process.wait_ready(f"{base_url}/health/ready")
        clients.append(
            httpx.AsyncClient(
                base_url=base_url, trust_env=False, timeout=20, headers={"Authorization": f"Bearer {rig.key_text}"}
            )
        )
        return Door(process, clients[-1])

    yield start
    for client in clients:
        await client.aclose()


async def timed(asked: Any) -> tuple[httpx.Response, float]:
    """An answer, and how many seconds it took."""
    began_s = time.monotonic()
    return await asked, time.monotonic() - began_s


async def orders_while_redis_is_ill(door: Door, known_job: str, for_s: float) -> list[str]:
    """Order and read for so long; each answer must be one that callers may get, in time. The accepted jobs."""
    accepted: list[str] = []
    until_s = time.monotonic() + for_s
    while time.monotonic() < until_s:
        answer, took_s = await timed(door.read(known_job))
        assert answer.status_code == 200, answer.text
        assert took_s < ANSWER_WITHIN_S + BUSY_S
        if len(accepted) < MOST_ORDERS:
            answer, took_s = await timed(door.order(seed=len(accepted)))
            assert answer.status_code in (202, 503), answer.text
            assert took_s < ANSWER_WITHIN_S + BUSY_S
            if answer.status_code == 202:
                accepted.append(str(answer.json()["jobId"]))
            else:
                assert int(answer.headers["Retry-After"]) <= 60
    return accepted


@pytest.mark.parametrize("illness", ["dead", "stalled"])
async def test_redis_away_never_hangs_and_never_refuses_a_good_key(
    illness: str, rig: Rig, emulator: EmulatorProcess, start_door: StartDoor, start_worker: StartWorker, valkey: Valkey
) -> None:
    """With Redis away for 5 s, orders answer 202 or 503 in time and reads go on; then all finishes by itself."""
    worker, door = start_worker(), start_door()
    before = (await door.order()).json()["jobId"]
    (valkey.kill if illness == "dead" else valkey.pause)()
    try:
        accepted = await orders_while_redis_is_ill(door, before, 5.0)
    finally:
        (valkey.start if illness == "dead" else valkey.resume)()
    answer = await door.order()
    assert answer.status_code == 202
    jobs = [before, *accepted, answer.json()["jobId"]]
    assert set(await rig.ended(*jobs, within_s=40)) == {State.COMPLETED}
    assert worker.running
    assert door.process.running
    assert emulator.books()["totals"]["submitsReceived"] == len(jobs)
    assert await rig.balance() == (0, 2 * CREDIT * len(jobs))


async def test_everything_may_be_killed_at_once_and_started_again(
    rig: Rig, emulator: EmulatorProcess, start_door: StartDoor, start_worker: StartWorker, valkey: Valkey
) -> None:
    """After a kill of service, worker and Redis together, and a start, each accepted job ends and is paid once."""
    emulator.switch(time_scale=0.05)
    worker, door = start_worker("first"), start_door("first-door")
    jobs = [(await door.order(seed=number)).json()["jobId"] for number in range(8)]
    await rig.reaches(jobs[0], State.RUNNING)
    for process in (door.process, worker):
        process.kill()
    valkey.kill()
    # Whatever was between intent and answer is unknown, and must be; the others go on.
    valkey.start()
    again = start_door("second-door")
    start_worker("second")
    for job_id in jobs:
        await rig.reaches(job_id, State.COMPLETED, State.SUBMISSION_UNKNOWN, within_s=40)
        assert (await again.read(job_id)).status_code == 200
    unknown = sum([(await rig.job(job_id)).state is State.SUBMISSION_UNKNOWN for job_id in jobs])
    assert emulator.books()["totals"]["submitsReceived"] <= len(jobs)
    assert await rig.balance() == (unknown * 2 * CREDIT, (len(jobs) - unknown) * 2 * CREDIT)


async def test_ending_in_order_disturbs_no_job(
    rig: Rig, emulator: EmulatorProcess, start_door: StartDoor, start_worker: StartWorker
) -> None:
    """SIGTERM to a service and a worker with jobs under way: both end with 0 within 30 s, and no job is in doubt."""
    emulator.switch(time_scale=0.05, submit_fault={"kind": "slow", "delay_s": 2})
    worker, door = start_worker("leaving"), start_door()
    jobs = [(await door.order(seed=number)).json()["jobId"] for number in range(6)]
    await rig.reaches(jobs[0], State.SUBMITTING)
    began_s = time.monotonic()
    statuses = await asyncio.gather(
        asyncio.to_thread(worker.terminate, 30), asyncio.to_thread(door.process.terminate, 30)
    )
    assert list(statuses) == [0, 0]
    assert time.monotonic() - began_s < 30
    assert [job_id for job_id in jobs if (await rig.job(job_id)).state is State.SUBMISSION_UNKNOWN] == []
    emulator.switch(submit_fault=None)
    start_worker("heir")
    assert set(await rig.ended(*jobs, within_s=40)) == {State.COMPLETED}
    assert emulator.books()["totals"]["submitsReceived"] == len(jobs)


async def test_a_killed_workers_work_is_taken_up_within_15_s(
    rig: Rig, emulator: EmulatorProcess, start_worker: StartWorker
) -> None:
    """A claim that died with its worker, here in the middle of a look, is free for others within 15 s."""
    emulator.switch(poll_fault={"kind": "hang", "hang_s": 60, "times": 1})
    workers = [start_worker("first"), start_worker("second")]
    job = await rig.order()

    async def holder() -> int | None:
        """The process that has the job, running upstream, in its hands."""
        held = sa.and_(tables.jobs.c.claimed_by == tables.workers.c.id, tables.jobs.c.state == State.RUNNING)
        async with rig.house.database.read() as connection:
            rows = await connection.execute(sa.select(tables.workers.c.pid).join(tables.jobs, held))
            return rows.scalar_one_or_none()

    # A look that hangs is the only one that can be seen so long.
    wanted = await wait.until(
        lambda: emulator.books()["jobs"] and emulator.books()["jobs"][0]["polls"],
        timeout_s=20,
        what="a look at the job is under way",
    )
    assert wanted
    pid = await wait.until(holder, timeout_s=5, what="the worker that looks")
    next(worker for worker in workers if worker.pid == pid).kill()
    assert await rig.ended(job.id, within_s=15) == [State.COMPLETED]


class TestWithPostgres:
    """What needs a database server that can be stopped."""

    @pytest.mark.parametrize("how", ["stopped", "crashed"])
    async def test_a_database_away_is_a_503_and_comes_back(
        self,
        how: str,
        rig: Rig,
        emulator: EmulatorProcess,
        start_door: StartDoor,
        start_worker: StartWorker,
        postgres: Postgres,
    ) -> None:
        """With PostgreSQL away each answer is a 503 with Retry-After, soon; when it is back all jobs end."""
        emulator.switch(time_scale=0.05)
        start_worker()
        door = start_door()
        jobs = [(await door.order(seed=number)).json()["jobId"] for number in range(4)]
        await asyncio.to_thread(postgres.stop if how == "stopped" else postgres.kill)
        try:
            for asked in (door.order(), door.read(jobs[0]), door.order()):
                answer, took_s = await timed(asked)
                assert answer.status_code == 503, answer.text
                assert 0 < int(answer.headers["Retry-After"]) <= 60
                assert took_s < 5
            assert (await door.client.get("/health/live")).status_code == 200
        finally:
            # Not in another thread: what a thread has started ends with it.
            postgres.start()

        async def ordered() -> str | None:
            answer = await door.order()
            return str(answer.json()["jobId"]) if answer.status_code == 202 else None

        job_id = await wait.until(ordered, timeout_s=10, what="an order is accepted again")
        assert job_id is not None
        jobs.append(job_id)
        for job_id in jobs:
            await rig.reaches(job_id, State.COMPLETED, within_s=40)
        # No order that was answered 503 may have become a job: none could be committed.
        assert emulator.books()["totals"]["submitsReceived"] == len(jobs)
        assert await rig.balance() == (0, 2 * CREDIT * len(jobs))


class TestWithS3:
    """What needs an archive that can be stopped."""

    @pytest.fixture
    def environ(
        self, emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path, s3: Bucket
    ) -> dict[str, str]:
        """Give the settings of a gateway whose archive is a bucket."""
        archive = {"TORII_ARCHIVE_URL": s3.url("e2e"), **s3.environment()}
        return rigs.environment(emulator, database_url, redis_url, tmp_path, **archive)

    @pytest.mark.timeout(180)
    async def test_jobs_wait_for_an_archive_that_is_away(
        self, rig: Rig, emulator: EmulatorProcess, start_worker: StartWorker, s3_server: RadosGateway
    ) -> None:
        """With the archive gone finished jobs wait in archiving, and end with all their pictures when it is back."""
        start_worker()
        await rig.ended((await rig.order()).id)
        s3_server.stop()
        try:
            jobs = [await rig.order(seed=number, num_outputs=2) for number in range(4)]
            for job in jobs:
                await rig.reaches(job.id, State.ARCHIVING)

            async def tried() -> bool:
                return all([(await rig.job(job.id)).archive_failures for job in jobs])

            await wait.until(tried, timeout_s=60, what="the archive was tried and found away")
        finally:
            s3_server.start()
        assert set(await rig.ended(*(job.id for job in jobs), within_s=60)) == {State.COMPLETED}
        totals = emulator.books()["totals"]
        assert totals["submitsReceived"] == 5
        async with rig.house.database.read() as connection:
            keys = (await connection.execute(sa.select(tables.images.c.object_key))).scalars().all()
        assert len(keys) == 9
        for key in keys:
            assert await rig.house.bucket.exists(key)
