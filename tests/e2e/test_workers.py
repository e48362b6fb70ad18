"""Real worker processes: jobs go through, and survive what happens to the processes."""

import asyncio
import signal
import sys
from collections.abc import Callable

import httpx
import pytest
import sqlalchemy as sa

from gateway.jobs import liveness
from gateway.jobs.states import State
from gateway.storage import tables
from tests.support import wait
from tests.support.emulator import EmulatorProcess
from tests.support.process import Process
from tests.support.rig import Rig
from tests.support.valkey import Valkey

CREDIT = 1_000_000
StartWorker = Callable[..., Process]


async def test_a_worker_carries_jobs_to_their_pictures(
    rig: Rig, emulator: EmulatorProcess, start_worker: StartWorker
) -> None:
    """Ten orders become ten pictures, each submitted and charged once."""
    start_worker()
    jobs = [await rig.order(seed=number) for number in range(10)]
    assert set(await rig.ended(*(job.id for job in jobs))) == {State.COMPLETED}
    totals = emulator.books()["totals"]
    assert (totals["submitsReceived"], totals["debited"]) == (10, 20)
    assert await rig.balance() == (0, 20 * CREDIT)


async def test_two_workers_never_submit_one_job_twice(
    rig: Rig, emulator: EmulatorProcess, start_worker: StartWorker
) -> None:
    """With two workers on one queue each of forty jobs is submitted exactly once."""
    start_worker("first")
    start_worker("second")
    jobs = await asyncio.gather(*(rig.order(seed=number) for number in range(40)))
    assert set(await rig.ended(*(job.id for job in jobs), within_s=60)) == {State.COMPLETED}
    totals = emulator.books()["totals"]
    assert (totals["submitsReceived"], totals["submitsAccepted"]) == (40, 40)


async def test_concurrency_is_the_limit_across_workers(
    rig: Rig, emulator: EmulatorProcess, start_worker: StartWorker
) -> None:
    """However many workers there are, no more jobs are in flight upstream than TORII_UPSTREAM_CONCURRENCY."""
    start_worker("first", TORII_UPSTREAM_CONCURRENCY="3")
    start_worker("second", TORII_UPSTREAM_CONCURRENCY="3")
    jobs = await asyncio.gather(*(rig.order(seed=number) for number in range(12)))
    await rig.ended(*(job.id for job in jobs), within_s=60)
    assert emulator.books()["totals"]["peakInFlight"] <= 3


async def test_a_killed_workers_job_is_finished_by_another(
    rig: Rig, emulator: EmulatorProcess, start_worker: StartWorker
) -> None:
    """A job whose worker is killed while it runs upstream is taken up within 15 s and never submitted again."""
    emulator.switch(time_scale=0.05)
    doomed = start_worker("doomed")
    job = await rig.order()
    await rig.reaches(job.id, State.RUNNING)
    doomed.kill()
    start_worker("heir")
    assert await rig.ended(job.id, within_s=20) == [State.COMPLETED]
    assert emulator.books()["totals"]["submitsReceived"] == 1
    assert await rig.balance() == (0, 2 * CREDIT)


async def test_a_worker_killed_in_the_middle_of_a_post_leaves_an_unknown(
    rig: Rig, emulator: EmulatorProcess, start_worker: StartWorker
) -> None:
    """Killed between intent and answer, the job is unknown within 15 s, its hold kept, and nothing is sent again."""
    emulator.switch(submit_fault={"kind": "hang", "accepted": True})
    doomed = start_worker("doomed")
    job = await rig.order()
    await wait.until(
        lambda: emulator.books(jobs=False)["totals"]["submitsAccepted"] == 1, timeout_s=10, what="the POST arrived"
    )
    doomed.kill()
    start_worker("heir")
    await rig.reaches(job.id, State.SUBMISSION_UNKNOWN, within_s=15)
    assert await rig.balance() == (2 * CREDIT, 0)
    assert emulator.books()["totals"]["submitsReceived"] == 1


async def test_a_worker_told_to_stop_finishes_its_post_first(
    rig: Rig, emulator: EmulatorProcess, start_worker: StartWorker
) -> None:
    """SIGTERM during a POST lets the answer be booked, frees the list of workers, and ends the process with 0."""
    emulator.switch(submit_fault={"kind": "slow", "delay_s": 2, "times": 1})
    worker = start_worker()
    job = await rig.order()
    await rig.reaches(job.id, State.SUBMITTING)
    assert await asyncio.to_thread(worker.terminate, 28) == 0
    assert (await rig.job(job.id)).state is State.RUNNING
    async with rig.house.database.read() as connection:
        listed = (await connection.execute(sa.select(tables.workers.c.id))).scalars().all()
    assert listed == [rig.shop.worker_id]


