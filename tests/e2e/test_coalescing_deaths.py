"""Processes that die in the middle of a shared generation: who followed is as whole as what was committed."""

import asyncio
import signal
import sys
from pathlib import Path

import httpx
import pytest

from gateway.jobs import sweep
from gateway.jobs.states import State
from gateway.storage import reuse_tables, tables
from tests.support import crowd, mortal, ports
from tests.support.emulator import EmulatorProcess
from tests.support.process import StartProcess
from tests.support.rig import MODEL, Rig


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """Give PostgreSQL alone: what is committed is the same thing on SQLite."""
    return postgres_url


@pytest.mark.parametrize(
    ("step", "leader_is", "follower_is", "kept"),
    [
        ("keeping._conclude:before-commit", State.ARCHIVING, State.QUEUED, 0),
        ("keeping._conclude:after-commit", State.COMPLETED, State.COMPLETED, 1),
    ],
)
async def test_a_worker_dies_at_the_end_of_a_flight(
    step: str,
    leader_is: State,
    follower_is: State,
    kept: int,
    rig: Rig,
    emulator: EmulatorProcess,
    environ: dict[str, str],
    start_process: StartProcess,
    tmp_path: Path,
) -> None:
    """Before the commit nobody has ended and nothing is kept, after it everybody has; then it goes on to the end."""
    leader, follower = await crowd.ask(rig), await crowd.ask(rig)
    (tmp_path / "doomed.order").write_text(f"{step}\t1")
    own = {**environ, mortal.FOLDER: str(tmp_path), mortal.NAME: "doomed"}
    doomed = start_process([sys.executable, "-m", "tests.support.mortal", "work"], own, name="doomed")
    await rig.house.queue.submit()
    assert await asyncio.to_thread(doomed.wait_end, 60) == -signal.SIGKILL, doomed.output()
    before = await rig.job(leader.job.id)
    assert (before.state, (await rig.job(follower.job.id)).state) == (leader_is, follower_is)
    assert len(await crowd.rows(rig, reuse_tables.cache_entries)) == kept
    assert len(await crowd.open_flights(rig)) == 1 - kept
    if before.claimed_by is not None:
        await sweep.free(rig.shop, before.claimed_by)
    await rig.drive(await rig.job(leader.job.id))
    assert (await rig.job(follower.job.id)).state is State.COMPLETED
    assert len(await crowd.pictures(rig, follower.job)) == 1
    assert emulator.books()["totals"]["submitsReceived"] == 1
    assert await rig.balance() == (0, 2_000_000)


async def test_a_front_door_dies_between_a_join_and_its_answer(
    rig: Rig, environ: dict[str, str], start_process: StartProcess, tmp_path: Path
) -> None:
    """What was committed is a whole follower: the same key finds it by another door, and it ends with its leader."""
    leader = await crowd.ask(rig)
    (tmp_path / "doomed.order").write_text("accept._commit:after-commit\t1")
    run, headers = f"/api/v1/models/{MODEL}/run", {"Authorization": f"Bearer {rig.key_text}", "Idempotency-Key": "k-1"}
    doomed_at, other_at = (f"http://127.0.0.1:{port}" for port in ports.free(2))
    own = {**environ, mortal.FOLDER: str(tmp_path), mortal.NAME: "doomed", "TORII_PORT": doomed_at.rpartition(":")[2]}
    doomed = start_process([sys.executable, "-m", "tests.support.mortal", "serve"], own, name="doomed")
    doomed.wait_ready(f"{doomed_at}/health/ready")
    async with httpx.AsyncClient(timeout=60, headers=headers) as client:
        with pytest.raises(httpx.TransportError):
            await client.post(doomed_at + run, json=crowd.BODY)
        assert await asyncio.to_thread(doomed.wait_end, 30) == -signal.SIGKILL
        (follower,) = [row for row in await crowd.rows(rig, tables.jobs) if row.follows is not None]
        other = {**environ, "TORII_PORT": other_at.rpartition(":")[2]}
        start_process([sys.executable, "-m", "service"], other, name="serve").wait_ready(f"{other_at}/health/ready")
        again = await client.post(other_at + run, json=crowd.BODY)
        assert (again.json()["jobId"], again.headers["Idempotent-Replayed"]) == (follower.id, "true")
        await rig.drive(await rig.job(leader.job.id))
        done = await client.post(other_at + run, json=crowd.BODY)
    assert (done.status_code, done.json()["jobId"], done.json()["creditCost"]) == (200, follower.id, 0)
