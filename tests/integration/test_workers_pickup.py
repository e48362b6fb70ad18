"""How a worker takes nudges from Redis: each once, none asked for again while under way, beside arq's own worker."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix, job_key_prefix
from arq.worker import Worker, func

from gateway.jobs import queue
from gateway.storage import keyspace, valkey
from gateway.storage.lane import Lane
from tests.support import wait
from workers.pickup import Pickup

STEP = "probe"


@pytest.fixture
async def nudges(redis_url: str) -> AsyncIterator[ArqRedis]:
    """The queue itself."""
    redis = opened(redis_url)
    yield redis
    await redis.aclose(close_connection_pool=True)


def opened(redis_url: str) -> ArqRedis:
    """The queue, as a worker opens it."""
    pool = valkey.pool(redis_url, connect_timeout_s=2.0, answer_timeout_s=5.0, retries=0)
    return ArqRedis(pool, job_serializer=queue.encode, job_deserializer=queue.decode, default_queue_name=keyspace.QUEUE)


def settings(redis: ArqRedis) -> dict[str, Any]:
    """Those of the house, for a short while."""
    return {
        "queue_name": keyspace.QUEUE,
        "redis_pool": redis,
        "handle_signals": False,
        "keep_result": 0,
        "poll_delay": 0.01,
        "job_serializer": queue.encode,
        "job_deserializer": queue.decode,
        "max_jobs": 50,
    }


@asynccontextmanager
async def picking(redis_url: str, task: Any, *, plain: bool = False) -> AsyncIterator[Worker]:
    """A worker at work; ``plain`` is arq's own."""
    redis = opened(redis_url)
    lane = Lane(redis.connection_pool)
    functions = [func(task, name=STEP, keep_result=0, timeout=300, max_tries=1000)]
    worker = Worker(functions, **settings(redis)) if plain else Pickup(functions, lane=lane, **settings(redis))
    working = asyncio.create_task(worker.async_run())
    try:
        yield worker
    finally:
        worker.handle_sig(signal.SIGTERM)
        await asyncio.gather(working, *worker.tasks.values(), return_exceptions=True)
        await lane.close()
        await redis.aclose(close_connection_pool=True)


async def left(redis: ArqRedis) -> bool:
    """Whether any nudge is in the queue."""
    return bool(await redis.zcard(keyspace.QUEUE))


async def emptied(redis: ArqRedis) -> None:
    """Wait until none is."""

    async def done() -> bool:
        return not await left(redis)

    await wait.until(done, timeout_s=20, what="every nudge is heeded")


@pytest.mark.parametrize("other_is_plain", [False, True], ids=["two alike", "beside arq's own"])
async def test_two_workers_take_each_nudge_once(nudges: ArqRedis, redis_url: str, *, other_is_plain: bool) -> None:
    """Of two workers on one queue one takes a nudge, also when the other is of the release before; none is left."""
    taken = Counter[str]()

    async def note(_context: dict[str, Any], name: str) -> None:
        taken[name] += 1
        await asyncio.sleep(0)

    names = [f"n{number}" for number in range(300)]
    async with picking(redis_url, note), picking(redis_url, note, plain=other_is_plain):
        for name in names:
            await nudges.enqueue_job(STEP, name, _job_id=name)
        await emptied(nudges)
    assert taken == Counter(names)
    assert not [key async for key in nudges.scan_iter("arq:*")]


async def test_what_is_under_way_is_not_asked_for_again(nudges: ArqRedis, redis_url: str) -> None:
    """However often the worker looks while a step lasts, Redis is not asked about its nudge, and it begins once."""
    begun = Counter[str]()
    over = asyncio.Event()

    async def last(_context: dict[str, Any], name: str) -> None:
        begun[name] += 1
        await over.wait()

    async with picking(redis_url, last):
        await nudges.enqueue_job(STEP, "long", _job_id="long")
        await wait.until(lambda: _true(begun["long"] == 1), timeout_s=5, what="the step has begun")
        asked = await _calls(nudges, "evalsha", "eval", "watch")
        looks = await _calls(nudges, "zrangebyscore")

        async def looked_often() -> bool:
            return await _calls(nudges, "zrangebyscore") > looks + 10

        await wait.until(looked_often, timeout_s=5, what="the worker has looked often")
        assert await _calls(nudges, "evalsha", "eval", "watch") == asked
        over.set()
        await emptied(nudges)
    assert begun == Counter(["long"])


async def test_a_nudge_whose_worker_is_told_to_end_is_free_at_once(nudges: ArqRedis, redis_url: str) -> None:
    """A worker that ends in the middle of a step leaves its nudge in the queue, and the next worker takes it."""
    begun = Counter[str]()
    over = asyncio.Event()

    async def last(_context: dict[str, Any], name: str) -> None:
        begun[name] += 1
        await over.wait()

    await nudges.enqueue_job(STEP, "cut", _job_id="cut")
    async with picking(redis_url, last):
        await wait.until(lambda: _true(begun["cut"] == 1), timeout_s=5, what="the step has begun")
        assert await nudges.exists(in_progress_key_prefix + "cut")
    assert await left(nudges)
    assert not await nudges.exists(in_progress_key_prefix + "cut")
    over.set()
    async with picking(redis_url, last):
        await emptied(nudges)
    assert begun["cut"] == 2


async def test_what_cannot_be_carried_out_is_dropped_and_the_rest_goes_on(nudges: ArqRedis, redis_url: str) -> None:
    """A nudge without its message, one of an unknown step, an unreadable one and a step that fails end once."""
    begun = Counter[str]()

    async def fail(_context: dict[str, Any], name: str) -> None:
        begun[name] += 1
        raise RuntimeError(name)

    await nudges.enqueue_job(STEP, "lost", _job_id="lost")
    await nudges.delete(job_key_prefix + "lost")
    await nudges.enqueue_job("of a later release", _job_id="unknown")
    await nudges.enqueue_job(STEP, "torn", _job_id="torn")
    await nudges.set(job_key_prefix + "torn", b"\x80 no message")
    await nudges.enqueue_job(STEP, "fails", _job_id="fails")
    async with picking(redis_url, fail) as worker:
        await emptied(nudges)
        assert worker.jobs_failed == 4
    assert begun == Counter(["fails"])
    assert not [key async for key in nudges.scan_iter("arq:*")]


async def test_no_more_begin_than_may_be_under_way(nudges: ArqRedis, redis_url: str) -> None:
    """With all places taken further nudges wait in the queue, for this worker or another; then they are taken."""
    over = asyncio.Event()
    begun = Counter[str]()

    async def last(_context: dict[str, Any], name: str) -> None:
        begun[name] += 1
        await over.wait()

    for number in range(60):
        await nudges.enqueue_job(STEP, f"n{number}", _job_id=f"n{number}")
    async with picking(redis_url, last) as worker:
        await wait.until(lambda: _true(len(begun) == 50), timeout_s=5, what="every place is taken")
        assert worker.job_counter == 50
        taken = [key async for key in nudges.scan_iter(in_progress_key_prefix + "*")]
        assert len(taken) == 50
        over.set()
        await emptied(nudges)
    assert begun.total() == 60


async def _calls(redis: ArqRedis, *commands: str) -> int:
    told = await redis.info("commandstats")
    return sum(int(told.get(f"cmdstat_{command}", {}).get("calls", 0)) for command in commands)


async def _true(value: bool) -> bool:
    return value