async def test_a_forgetful_redis_costs_time_but_no_job(
    rig: Rig, emulator: EmulatorProcess, start_worker: StartWorker, valkey: Valkey
) -> None:
    """After FLUSHALL with jobs queued and running, the sweep finds them all."""
    emulator.switch(time_scale=0.05)
    start_worker(TORII_UPSTREAM_CONCURRENCY="2")
    jobs = [await rig.order(seed=number) for number in range(6)]
    await rig.reaches(jobs[1].id, State.RUNNING)
    valkey.flush()
    assert set(await rig.ended(*(job.id for job in jobs), within_s=60)) == {State.COMPLETED}
    assert emulator.books()["totals"]["submitsReceived"] == 6


async def test_a_redis_that_dies_and_comes_back_is_found_again(
    rig: Rig, emulator: EmulatorProcess, start_worker: StartWorker, valkey: Valkey
) -> None:
    """Orders are accepted without Redis, and the worker goes on by itself when Redis is back, empty."""
    worker = start_worker()
    valkey.kill()
    try:
        job = await asyncio.wait_for(rig.order(), 2)
    finally:
        valkey.start()
    assert await rig.ended(job.id) == [State.COMPLETED]
    assert worker.running
    assert emulator.books()["totals"]["submitsReceived"] == 1


async def test_a_worker_tells_of_itself(rig: Rig, start_worker: StartWorker) -> None:
    """/health answers, /metrics has the job's stages after a job, and anything else is 404."""
    worker = start_worker(TORII_WORKER_METRICS_PORT="0", TORII_HOST="127.0.0.1")
    await rig.ended((await rig.order()).id)

    def address() -> str | None:
        found = [line for line in worker.output().splitlines() if "probe_ready" in line]
        return found[0].split('"url": "')[1].split('"')[0] if found else None

    url = await wait.until(address, timeout_s=5, what="the probe's address")
    assert url is not None
    async with httpx.AsyncClient(base_url=url) as client:
        assert (await client.get("/health")).json()["status"] == "ok"
        metrics = (await client.get("/metrics")).text
        assert 'torii_job_stage_duration_seconds_count{stage="archive"} 1.0' in metrics
        assert 'torii_upstream_request_duration_seconds_count{operation="submit",status="202"} 1.0' in metrics
        assert "torii_sweep_last_success_timestamp_seconds" in metrics
        assert (await client.get("/nothing")).status_code == 404
        # Who comes through a proxy is not on this machine, whatever the socket says.
        proxied = await client.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"})
        assert (proxied.status_code, "torii_" in proxied.text) == (401, False)


async def test_the_log_of_a_worker_holds_no_secret_and_no_prompt(
    rig: Rig, start_worker: StartWorker, environ: dict[str, str]
) -> None:
    """After a job and a rejected one, neither key nor secret nor prompt is anywhere in the worker's output."""
    worker = start_worker()
    await rig.ended((await rig.order(prompt="a very particular prompt")).id)
    worker.signal(signal.SIGTERM)
    await asyncio.to_thread(worker.wait_end, 28)
    said = worker.output()
    for secret in (environ["PIXELDOJO_API_KEY"], environ["TORII_SECRET_KEY"], "a very particular prompt"):
        assert secret not in said


async def test_the_dead_are_known_by_their_beat_alone(rig: Rig) -> None:
    """A worker whose row stands still for 8 s of the observer's own clock is dead; one that beats is not."""

    class Hands:
        """A clock whose hands the test moves."""

        def __init__(self) -> None:
            self.at_s = 0.0

        def now(self) -> object:
            raise AssertionError("liveness must not ask for the time of day")

        def monotonic(self) -> float:
            return self.at_s

    hands = Hands()
    watch = liveness.Watch(hands)  # type: ignore[arg-type]  # its now() refuses to answer, on purpose
    async with rig.house.database.read() as connection:
        assert await watch.dead(connection) == []
        hands.at_s = 7.9
        assert await watch.dead(connection) == []
        await liveness.beat(rig.house.database, rig.shop.worker_id, rig.house.clock)
        assert await watch.dead(connection) == []
        hands.at_s = 15.0
        assert await watch.dead(connection) == []
        hands.at_s = 15.9
        assert await watch.dead(connection) == [rig.shop.worker_id]


@pytest.mark.parametrize("variable", ["PIXELDOJO_API_KEY", "TORII_REDIS_URL", "TORII_SECRET_KEY"])
async def test_a_worker_without_a_needed_setting_says_which(
    variable: str, start_process: Callable[..., Process], environ: dict[str, str], rig: Rig
) -> None:
    """A missing setting ends the start with one line that names it, and an exit status that is not 0."""
    del rig
    without = {name: value for name, value in environ.items() if name != variable}
    from_here = start_process([sys.executable, "-m", "workers"], without, name="mute")
    assert await asyncio.to_thread(from_here.wait_end, 10) != 0
    lines = [line for line in from_here.output().splitlines() if line.strip()]
    assert len(lines) == 1
    assert variable in lines[0]
