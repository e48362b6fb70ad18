"""Jobs that wait for the archive before they are sent: how many at once, what they keep, and what they leave free."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator

import pytest

from gateway import errors
from gateway.archive import bucket
from gateway.archive.bucket import Bucket
from gateway.clock import SystemClock
from gateway.images.catalogue import Catalogue
from gateway.jobs import claims, lending, submission
from gateway.jobs.parts import Shop
from gateway.jobs.respite import Respite
from gateway.jobs.states import State
from gateway.jobs.turnstile import Turnstiles
from gateway.storage import tables
from tests.support import crowd, wait
from tests.support.editing import picture
from tests.support.rig import Rig
from tests.support.studio import Studio


class Hanging(Bucket):
    """A bucket that says of nothing whether it is there, while it hangs."""

    asked: int = 0
    most_asked: int = 0
    hangs: bool = True

    async def exists(self, key: str) -> bool:
        """Answer when it hangs no more."""
        self.asked += 1
        self.most_asked = max(self.most_asked, self.asked)
        try:
            while self.hangs:  # noqa: ASYNC110  turned by the test
                await asyncio.sleep(0.01)
            return await super().exists(key)
        finally:
            self.asked -= 1


@pytest.fixture
async def hanging(studio: Studio) -> AsyncIterator[Hanging]:
    """Give a bucket of the same folder that hangs."""
    opened = bucket.open(studio.rig.house.settings.archive_url)
    hanging = Hanging(opened._store, opened._folder, deadline_s=30.0)  # noqa: SLF001  a bucket of the same folder
    yield hanging
    hanging.close()
    opened.close()


def shop_of(rig: Rig, hanging: Hanging) -> Shop:
    """The worker with that archive."""
    return dataclasses.replace(rig.shop, bucket=hanging)


async def debts(rig: Rig) -> list[int]:
    """What teams owe for their turns."""
    return [row.turn_micros for row in await crowd.rows(rig, tables.teams)]


async def test_few_wait_for_the_archive_at_once(studio: Studio, hanging: Hanging) -> None:
    """Of many steps and workers only so many wait; the rest make way, owe nothing, and are sent when it answers."""
    rig, upload = studio.rig, await studio.bring()
    jobs = [(await studio.order(upload.id, prompt=f"{number}")).job.id for number in range(8)]
    shops = [
        dataclasses.replace(shop_of(rig, hanging), turnstiles=Turnstiles(), archive_respite=Respite()) for _ in range(2)
    ]
    steps = [asyncio.create_task(submission.submit(shop)) for shop in shops for _ in range(4)]
    await asyncio.wait(steps, timeout=30.0)
    assert all(step.done() and step.exception() is None for step in steps)
    assert hanging.most_asked == lending.PLACES
    rows = {row.id: row for row in await crowd.rows(rig, tables.jobs)}
    assert {(rows[job_id].state, rows[job_id].claim) for job_id in jobs} == {(State.QUEUED, None)}
    assert [await rig.outcomes(job_id) for job_id in jobs] == [[]] * len(jobs)
    assert set(await debts(rig)) == {0}
    hanging.hangs = False
    await rig.hurry(due_at=lending.AGAIN_AFTER)
    for job_id in jobs:
        assert (await rig.drive(await rig.job(job_id))).state is State.COMPLETED
    assert len(studio.sent()) == len(jobs)


async def test_who_rests_asks_nothing(studio: Studio, hanging: Hanging) -> None:
    """While a worker lets the archive rest, jobs with uploads wait and ask it nothing, and others are sent."""
    rig, upload = studio.rig, await studio.bring()
    shop, now_s = shop_of(rig, hanging), rig.shop.clock.monotonic()
    shop.archive_respite.silent("job_1", now_s, now_s)
    shop.archive_respite.silent("job_2", now_s, now_s)
    jobs = [(await studio.order(upload.id, prompt=f"{number}")).job.id for number in range(3)]
    other = await rig.order()
    with crowd.statements() as asked:
        await submission.submit(shop)
    assert (await rig.job(other.id)).state is State.RUNNING
    assert hanging.most_asked == 0
    # One of them was claimed, and the others made way with it; then the one that was sent.
    assert len([each for each in asked if each.startswith("UPDATE jobs SET claim=")]) == 2
    for job_id in jobs:
        waiting = await rig.job(job_id)
        assert (waiting.state, waiting.claim, waiting.due_at > rig.house.clock.now()) == (State.QUEUED, None, True)


class Broken(Bucket):
    """A bucket one of whose objects cannot be read."""

    broken: str

    async def exists(self, key: str) -> bool:
        """Fail for that one."""
        if key == self.broken:
            raise errors.ArchiveUnavailable
        return await super().exists(key)


async def test_one_broken_object_stops_nobody(studio: Studio) -> None:
    """A job whose own upload cannot be read is put aside alone, each time; others that start from uploads are sent."""
    rig, upload, sound = studio.rig, await studio.bring(), await studio.bring(picture("blue"))
    opened = bucket.open(rig.house.settings.archive_url)
    broken = Broken(opened._store, opened._folder, deadline_s=30.0)  # noqa: SLF001  a bucket of the same folder
    broken.broken = upload.object_key
    shop = dataclasses.replace(rig.shop, bucket=broken)
    stuck = (await studio.order(upload.id)).job.id
    for number in range(2):
        other = (await studio.order(sound.id, prompt=f"{number}")).job.id
        await submission.submit(shop)
        assert (await rig.job(other)).state is State.RUNNING
        assert (await rig.job(stuck)).state is State.QUEUED
        await rig.hurry(due_at=lending.AGAIN_AFTER)
    broken.close()
    opened.close()


async def test_a_step_that_is_cancelled_gives_its_job_back(studio: Studio, hanging: Hanging) -> None:
    """A process that ends in the middle of a look leaves no claim: the job can be taken at once."""
    rig, upload = studio.rig, await studio.bring()
    job = (await studio.order(upload.id)).job
    step = asyncio.create_task(submission.submit(shop_of(rig, hanging)))
    await wait.until(lambda: hanging.asked, timeout_s=5.0, what="the archive is asked")
    step.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await step
    assert step.cancelled()
    freed = await rig.job(job.id)
    assert (freed.state, freed.claim, freed.due_at) == (State.QUEUED, None, job.due_at)
    assert set(await debts(rig)) == {0}
    await submission.submit(rig.shop)
    assert (await rig.job(job.id)).state is State.RUNNING


class Hasty(SystemClock):
    """A clock by which each look takes three seconds."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def monotonic(self) -> float:
        """Three seconds later each time."""
        self.passed_s += 3.0
        return self.passed_s


@pytest.mark.parametrize(("orders", "slow"), [(101, False), (6, True)])
async def test_a_step_that_sends_nothing_ends(rig: Rig, orders: int, slow: bool) -> None:
    """A step ends so many jobs that cannot be sent, for so long, and leaves none of the others claimed."""
    jobs = [(await rig.order(prompt=f"{number}")).id for number in range(orders)]
    shop = dataclasses.replace(rig.shop, catalogue=Catalogue({}), clock=Hasty() if slow else rig.shop.clock)
    await submission.submit(shop)
    rows = {row.id: row for row in await crowd.rows(rig, tables.jobs)}
    left = [rows[job_id] for job_id in jobs if rows[job_id].state == State.QUEUED]
    assert left
    assert len(left) < orders
    assert [row.claim for row in left] == [None] * len(left)
    async with rig.house.database.read() as connection:
        assert (await claims.outlook(connection, 20, rig.house.clock.now())).open
