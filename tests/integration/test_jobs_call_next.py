"""When workers are nudged about the next queued job: where one waits that can be taken, and not for nothing."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from gateway.jobs import claims, submission
from gateway.jobs.states import State
from gateway.storage import database, keyspace, tables
from tests.support import wait
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig

_job = tables.jobs


async def nudges(rig: Rig) -> int:
    """How many nudges come of one call, in a queue that was empty."""
    await rig.shop.redis.delete(keyspace.QUEUE)
    await claims.call_next(rig.shop, "probe")
    return int(await rig.shop.redis.zcard(keyspace.QUEUE))


async def test_an_empty_line_is_nudged_about_by_nobody(rig: Rig) -> None:
    """Room that nobody waits for makes no nudge, and a look at an empty line says at once that it is closed."""
    assert await nudges(rig) == 0
    async with rig.shop.database.read() as connection:
        assert not (await claims.outlook(connection, 20, rig.shop.clock.now())).open


async def test_a_job_that_can_be_taken_is_nudged_about(rig: Rig) -> None:
    """A queued job that is due and free makes one nudge; once it is claimed it makes none."""
    await rig.order()
    assert await nudges(rig) == 1
    assert await claims.take_queued(rig.shop, rig.shop.clock.now()) is not None
    assert await nudges(rig) == 0


async def test_a_job_that_waits_for_its_time_is_nudged_about_when_that_comes(rig: Rig) -> None:
    """One that is put off makes no nudge before it is due."""
    job = await rig.order()
    for late, expected in ((timedelta(minutes=1), 0), (-timedelta(minutes=1), 1)):
        async with rig.shop.database.write() as tx:
            due_at = rig.shop.clock.now() + late
            await tx.execute(_job.update().where(_job.c.id == job.id).values(due_at=due_at))
        assert await nudges(rig) == expected


async def test_a_job_that_goes_on_upstream_makes_no_nudge(rig: Rig) -> None:
    """Only queued jobs wait for room."""
    job = await rig.order()
    async with rig.shop.database.write() as tx:
        await tx.execute(_job.update().where(_job.c.id == job.id).values(state=State.RUNNING))
    assert await nudges(rig) == 0


async def test_where_the_store_cannot_say_the_nudge_goes_out(rig: Rig) -> None:
    """A store that is away when room was made costs a look in vain, never a job's turn."""
    gone = database.open("postgresql+asyncpg://nobody@127.0.0.1:1/gone")
    try:
        await rig.shop.redis.delete(keyspace.QUEUE)
        await claims.call_next(replace(rig.shop, database=gone), "probe")
        assert await rig.shop.redis.zcard(keyspace.QUEUE) == 1
    finally:
        await gone.close()


async def test_who_found_too_many_on_their_way_is_nudged_when_one_is_answered(
    rig: Rig, emulator: EmulatorProcess
) -> None:
    """A job that waits because enough POSTs are unanswered need not wait for the sweep: an answer makes a nudge."""
    emulator.switch(submit_fault={"kind": "slow", "delay_s": 1.0})
    jobs = [await rig.order(prompt=f"torii number {number}") for number in range(claims.MOST_UNANSWERED + 1)]
    sent = [asyncio.create_task(submission.submit(rig.shop)) for _ in range(claims.MOST_UNANSWERED)]
    await wait.until(
        lambda: len(emulator.books()["jobs"]) == len(sent), timeout_s=10, what="as many are sent as may be unanswered"
    )
    async with rig.shop.database.read() as connection:
        assert not (await claims.outlook(connection, 20, rig.shop.clock.now())).open
    await rig.shop.redis.delete(keyspace.QUEUE)
    await asyncio.gather(*sent)
    found = [name.decode() for name in await rig.shop.redis.zrange(keyspace.QUEUE, 0, -1)]
    assert any(name.endswith(":answered") for name in found)
    states = [(await rig.job(job.id)).state for job in jobs]
    assert sorted(states) == sorted([State.QUEUED, *[State.RUNNING] * claims.MOST_UNANSWERED])
