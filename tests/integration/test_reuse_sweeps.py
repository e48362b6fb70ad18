"""The sweeps of reuse in a worker: hits come into the books, old rows go, and a Redis that is away holds up nothing."""

import time
from datetime import timedelta

import sqlalchemy as sa

from gateway import ids
from gateway.jobs import books, reuse_sweep, sweep
from gateway.jobs.states import State
from gateway.reuse import entries, flights, hits
from gateway.reuse.entries import Keeping
from gateway.reuse.places import Place
from gateway.reuse.shelf import Shelf
from gateway.storage import reuse_tables
from tests.support.rig import MODEL, Rig
from tests.support.valkey import Valkey

OWN = ("hits", "old_hit_batches", "old_flights", "expired_entries")


async def swept(rig: Rig) -> None:
    """Each sweep of reuse once."""
    for name in OWN:
        await sweep.ALL[name](rig.shop)


async def number(rig: Rig, table: sa.Table) -> int:
    """How many rows a table has."""
    async with rig.house.database.read() as connection:
        return int((await connection.execute(sa.select(sa.func.count()).select_from(table))).scalar_one())


async def test_hits_come_into_the_books(rig: Rig) -> None:
    """What was hit is in the books after one sweep; a model that was held for and saved nothing is there with 0."""
    await rig.order()
    house, team_id = rig.house, rig.caller.team_id
    shelf = Shelf(house.redis, house.clock, answer_within_s=20)
    for _ in range(3):
        assert await shelf.count(hits.field(team_id, "flux-2-pro", house.clock.now()), 1_250_000)
    await swept(rig)
    async with house.database.read() as connection:
        found = (await books.snapshot(connection, house.clock.now())).credits_saved_micros
    assert found == {(team_id, MODEL): 0, (team_id, "flux-2-pro"): 3_750_000}


async def test_what_is_old_goes(rig: Rig) -> None:
    """Old batches, closed flights and entries whose time is over are taken away, and nothing that is still needed."""
    job = await rig.drive(await rig.order(), State.COMPLETED)
    database, now, team_id = rig.house.database, rig.house.clock.now(), rig.caller.team_id
    long_ago = now - timedelta(days=31)
    async with database.write() as tx:
        for at in (long_ago, now):
            await hits.insert(tx, ids.hit_batch(), [], at)
        for at in (long_ago, now):
            flight = await flights.enter(tx, Place(team_id, f"{at.timestamp():064.0f}"), job.id, at)
            assert flight is not None
            await flights.close(tx, flight, "completed", at)
        await flights.enter(tx, Place(team_id, "e" * 64), ids.job(), long_ago)
        for ttl_s in (None, 60, 86_400):
            kept = Keeping(team_id, MODEL, job.id, 1, ttl_s)
            await entries.put(tx, Place(team_id, f"{ttl_s or 0:064d}"), kept, now - timedelta(minutes=2))
    tables = (reuse_tables.hit_batches, reuse_tables.flights, reuse_tables.cache_entries)
    before = [await number(rig, table) for table in tables]
    await swept(rig)
    assert [was - await number(rig, table) for was, table in zip(before, tables, strict=True)] == [1, 1, 1]
    await swept(rig)
    assert [was - await number(rig, table) for was, table in zip(before, tables, strict=True)] == [1, 1, 1]


async def test_a_silent_redis_holds_up_no_sweep(rig: Rig, valkey: Valkey) -> None:
    """With Redis frozen the sweep ends in time and raises nothing; what was counted comes in once Redis is back."""
    shelf = Shelf(rig.house.redis, rig.house.clock, answer_within_s=20)
    assert await shelf.count(hits.field(rig.caller.team_id, MODEL, rig.house.clock.now()), 2_000_000)
    valkey.pause()
    try:
        begun_s = time.monotonic()
        await sweep.ALL["hits"](rig.shop)
        assert time.monotonic() - begun_s < reuse_sweep.TAKE_OVER_WITHIN_S + 2
    finally:
        valkey.resume()
    await sweep.ALL["hits"](rig.shop)
    async with rig.house.database.read() as connection:
        assert await hits.sums(connection) == {(rig.caller.team_id, MODEL): (1, 2_000_000)}
