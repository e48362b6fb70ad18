"""Counting hits on a real Redis and both databases: taken over once, whoever dies between two steps."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway import errors
from gateway.clock import SystemClock
from gateway.reuse import hits
from gateway.reuse.hits import Saved
from gateway.reuse.shelf import Shelf
from gateway.storage import database, keyspace, reuse_tables, valkey
from tests.support import kept, ports
from tests.support.kept import NOW, Store
from tests.support.valkey import Valkey

DAY = "2026-11-23"


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A migrated database with one team, once on SQLite and once on PostgreSQL."""
    async with kept.store(database_url) as opened:
        yield opened


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client as the house opens one."""
    async with valkey.open(redis_url) as opened:
        yield opened


async def hit(redis: Redis, store: Store, times: int = 1, model: str = "m", team_id: str | None = None) -> None:
    """Some hits that save half a credit each."""
    patient = Shelf(redis, SystemClock(), answer_within_s=20)
    for _ in range(times):
        assert await patient.count(hits.field(team_id or store.owner.team_id, model, NOW), 500_000)


async def take_over(redis: Redis, store: Store) -> int:
    """What each worker does every two seconds."""
    return await hits.take_over(redis, store.database, SystemClock())


async def sums(store: Store) -> dict[str, tuple[int, int]]:
    """The team's sums by model."""
    async with store.database.read() as connection:
        found = await hits.sums(connection)
    assert all(team_id == store.owner.team_id for team_id, _ in found)
    return {model: counted for (_, model), counted in found.items()}


async def left(redis: Redis) -> list[str]:
    """Every key of hits that Redis still has."""
    return sorted([name.decode() async for name in redis.scan_iter(f"{keyspace.HITS}*")])


async def test_hits_are_taken_over(redis: Redis, store: Store) -> None:
    """What was counted is in SQL by team, model and day, and gone from Redis; with nothing counted nothing happens."""
    assert await take_over(redis, store) == 0
    await hit(redis, store, 3)
    await hit(redis, store, 2, "n")
    assert await take_over(redis, store) == 1
    assert await sums(store) == {"m": (3, 1_500_000), "n": (2, 1_000_000)}
    assert await left(redis) == []
    await hit(redis, store)
    assert await take_over(redis, store) == 1
    assert await sums(store) == {"m": (4, 2_000_000), "n": (2, 1_000_000)}


async def test_who_dies_before_the_insert_loses_nothing(redis: Redis, store: Store) -> None:
    """A batch that was set aside and not inserted is inserted by the next one, with what came after it."""
    await hit(redis, store, 3)
    await hits.take(redis)
    await hit(redis, store, 1)
    assert await take_over(redis, store) == 2
    assert await sums(store) == {"m": (4, 2_000_000)}
    assert await left(redis) == []


async def test_who_dies_after_the_insert_doubles_nothing(redis: Redis, store: Store) -> None:
    """A batch that was inserted and not deleted is found inserted, and deleted."""
    await hit(redis, store, 3)
    await hits.take(redis)
    (batch,) = await hits.waiting(redis)
    async with store.database.write() as tx:
        assert await hits.insert(tx, batch, await hits.fetch(redis, batch), NOW)
    for _ in range(2):
        assert await take_over(redis, store) == 0
        assert await sums(store) == {"m": (3, 1_500_000)}
    assert await left(redis) == []


async def test_an_insert_that_breaks_off_is_done_again(redis: Redis, store: Store) -> None:
    """A transaction that did not come to its commit leaves neither the sums nor the batch's row."""
    await hit(redis, store, 3)
    await hits.take(redis)
    (batch,) = await hits.waiting(redis)
    saved = await hits.fetch(redis, batch)

    async def broken() -> None:
        async with store.database.write() as tx:
            assert await hits.insert(tx, batch, saved, NOW)
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError):
        await broken()
    assert await sums(store) == {}
    assert await take_over(redis, store) == 1
    assert await sums(store) == {"m": (3, 1_500_000)}


async def test_many_at_once_count_once(redis: Redis, store: Store) -> None:
    """Hits counted while eight take over at the same time are in SQL exactly once."""

    async def counting() -> None:
        for _ in range(10):
            await hit(redis, store, 5)

    async def taking() -> None:
        for _ in range(4):
            await take_over(redis, store)

    await asyncio.gather(counting(), *(taking() for _ in range(8)))
    await take_over(redis, store)
    assert await sums(store) == {"m": (50, 25_000_000)}
    assert await left(redis) == []


