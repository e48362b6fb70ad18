"""The upstream goes away for a while under load: the queue waits, and only what was just being sent is in doubt.

``make outage`` lasts a whole minute; here it is shorter. The bound does not depend on how long it lasts but by its
logarithm: the breaker's trials are 1, 2, 4 … s apart, and each trial is a free question before it is a POST.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from gateway.jobs import claims
from gateway.jobs.outcomes import Outcome
from gateway.jobs.states import ENDED, Failure, State
from gateway.storage import tables
from tests.support import rig as rigs
from tests.support import wait
from tests.support.emulator import EmulatorProcess
from tests.support.process import Process
from tests.support.rig import Rig
from tests.support.wire import Wire

#: How long the upstream is away; a whole minute by ``make outage``.
OUTAGE_S = float(os.environ.get("OUTAGE_S", "8"))
QUEUE = 40
LOADED_AT = 10
_OUTAGES: Mapping[str, dict[str, Any]] = MappingProxyType(
    {"refused": {"refuse": True}, "stalled": {"stalled": True}, "cut": {"cut_after_down": 0}}
)
StartWorker = Callable[..., Process]


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """Give PostgreSQL alone: what takes the time here is the outage."""
    return postgres_url


@pytest.fixture
def wire(emulator: EmulatorProcess) -> Iterator[Wire]:
    """Give the wire over which the upstream is met."""
    with Wire(urlsplit(emulator.base_url).port or 0) as made:
        yield made


@pytest.fixture
def environ(emulator: EmulatorProcess, wire: Wire, database_url: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    """Give the settings of a gateway that meets its upstream over the wire."""
    more = {
        "PIXELDOJO_API_BASE": f"http://{wire.address}/api/v1",
        "TORII_RESULT_HOSTS": wire.address,
        "TORII_UPSTREAM_CONCURRENCY": "20",
    }
    return rigs.environment(emulator, database_url, redis_url, tmp_path, **more)


async def doubted(rig: Rig) -> int:
    """How many POSTs have ever been in doubt."""
    attempt = tables.attempts
    doubts = sa.or_(attempt.c.outcome == Outcome.UNKNOWN, attempt.c.evidence.is_not(None))
    async with rig.house.database.read() as connection:
        return int(
            (await connection.execute(sa.select(sa.func.count()).select_from(attempt).where(doubts))).scalar_one()
        )


@pytest.mark.parametrize("how", ["refused", "stalled", "cut"])
@pytest.mark.timeout(400)
async def test_an_outage_does_not_turn_the_queue_into_unknowns(
    how: str, rig: Rig, emulator: EmulatorProcess, wire: Wire, start_worker: StartWorker
) -> None:
    """At most the POSTs that were under way and a trial each are in doubt; everything else is completed after it."""
    emulator.switch(time_scale=0.05, job_list=True, job_list_prompts=True)
    start_worker("first")
    start_worker("second")
    jobs = [(await rig.order(prompt=f"outage {number}", seed=number)).id for number in range(QUEUE)]
    await wait.until(
        lambda: emulator.books(jobs=False)["totals"]["submitsAccepted"] >= LOADED_AT, timeout_s=30, what="load"
    )
    wire.behave(**_OUTAGES[how])
    if how == "refused":
        wire.cut()
    await asyncio.sleep(OUTAGE_S)
    wire.heal()
    if how == "stalled":
        wire.cut()

    async def rest_ended() -> bool:
        found = [(await rig.job(job_id)).state for job_id in jobs]
        return all(state in ENDED or state is State.SUBMISSION_UNKNOWN for state in found)

    await wait.until(rest_ended, timeout_s=OUTAGE_S * 2 + 120, what="all but doubts ended", every_s=0.5)
    trials = max(int(OUTAGE_S), 1).bit_length() + 1
    assert await doubted(rig) <= claims.MOST_UNANSWERED + trials
    found = [await rig.job(job_id) for job_id in jobs]
    assert [job.state for job in found].count(State.COMPLETED) >= QUEUE - claims.MOST_UNANSWERED - trials
    others = [job for job in found if job.state is not State.COMPLETED]
    # A doubt that no evidence ends is told to its caller in time, as a failure that says just that.
    assert {job.error_code for job in others if job.state is not State.SUBMISSION_UNKNOWN} <= {
        Failure.SUBMISSION_UNKNOWN
    }
    prompts = [row["parameters"]["prompt"] for row in emulator.books()["jobs"]]
    assert len(prompts) == len(set(prompts))
