"""Keeping one arq worker running: it ends by itself when Redis fails, and is then begun anew. Decides nothing."""

import asyncio
import contextlib
import logging
from typing import Any

import structlog
from arq.connections import ArqRedis
from arq.worker import Worker
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.jobs import queue
from gateway.storage import keyspace, valkey
from gateway.storage.lane import Lane
from workers import tasks
from workers.pickup import Pickup
from workers.tasks import Bench

#: Steps are short and mostly wait, so many may be under way.
MAX_STEPS = 1000
POLL_DELAY_S = 0.05
COMPLETION_WAIT_S = 25
HEALTH_EVERY_S = 2
#: A Redis that answers nothing for this long is taken for gone.
ANSWER_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 2.0
_BEGIN_AGAIN_S = 1.0
#: A cancellation may be lost in a library, so whoever does not end is told again.
_TELL_AGAIN_S = 0.5
_LOOK_S = 0.05

log = structlog.get_logger(__name__)


def _on_lost_task(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say in one line what a lost Redis left behind in arq's own tasks; anything else is told as ever."""
    error = context.get("exception")
    if isinstance(error, RedisError | OSError) or isinstance(context.get("client"), Redis):
        log.warning("queue_task_lost", reason=type(error).__name__ if error else "unfinished")
    else:
        loop.default_exception_handler(context)


async def _end(worker: Worker, consuming: asyncio.Task[None]) -> None:
    """Have it take nothing more, give what is under way its time, and end it."""
    worker.allow_pick_jobs = False
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(COMPLETION_WAIT_S):
            while worker.tasks and not consuming.done():  # noqa: ASYNC110  arq tells nobody
                await asyncio.sleep(_LOOK_S)
    while not consuming.done():
        if worker.main_task is not None:
            worker.main_task.cancel()
        await asyncio.wait({consuming}, timeout=_TELL_AGAIN_S)


class Consumer:
    """An arq worker, and the next one after it."""

    def __init__(self, bench: Bench, redis_url: str) -> None:
        self._bench = bench
        self._redis_url = redis_url
        self._stopping = asyncio.Event()
        #: When it was told to stop, by the loop's clock.
        self.told_s: float | None = None

    async def run(self) -> None:
        """Consume until ``stop``; whatever happens to Redis, begin again."""
        # One line for each message would drown everything else, and its errors are those of its own bookkeeping when
        # Redis goes away under it. What a step did, the step logs; what ends the worker is raised to us.
        logging.getLogger("arq").setLevel(logging.CRITICAL)
        asyncio.get_running_loop().set_exception_handler(_on_lost_task)
        while not self._stopping.is_set():
            try:
                await self._once()
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("queue_lost", reason=type(error).__name__)
            except asyncio.CancelledError:
                if not self._stopping.is_set():
                    raise
            except Exception:
                log.exception("queue_failed")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _BEGIN_AGAIN_S)

    def stop(self) -> None:
        """Take no further message; ``run`` returns when those under way have ended, or after 25 s."""
        self.told_s = asyncio.get_running_loop().time()
        self._stopping.set()

    async def _once(self) -> None:
        pool = valkey.pool(
            self._redis_url, connect_timeout_s=CONNECT_TIMEOUT_S, answer_timeout_s=ANSWER_TIMEOUT_S, retries=0
        )
        redis = ArqRedis(
            pool,
            job_serializer=queue.encode,
            job_deserializer=queue.decode,
            default_queue_name=keyspace.QUEUE,
        )
        lane = Lane(pool, ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S)
        try:
            await redis.ping()
            await self._consume(self._build(redis, lane))
        finally:
            await lane.close()
            await redis.aclose(close_connection_pool=True)

    async def _consume(self, worker: Worker) -> None:
        consuming = asyncio.create_task(worker.async_run())
        told = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({consuming, told}, return_when=asyncio.FIRST_COMPLETED)
            if not consuming.done():
                await _end(worker, consuming)
            await consuming
        finally:
            told.cancel()
            # It deletes its health key, which a Redis that is gone cannot do.
            with contextlib.suppress(RedisError, OSError, TimeoutError, asyncio.CancelledError):
                await worker.close()

    def _build(self, redis: ArqRedis, lane: Lane) -> Worker:
        return Pickup(
            tasks.functions(),
            lane=lane,
            queue_name=keyspace.QUEUE,
            redis_pool=redis,
            handle_signals=False,
            job_completion_wait=COMPLETION_WAIT_S,
            max_jobs=MAX_STEPS,
            job_timeout=tasks.TIMEOUT_S,
            keep_result=0,
            poll_delay=POLL_DELAY_S,
            health_check_interval=HEALTH_EVERY_S,
            health_check_key=keyspace.QUEUE_HEALTH,
            ctx={"bench": self._bench},
            job_serializer=queue.encode,
            job_deserializer=queue.decode,
            log_results=False,
        )
