"""Whoever dies when, and whenever Redis forgets everything: no hit counts twice, and only the newest can be lost."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway import errors, ids
from gateway.clock import SystemClock
from gateway.reuse import hits
from gateway.reuse.shelf import Shelf
from gateway.storage import database, keyspace, valkey
from gateway.storage.database import Database
from tests.support import kept, wait
from tests.support.kept import NOW, Store

WORKERS = 3
action = st.one_of(
    st.tuples(st.just("hit"), st.integers(1, 5)),
    st.tuples(st.just("step"), st.integers(0, WORKERS - 1)),
    st.tuples(st.just("step"), st.integers(0, WORKERS - 1)),
    st.tuples(st.just("die"), st.integers(0, WORKERS - 1)),
    st.tuples(st.just("flush"), st.just(0)),
)


async def taking_over(redis: Redis, opened: Database) -> AsyncGenerator[None]:
    """What ``take_over`` does, standing still after each step."""
    while True:
        await hits.take(redis)
        yield
        for batch in await hits.waiting(redis):
            yield
            saved = await hits.fetch(redis, batch)
            yield
            if saved:
                async with opened.write() as tx:
                    await hits.insert(tx, batch, saved, NOW)
            yield
            await hits.drop(redis, batch)
            yield


async def in_sql(opened: Database, team_id: str, model: str) -> int:
    """How many hits SQL has of a model."""
    async with opened.read() as connection:
        found = await hits.sums(connection)
    answers, micros = found.get((team_id, model), (0, 0))
    assert micros == answers * 500_000
    return answers


async def flush(redis: Redis) -> None:
    """Let Redis forget everything of ours."""
    names = [name async for name in redis.scan_iter(f"{keyspace.PREFIX}*")]
    if names:
        async with redis.pipeline() as pipe:
            pipe.delete(*names)
            await pipe.execute()


async def walk(url: str, redis_url: str, team_id: str, actions: list[tuple[str, int]]) -> None:
    """Any order of steps of several workers, deaths, hits and flushes, held against a count of what was hit."""
    model, opened = ids.base62(12), database.open(url)
    counted, may_be_lost = 0, 0
    async with valkey.open(redis_url) as redis, contextlib.aclosing(_Crew(redis, opened)) as crew:
        await flush(redis)
        shelf = Shelf(redis, SystemClock(), answer_within_s=20)
        for deed, number in actions:
            if deed == "hit":
                for _ in range(number):
                    assert await shelf.count(hits.field(team_id, model, NOW), 500_000)
                counted += number
            elif deed == "step":
                await crew.step(number)
            elif deed == "die":
                await crew.die(number)
            else:
                # What a worker has read already it may still bring in.
                may_be_lost = counted - await in_sql(opened, team_id, model)
                await flush(redis)
            assert await in_sql(opened, team_id, model) <= counted
        await hits.take_over(redis, opened, SystemClock())
        assert counted - may_be_lost <= await in_sql(opened, team_id, model) <= counted
        assert [name async for name in redis.scan_iter(f"{keyspace.HITS}*")] == []
    await opened.close()


class _Crew:
    """Workers that take steps one by one, and are replaced when they die."""

    def __init__(self, redis: Redis, opened: Database) -> None:
        self._redis = redis
        self._opened = opened
        self._hands = [taking_over(redis, opened) for _ in range(WORKERS)]

    async def step(self, number: int) -> None:
        """One step of one of them."""
        await anext(self._hands[number])

    async def die(self, number: int) -> None:
        """One of them ends where it stands."""
        await self._hands[number].aclose()
        self._hands[number] = taking_over(self._redis, self._opened)

    async def aclose(self) -> None:
        """All of them end where they stand."""
        for each in self._hands:
            await each.aclose()


async def _migrated(url: str) -> str:
    async with kept.store(url) as store:
        return store.owner.team_id


def test_no_order_of_steps_counts_twice(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> None:
    """Whatever steps workers take, and wherever they die, SQL gets each hit once; a flush loses the newest alone."""
    folder: Path = tmp_path_factory.mktemp("counting")
    url = f"sqlite+aiosqlite:///{folder / 'counting.db'}"
    team_id = asyncio.run(_migrated(url))

    @given(st.lists(action, max_size=40))
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def walked(actions: list[tuple[str, int]]) -> None:
        asyncio.run(walk(url, redis_url, team_id, actions))

    walked()


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A migrated database with one team, once on SQLite and once on PostgreSQL."""
    async with kept.store(database_url) as opened:
        yield opened


