"""A disk that is full: orders are refused, nothing is half-done, and what was begun goes on when there is room."""

import pytest
import sqlalchemy as sa

from gateway import errors
from gateway.jobs.states import State
from gateway.ledger import proof
from gateway.storage import tables
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig

#: SQLite's own way to have no room left: the file may not grow beyond its pages of now.
_FULL = "PRAGMA max_page_count = 1"
_ROOM = "PRAGMA max_page_count = 1073741823"


async def say(rig: Rig, pragma: str) -> None:
    """Set it on every connection of the pool, one after the other, as each has a limit of its own."""
    async with rig.house.database.read() as connection:
        await connection.execute(sa.text(pragma))
    async with rig.house.database.write() as tx:
        await tx.execute(sa.text(pragma))


async def counted(rig: Rig) -> tuple[int, int]:
    """How many jobs and ledger entries there are."""
    async with rig.house.database.read() as connection:
        assert await proof.differences(connection) == []
        jobs = (await connection.execute(sa.select(sa.func.count()).select_from(tables.jobs))).scalar_one()
        entries = (await connection.execute(sa.select(sa.func.count()).select_from(tables.ledger_entries))).scalar_one()
    return jobs, entries


async def fill(rig: Rig) -> int:
    """Order until there is no room; how many orders fitted."""
    for fitted in range(200):
        try:
            await rig.order(torii={"metadata": {"filling": "x" * 3_000}})
        except errors.StoreUnavailable:
            return fitted
    raise AssertionError("the file grew beyond its limit")


# PostgreSQL says it by the same class of error, and has no limit that a test could set.
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_full_disk_refuses_orders_and_loses_nothing(rig: Rig, emulator: EmulatorProcess) -> None:
    """With no room left an order is a 503 that leaves no row behind; with room again everything goes on."""
    waiting = await rig.order()
    before = await counted(rig)
    await say(rig, _FULL)
    fitted = await fill(rig)
    assert await counted(rig) == (before[0] + fitted, before[1] + fitted)
    await say(rig, _ROOM)
    assert (await rig.drive(await rig.job(waiting.id))).state is State.COMPLETED
    assert (await rig.order()).state is State.QUEUED
    assert emulator.books()["totals"]["submitsReceived"] >= 1
