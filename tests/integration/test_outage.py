"""A minute without the upstream under a long queue: a handful of doubts at most, and every debit accounted for."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway import bootstrap
from gateway.jobs import claims, evidence, submission
from gateway.jobs.parts import Shop
from gateway.jobs.states import State
from gateway.storage import tables
from tests.support import rig as rigs
from tests.support import wait
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig

JOBS = 100
#: What a minute of rests of 1, 2, 4 … seconds leaves room for.
TRIALS = 6


async def push(shop: Shop, times: int) -> None:
    """Several workers' worth of submit steps, as nudges bring them."""
    for _ in range(times):
        await asyncio.gather(*(submission.submit(shop) for _ in range(10)))


async def rest_is_over(rig: Rig) -> None:
    """The breaker's rest has passed; that it has not closed stays."""
    async with rig.house.database.write() as tx:
        await tx.execute(tables.upstream_account.update().values(breaker_until=rig.house.clock.now()))


async def states(rig: Rig) -> dict[str, int]:
    """How many jobs are in which state."""
    job = tables.jobs
    async with rig.house.database.read() as connection:
        rows = await connection.execute(sa.select(job.c.state, sa.func.count()).group_by(job.c.state))
        return {row[0]: row[1] for row in rows}


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 500}, {"kind": "cut_before"}, {"kind": "cut_after"}],
    ids=["500", "cut", "taken and cut"],
)
async def test_an_outage_makes_a_handful_of_doubts(
    emulator: EmulatorProcess, sqlite_url: str, redis_url: str, tmp_path: Path, fault: dict[str, Any]
) -> None:
    """Of 100 queued jobs a few are in doubt; after the outage all are sent, each once, and the books agree."""
    emulator.reset(balance=10_000)
    environ = rigs.environment(emulator, sqlite_url, redis_url, tmp_path, TORII_UPSTREAM_CONCURRENCY="500")
    async with rigs.rig(environ) as rig:
        for number in range(JOBS):
            await rig.order(prompt=f"gate {number}")
        emulator.switch(submit_fault=fault)
        for _ in range(TRIALS):
            await push(rig.shop, 2)
            await rest_is_over(rig)
        during = await states(rig)
        assert 1 <= during[State.SUBMISSION_UNKNOWN] <= claims.MOST_UNANSWERED + TRIALS
        assert emulator.books()["totals"]["submitsReceived"] == during[State.SUBMISSION_UNKNOWN]
        emulator.reset_switches()
        await rest_is_over(rig)
        async with asyncio.timeout(60):
            while (await states(rig)).get(State.QUEUED):
                await push(rig.shop, 1)
        doubts = during[State.SUBMISSION_UNKNOWN]
        totals = emulator.books()["totals"]
        assert totals["submitsReceived"] == JOBS
        assert totals["submitsAccepted"] == JOBS - (0 if fault["kind"] == "cut_after" else doubts)
        if fault["kind"] == "cut_after":
            async with rig.house.database.write() as tx:
                await tx.execute(tables.upstream_account.update().values(evidence_due_at=None))
            await evidence.look(rig.shop)
            assert (await states(rig)).get(State.SUBMISSION_UNKNOWN, 0) == 0
        held, spent = await rig.balance()
        assert spent == totals["debited"] * 1_000_000
        assert held == 2_000_000 * (await states(rig)).get(State.SUBMISSION_UNKNOWN, 0)


@pytest.mark.parametrize("how", ["refused", "429"])
async def test_a_sure_no_makes_no_doubt(
    emulator: EmulatorProcess, sqlite_url: str, redis_url: str, tmp_path: Path, how: str
) -> None:
    """While nobody listens, or the upstream says "later", nothing is unknown and nothing is debited."""
    async with rigs.rig(rigs.environment(emulator, sqlite_url, redis_url, tmp_path)) as rig:
        for number in range(20):
            await rig.order(prompt=f"gate {number}")
        if how == "refused":
            emulator.stop()
        else:
            emulator.switch(submit_fault={"kind": "status", "status": 429, "retry_after_s": 1})
        try:
            for _ in range(3):
                await push(rig.shop, 1)
                await rest_is_over(rig)
            assert set(await states(rig)) == {State.QUEUED}
        finally:
            if how == "refused":
                emulator.start()
        assert emulator.books()["totals"]["debited"] == 0


async def test_the_trial_is_one_post(rig: Rig, emulator: EmulatorProcess) -> None:
    """While the breaker has not closed two workers send one POST between them, after a free question."""
    for number in range(6):
        await rig.order(prompt=f"gate {number}")
    async with rig.house.database.write() as tx:
        await tx.execute(tables.upstream_account.update().values(breaker_failures=3))
    emulator.switch(submit_fault={"kind": "slow", "delay_s": 2, "times": 1})

    async def sent() -> bool:
        return bool(emulator.books(jobs=False)["totals"]["submitsReceived"])

    async with bootstrap.shop(rig.house) as other:
        trial = asyncio.create_task(submission.submit(rig.shop))
        await wait.until(sent, timeout_s=10, what="the trial is on its way")
        await asyncio.gather(*(submission.submit(shop) for shop in (rig.shop, other) for _ in range(3)))
        assert emulator.books(jobs=False)["totals"]["submitsReceived"] == 1
        await trial
        assert emulator.books(jobs=False)["totals"]["modelReads"] >= 1
        await asyncio.gather(*(submission.submit(shop) for shop in (rig.shop, other) for _ in range(3)))
    assert emulator.books(jobs=False)["totals"]["submitsReceived"] == 6
