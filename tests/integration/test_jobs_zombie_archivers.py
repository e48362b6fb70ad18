"""Two workers over one job's pictures, when the first was taken for dead and goes on all the same."""

import asyncio
import dataclasses
from datetime import timedelta

import pytest_asyncio

from gateway.clock import SystemClock
from gateway.jobs import keeping, liveness, lookup, sweep
from gateway.jobs.parts import Shop
from gateway.jobs.states import State
from gateway.upstream import answers
from gateway.upstream.client import Address, Upstream
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig


class Late(Upstream):
    """The upstream over a line on which downloads wait until the test lets them through."""

    def __init__(self, rig: Rig) -> None:
        settings = rig.house.settings
        address = Address(settings.pixeldojo_api_base, settings.result_hosts)
        super().__init__(address, settings.reveal("pixeldojo_api_key"), rig.house.metrics, SystemClock())
        self.asked = asyncio.Event()
        self.open = asyncio.Event()

    async def download(self, url: str) -> answers.Download:
        """As always, once the line is open."""
        self.asked.set()
        await self.open.wait()
        return await super().download(url)


@pytest_asyncio.fixture
async def late(rig: Rig) -> Shop:
    """A second worker, whose downloads wait."""
    shop = dataclasses.replace(rig.shop, worker_id="worker_late", upstream=Late(rig))
    await liveness.register(rig.house.database, shop.worker_id, "test", rig.house.clock)
    return shop


async def pictures(rig: Rig, job_id: str) -> int:
    """How many pictures of the job are in the archive."""
    async with rig.house.database.read() as connection:
        return len(await lookup.images(connection, rig.caller.team_id, job_id))


async def test_who_finds_nothing_does_not_lose_what_another_has_kept(
    rig: Rig, late: Shop, emulator: EmulatorProcess
) -> None:
    """A worker taken for dead that finds the copies gone leaves the job to who has the picture: never archive_lost."""
    assert isinstance(late.upstream, Late)
    job = await rig.drive(await rig.order(num_outputs=2), State.ARCHIVING)
    zombie = asyncio.create_task(keeping.keep(late, job.id))
    await late.upstream.asked.wait()
    await sweep.free(rig.shop, late.worker_id)
    emulator.switch(download_fault=[{"kind": "status", "status": 500, "after": 1, "times": 1}])
    await keeping.keep(rig.shop, job.id)
    assert (await pictures(rig, job.id), (await rig.job(job.id)).state) == (1, State.ARCHIVING)

    emulator.delete_files()
    await rig.hurry(results_expire_at=timedelta(hours=2))
    late.upstream.open.set()
    await zombie
    await late.upstream.close()
    assert (await rig.job(job.id)).state is State.ARCHIVING
    ended = await rig.drive(job)
    assert (ended.state, ended.partial, await pictures(rig, job.id)) == (State.COMPLETED, True, 1)


async def test_what_a_zombie_has_kept_counts_for_who_finds_nothing(
    rig: Rig, late: Shop, emulator: EmulatorProcess
) -> None:
    """A picture that a worker taken for dead brought into the archive is found by its successor before it gives up."""
    assert isinstance(late.upstream, Late)
    job = await rig.drive(await rig.order(num_outputs=2), State.ARCHIVING)
    successor = asyncio.create_task(keeping.keep(late, job.id))
    await late.upstream.asked.wait()
    # The rows as they are when the other one had the claim first: it stores, and its claim is no longer the job's.
    await sweep.free(rig.shop, late.worker_id)
    emulator.switch(download_fault=[{"kind": "status", "status": 500, "after": 1, "times": 1}])
    await keeping.keep(rig.shop, job.id)
    emulator.delete_files()
    await rig.hurry(results_expire_at=timedelta(hours=2), due_at=timedelta(minutes=5))
    retaken = asyncio.create_task(keeping.keep(late, job.id))
    late.upstream.open.set()
    await asyncio.gather(successor, retaken)
    await late.upstream.close()
    ended = await rig.drive(await rig.job(job.id))
    assert (ended.state, ended.partial, await pictures(rig, job.id)) == (State.COMPLETED, True, 1)


async def test_an_ended_job_gets_no_more_pictures(rig: Rig, late: Shop) -> None:
    """A worker that comes with a picture after the job has ended writes nothing into it."""
    assert isinstance(late.upstream, Late)
    job = await rig.drive(await rig.order(), State.ARCHIVING)
    zombie = asyncio.create_task(keeping.keep(late, job.id))
    await late.upstream.asked.wait()
    await sweep.free(rig.shop, late.worker_id)
    ended = await rig.drive(await rig.job(job.id))
    version = ended.version
    late.upstream.open.set()
    await zombie
    await late.upstream.close()
    after = await rig.job(job.id)
    assert (after.state, after.version, await pictures(rig, job.id)) == (State.COMPLETED, version, 1)