async def test_a_batch_that_comes_back_is_not_counted_again(redis: Redis, store: Store) -> None:
    """Even a Redis that was restored to before the deletion has its batch counted once, for a month."""
    await hit(redis, store, 3)
    await hits.take(redis)
    (batch,) = await hits.waiting(redis)
    copy = await redis.dump(keyspace.hit_batch(batch))
    await take_over(redis, store)
    await redis.restore(keyspace.hit_batch(batch), 0, copy)
    async with redis.pipeline() as pipe:
        pipe.sadd(keyspace.HIT_BATCHES, batch)
        await pipe.execute()
    assert await take_over(redis, store) == 0
    assert await sums(store) == {"m": (3, 1_500_000)}
    async with store.database.write() as tx:
        assert await hits.forget_old(tx, SystemClock().now() + hits.REMEMBER - timedelta(minutes=1)) == 0
        assert await hits.forget_old(tx, SystemClock().now() + hits.REMEMBER + timedelta(minutes=1)) == 1


async def test_a_flush_loses_what_was_not_taken_over(redis: Redis, store: Store, valkey: Valkey) -> None:
    """A flush takes the hits since the last time, and a batch set aside; what was fetched before is still inserted."""
    await hit(redis, store, 3)
    await take_over(redis, store)
    await hit(redis, store, 2)
    await hits.take(redis)
    (batch,) = await hits.waiting(redis)
    fetched = await hits.fetch(redis, batch)
    await hit(redis, store, 7)
    with valkey.client() as client:
        client.flushall()
    async with store.database.write() as tx:
        assert await hits.insert(tx, batch, fetched, NOW)
    await hits.drop(redis, batch)
    assert await take_over(redis, store) == 0
    assert await sums(store) == {"m": (5, 2_500_000)}


async def test_a_team_that_is_none_holds_up_nobody(redis: Redis, store: Store) -> None:
    """Hits of a team that the store does not know, and garbage, are left out; the others of the batch count."""
    await hit(redis, store, 2)
    await hit(redis, store, 1, team_id="team_unknown")
    async with redis.pipeline() as pipe:
        pipe.hset(keyspace.HITS, mapping={"garbage": "1"})
        await pipe.execute()
    assert await take_over(redis, store) == 1
    assert await sums(store) == {"m": (2, 1_000_000)}
    assert await left(redis) == []


async def test_without_the_store_the_batches_wait(redis: Redis, store: Store) -> None:
    """A store that does not answer leaves every batch in Redis, and the next one that does gets them all."""
    gone = database.open(f"postgresql+asyncpg://nobody@127.0.0.1:{ports.free_one()}/nothing")
    await hit(redis, store, 3)
    with pytest.raises(errors.StoreUnavailable):
        await hits.take_over(redis, gone, SystemClock())
    await gone.close()
    await hit(redis, store, 1)
    assert await take_over(redis, store) == 2
    assert await sums(store) == {"m": (4, 2_000_000)}


async def test_without_redis_it_is_told(redis: Redis, store: Store, valkey: Valkey) -> None:
    """A Redis that is gone is an error of the round, which the next round makes good."""
    await hit(redis, store, 3)
    valkey.kill()
    with pytest.raises((RedisError, OSError)):
        await take_over(redis, store)
    valkey.start()
    assert await take_over(redis, store) == 0


async def test_what_writes_sql_is_counted_there(store: Store) -> None:
    """Answers that make rows are counted in their own transaction, summed by team, model and day."""
    team_id = store.owner.team_id
    async with store.database.write() as tx:
        await hits.count(tx, [Saved(team_id, "m", DAY, 1, 5), Saved(team_id, "m", DAY, 2, 6)])
        await hits.count(tx, [Saved(team_id, "m", "2026-11-24", 1, 1)])
        await hits.count(tx, [])
    async with store.database.read() as connection:
        rows = (await connection.execute(sa.select(reuse_tables.savings).order_by("day"))).all()
    assert [(row.day, row.hits, row.saved_micros) for row in rows] == [(DAY, 3, 11), ("2026-11-24", 1, 1)]
    assert await sums(store) == {"m": (4, 12)}