async def killed(worker: asyncio.Task[None]) -> None:
    """End a worker where it stands; a cancellation that comes with an answer may be lost, so it is said again."""
    while not worker.done():
        worker.cancel()
        await asyncio.wait([worker], timeout=0.05)
    assert worker.cancelled()


@pytest.mark.parametrize("flushed", [False, True], ids=["kills", "kills and a flush"])
async def test_kills_while_hits_come_in(store: Store, redis_url: str, flushed: bool) -> None:
    """Workers are killed at any moment while hits come in; a flush takes those of the last moments alone."""
    # A hit is safe once a worker has begun to take over later than ``every_s`` after it, and come to its end.
    every_s, dice, clock = 0.2, random.Random(11), SystemClock()  # noqa: S311  a walk that is the same each time
    hit_at: list[float] = []
    # Of these a slow Redis did not say whether it counted them.
    unsure = 0
    safe_before_s = 0.0
    team_id = store.owner.team_id
    async with valkey.open(redis_url) as redis:
        shelf = Shelf(redis, clock, answer_within_s=20)

        async def hitting(stop: asyncio.Event) -> None:
            nonlocal unsure
            while not stop.is_set():
                if await shelf.count(hits.field(team_id, "m", NOW), 500_000):
                    hit_at.append(time.monotonic())
                else:
                    unsure += 1
                await asyncio.sleep(0.002)

        async def working() -> None:
            nonlocal safe_before_s
            while True:
                begun_s = time.monotonic()
                with contextlib.suppress(RedisError, errors.StoreUnavailable):
                    await hits.take_over(redis, store.database, clock, every_s)
                    # A little more, since Redis's clock counts in milliseconds.
                    safe_before_s = max(safe_before_s, begun_s - every_s - 0.05)
                await asyncio.sleep(0.01)

        stop = asyncio.Event()
        source = asyncio.create_task(hitting(stop))
        hands = [asyncio.create_task(working()) for _ in range(WORKERS)]
        for _ in range(25):
            await asyncio.sleep(dice.uniform(0, 0.1))  # the moment of the kill, which is any
            await killed(hands.pop(dice.randrange(WORKERS)))
            hands.append(asyncio.create_task(working()))
        # Each of them has had the time for a whole round, however busy the machine is.
        await wait.until(lambda: safe_before_s > hit_at[0], timeout_s=30, what="a hit that is safe")
        for each in hands:
            await killed(each)
        stop.set()
        await source
        safe = sum(at < safe_before_s for at in hit_at)
        assert safe > 0
        if flushed:
            await flush(redis)
        await hits.take_over(redis, store.database, clock)
        found = await in_sql(store.database, team_id, "m")
        assert (safe if flushed else len(hit_at)) <= found <= len(hit_at) + unsure


async def test_all_workers_make_one_batch_in_a_while(store: Store, redis_url: str) -> None:
    """However many take over, one batch is made in the time they agree on, since each leaves a row for a month."""
    clock, team_id = SystemClock(), store.owner.team_id
    async with valkey.open(redis_url) as redis:
        shelf = Shelf(redis, clock, answer_within_s=20)
        batches = 0
        for _ in range(5):
            assert await shelf.count(hits.field(team_id, "m", NOW), 500_000)
            batches += await hits.take_over(redis, store.database, clock, every_s=60)
        assert (batches, await in_sql(store.database, team_id, "m")) == (1, 1)
        assert 0 < await redis.pttl(keyspace.HITS_TAKEN) <= 60_000
        assert await hits.take_over(redis, store.database, clock) == 1
        assert await in_sql(store.database, team_id, "m") == 5
