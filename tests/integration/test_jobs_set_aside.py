"""A job that nothing can be done with does not keep the others from their turns."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from gateway.jobs import keeping
from gateway.jobs.states import State
from gateway.storage import tables
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig

#: No column holds it.
TOO_LARGE = (1 << 64) - 1


async def test_one_that_cannot_be_archived_does_not_stop_the_line(rig: Rig, emulator: EmulatorProcess) -> None:
    """The step of the job at the head of the line fails; the next step takes the next job, and its picture is kept."""
    emulator.switch(time_scale=0.01)
    broken = await rig.drive(await rig.order(), State.ARCHIVING)
    sound = await rig.drive(await rig.order(), State.ARCHIVING)
    assert broken.results is not None
    assert broken.results_expire_at is not None
    async with rig.house.database.write() as tx:
        await tx.execute(
            tables.jobs.update()
            .where(tables.jobs.c.id == broken.id)
            .values(
                results=[{**result, "seed": TOO_LARGE} for result in broken.results],
                results_expire_at=broken.results_expire_at - timedelta(minutes=5),
            )
        )
    with pytest.raises((OverflowError, sa.exc.DBAPIError)):
        await keeping.keep(rig.shop, sound.id)
    await keeping.keep(rig.shop, broken.id)
    assert (await rig.job(sound.id)).state is State.COMPLETED
    aside = await rig.job(broken.id)
    assert (aside.state, aside.claim) == (State.ARCHIVING, None)
    assert aside.due_at > rig.house.clock.now()
