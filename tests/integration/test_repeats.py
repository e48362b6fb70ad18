"""Repeats of a paid request, on both databases: whatever the order of things, as many jobs as callers."""

import asyncio
from datetime import UTC, datetime, timedelta

from gateway import errors, ids
from gateway.jobs import repeats, sweep
from gateway.jobs.record import Job
from gateway.jobs.repeats import Overtaken, Request
from gateway.storage import repeat_tables
from tests.support.rig import Rig

BODY = {"prompt": "a gate", "model": "flux-2-max"}


def asks(rig: Rig, repeat: int, began_at: datetime | None = None, key_id: str | None = None) -> Request:
    """A request of the one body."""
    return repeats.request(key_id or rig.caller.key_id, BODY, repeat, began_at or datetime.now(UTC))


async def order(rig: Rig, request: Request) -> Job:
    """A job made for that request, in one transaction with its row."""
    job = await rig.order()
    async with rig.house.database.write() as tx:
        await request.beside(tx, job, datetime.now(UTC))
    return job


async def ordered_or_taken(rig: Rig, request: Request) -> str:
    """What a front door does with a repeat: take over what there is, or make one."""
    for _ in range(20):
        job_id = await repeats.claim(rig.house.database, request, datetime.now(UTC))
        if job_id is not None:
            return job_id
        try:
            return (await order(rig, request)).id
        except Overtaken:
            continue
    raise errors.StoreUnavailable


async def test_each_repeat_takes_a_job_of_its_own(rig: Rig) -> None:
    """Ten callers of one body whose connections broke at once: each of their repeats has one of the ten jobs."""
    first = [asks(rig, 0) for _ in range(10)]
    jobs = [await order(rig, request) for request in first]
    for repeat in (1, 2):
        taken = await asyncio.gather(*(ordered_or_taken(rig, asks(rig, repeat)) for _ in first))
        assert sorted(taken) == sorted(job.id for job in jobs)


async def test_repeats_that_race_make_one_job(rig: Rig) -> None:
    """A first request whose job is not yet there and its repeat, in any order: one of them makes the job."""
    for _ in range(5):
        key_id = ids.claim()
        began_at = datetime.now(UTC)

        async def first(key_id: str = key_id, began_at: datetime = began_at) -> str | None:
            try:
                return (await order(rig, asks(rig, 0, began_at, key_id))).id
            except Overtaken:
                return None

        made, taken = await asyncio.gather(first(), ordered_or_taken(rig, asks(rig, 1, began_at, key_id)))
        assert made in (taken, None)


async def test_a_job_whose_request_is_gone_goes_before_one_that_may_live(rig: Rig) -> None:
    """A repeat takes what was given back; only without such it takes over what another request still holds."""
    lives, gone = asks(rig, 0), asks(rig, 0)
    alive, left = await order(rig, lives), await order(rig, gone)
    await repeats.give_back(rig.house.database, gone, left.id)
    first, second = asks(rig, 1), asks(rig, 1)
    assert await repeats.claim(rig.house.database, first, datetime.now(UTC)) == left.id
    assert await repeats.claim(rig.house.database, second, datetime.now(UTC)) == alive.id
    assert await repeats.claim(rig.house.database, asks(rig, 1), datetime.now(UTC)) is None
    async with rig.house.database.read() as reader:
        assert not await repeats.held(reader, lives, alive.id)
        assert await repeats.held(reader, second, alive.id)
    # Who lost its job can neither give it back nor have it delivered.
    await repeats.give_back(rig.house.database, lives, alive.id)
    await repeats.delivered(rig.house.database, lives, alive.id, datetime.now(UTC))
    async with rig.house.database.read() as reader:
        assert await repeats.held(reader, second, alive.id)


async def test_what_was_delivered_or_is_old_is_nobodys(rig: Rig) -> None:
    """A delivered answer and one that is older than 15 minutes is no repeat's, and the latter is forgotten."""
    request = asks(rig, 0)
    job = await order(rig, request)
    assert await repeats.claim(rig.house.database, asks(rig, 1, key_id="another"), datetime.now(UTC)) is None
    later = datetime.now(UTC) + timedelta(minutes=15, seconds=1)
    assert await repeats.claim(rig.house.database, asks(rig, 1), later) is None
    await repeats.delivered(rig.house.database, request, job.id, datetime.now(UTC))
    assert await repeats.claim(rig.house.database, asks(rig, 1), datetime.now(UTC)) is None
    row = repeat_tables.unanswered
    async with rig.house.database.write() as tx:
        await tx.execute(row.update().values(created_at=datetime.now(UTC) - repeats.LIFE))
    await sweep.ALL["old_claims"](rig.shop)
    async with rig.house.database.read() as reader:
        assert (await reader.execute(row.select())).all() == []
