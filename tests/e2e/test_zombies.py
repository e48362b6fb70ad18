"""Workers that stall and wake up again. On PostgreSQL only: a stalled process may hold SQLite's one lock for ever."""

from collections.abc import Callable

import pytest

from gateway.jobs.states import State
from tests.support import wait
from tests.support.emulator import EmulatorProcess
from tests.support.process import Process
from tests.support.rig import Rig

CREDIT = 1_000_000
StartWorker = Callable[..., Process]


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """Give PostgreSQL alone."""
    return postgres_url


async def test_a_paused_worker_that_comes_back_does_no_harm(
    rig: Rig, emulator: EmulatorProcess, start_worker: StartWorker
) -> None:
    """A worker taken for dead that wakes up finds its work done, books what it still knows, and sends nothing twice."""
    emulator.switch(time_scale=0.02)
    zombie = start_worker("zombie")
    jobs = [await rig.order(seed=number) for number in range(4)]
    await rig.reaches(jobs[0].id, State.RUNNING)
    zombie.pause()
    start_worker("heir")
    for job in jobs:
        # A POST that was under way when its worker froze is unknown, and must be.
        await rig.reaches(job.id, State.COMPLETED, State.SUBMISSION_UNKNOWN, within_s=30)
    zombie.resume()
    again = await rig.order(seed=99)
    assert await rig.ended(again.id) == [State.COMPLETED]

    async def adds_up() -> bool:
        # The zombie may book an answer that it still knew at any moment from here on.
        unknown = [job.id for job in jobs if (await rig.job(job.id)).state is State.SUBMISSION_UNKNOWN]
        done = [job.id for job in jobs if (await rig.job(job.id)).state is State.COMPLETED]
        if len(unknown) + len(done) < len(jobs):
            return False
        return await rig.balance() == (len(unknown) * 2 * CREDIT, (len(done) + 1) * 2 * CREDIT)

    await wait.until(adds_up, timeout_s=20, what="every job is done or unknown, and the ledger says so")
    assert emulator.books()["totals"]["submitsReceived"] <= len(jobs) + 1
