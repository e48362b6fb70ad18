"""After an outage of the archive, the pictures that die first upstream are fetched first."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from gateway.jobs import sweep
from gateway.jobs.queue import Step
from gateway.jobs.states import State
from gateway.storage import keyspace, tables
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig


@pytest.mark.xfail(strict=True, reason="arq works off its queue by due_at, whatever order the sweep sent it in")
async def test_the_earliest_expiry_is_archived_first(rig: Rig, emulator: EmulatorProcess) -> None:
    """Of jobs that all wait in archiving, the workers are told in the order in which their copies expire upstream."""
    minutes_left = {}
    for minutes in (40, 10, 25):
        emulator.switch(result_ttl_s=minutes * 60)
        job = await rig.drive(await rig.order(seed=minutes), State.ARCHIVING)
        minutes_left[job.id] = minutes
    # As an outage leaves them: each tried at another time, and due at another, long ago.
    now = rig.house.clock.now()
    async with rig.house.database.write() as tx:
        for back_off, (job_id, minutes) in enumerate(minutes_left.items()):
            await tx.execute(
                tables.jobs.update()
                .where(tables.jobs.c.id == job_id)
                .values(
                    due_at=now - timedelta(minutes=3 - back_off),
                    results_expire_at=now + timedelta(minutes=minutes),
                )
            )
        assert (await tx.execute(sa.select(sa.func.count()).where(tables.jobs.c.claim.is_not(None)))).scalar_one() == 0
    await rig.shop.queue.redis.flushdb()
    await sweep.overdue(rig.shop)
    told = [
        queued.args[0]
        for queued in await rig.shop.queue.redis.queued_jobs(queue_name=keyspace.QUEUE)
        if queued.function == Step.ARCHIVE
    ]
    assert told == sorted(minutes_left, key=lambda job_id: minutes_left[job_id])
