"""After an outage of the archive, the pictures that die first upstream are fetched first."""

from datetime import timedelta

from gateway.jobs import books, keeping
from gateway.jobs.states import State
from gateway.storage import tables
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig


async def test_the_earliest_expiry_is_archived_first(rig: Rig, emulator: EmulatorProcess) -> None:
    """Of jobs that all wait in archiving, that is kept first whose copies expire first, whichever a nudge names."""
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
    async with rig.house.database.read() as connection:
        nearest_s = (await books.snapshot(connection, now)).nearest_expiry_s
    assert nearest_s == 10 * 60
    kept: list[str] = []
    for named in minutes_left:
        await keeping.keep(rig.shop, named)
        for job_id in minutes_left:
            if job_id not in kept and (await rig.job(job_id)).state is State.COMPLETED:
                kept.append(job_id)
    assert kept == sorted(minutes_left, key=lambda job_id: minutes_left[job_id])
