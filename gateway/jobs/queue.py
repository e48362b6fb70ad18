"""Nudges to the workers through arq. A nudge carries an id and is only a hint: the row was committed before it.

Whoever has committed a job's next step or end says so here, so this is also where those who wait for the job hear of it
(``waiting_room``): by a message that nobody may hear, and nobody needs.

The one module of the house that knows arq. A nudge that cannot be sent is forgotten: the sweep finds what was not
nudged. An arq id that is still queued or running is dropped silently, so each id carries a number that grows.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import msgspec
import structlog
from arq.connections import ArqRedis
from arq.constants import job_key_prefix, result_key_prefix
from arq.jobs import serialize_job
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway import ids
from gateway.jobs.record import Job
from gateway.storage import keyspace
from gateway.storage.lane import Lane, Script
from gateway.telemetry import tracing
from gateway.telemetry.tracing import Kind, Traces

#: A caller's answer never waits longer than this for a hint to be sent.
SEND_TIMEOUT_S = 1.0
#: As fine as arq's own looking at its queue.
_LOOK_TICKS_PER_S = 20
#: What a span says of each (OpenTelemetry's words for messages).
_NUDGE: Final = MappingProxyType(
    {
        "messaging.system": "redis",
        "messaging.destination.name": keyspace.QUEUE,
        "messaging.operation.name": "nudge",
        "messaging.operation.type": "send",
    }
)

# What arq's ``enqueue_job`` does in three round trips, in one: nothing for an id that is queued, running or answered.
_ENQUEUE: Final = Script("""
if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then return 0 end
redis.call('PSETEX', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[4])
return 1
""")

log = structlog.get_logger(__name__)


class Step(StrEnum):
    """The steps that a worker can be nudged to take; each is one short arq task."""

    #: Take the next queued job, whichever SQL says, and send it.
    SUBMIT = "submit"
    #: Look at one running job.
    POLL = "poll"
    #: Bring one finished job's pictures home.
    ARCHIVE = "archive"
    #: Look for evidence about unknown submissions.
    EVIDENCE = "evidence"
    #: Send the next webhook, whichever SQL says.
    DELIVER = "deliver"


def encode(message: dict[str, Any]) -> bytes:
    """Arq's messages as JSON: another version's worker can read them, and none can run code by them."""
    return msgspec.json.encode(message)


def decode(data: bytes) -> dict[str, Any]:
    """The message of ``encode``."""
    message: dict[str, Any] = msgspec.json.decode(data)
    return message


@dataclass(frozen=True)
class Queue:
    """The line to the workers."""

    redis: ArqRedis
    traces: Traces = tracing.OFF
    #: For nudges that come with each request: those of one moment go together. Without it each goes arq's own way.
    lane: Lane | None = None

    async def submit(self, hint: str | None = None, at: datetime | None = None) -> None:
        """Say that a queued job may be taken, now or at a moment; nudges of one ``hint`` collapse into one."""
        await self._send(Step.SUBMIT, f"submit:{hint or ids.base62(12)}", at)

    async def deliver(self, hint: str | None = None) -> None:
        """Say that a webhook may be sent; nudges of one ``hint`` collapse into one."""
        await self._send(Step.DELIVER, f"deliver:{hint or ids.base62(12)}", None)

    async def ended(self, job: Job) -> None:
        """Say that a job's end is to be told, if it is; and to those who wait for it, that it came."""
        told = [self.changed(job.id)]
        if job.event_id is not None:
            told.append(self.deliver(hint=job.event_id))
        await asyncio.gather(*told)

    async def changed(self, job_id: str) -> None:
        """Say to those who wait for a job that it looks different now."""
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self.redis.publish(keyspace.CHANGED, job_id)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("change_not_told", reason=type(error).__name__)

    async def evidence(self, hint: str) -> None:
        """Say that evidence may be looked for; nudges of one ``hint`` collapse into one."""
        await self._send(Step.EVIDENCE, f"evidence:{hint}", None)

    async def step(self, step: Step, job: Job) -> None:
        """Say that a job's next step may be taken when it is due, and to those who wait for it, that it goes on."""
        name = f"{job.id}:{job.attempt}:{step}:{job.nudges}"
        await asyncio.gather(self.changed(job.id), self._send(step, name, job.due_at, job.id))

    async def look(self, job_id: str, at: datetime) -> None:
        """Say that some running job may be looked at from a moment on; nudges for about the same one collapse."""
        tick = int(at.timestamp() * _LOOK_TICKS_PER_S) + 1
        later = datetime.fromtimestamp(tick / _LOOK_TICKS_PER_S, UTC)
        await self._send(Step.POLL, f"look:{tick}", later, job_id)

    async def _send(self, step: Step, name: str, at: datetime | None, *arguments: str) -> None:
        with self.traces.inner(Kind.MESSAGE, f"nudge {step}", _NUDGE) as span:
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    if self.lane is None:
                        await self.redis.enqueue_job(step, *arguments, _job_id=keyspace.PREFIX + name, _defer_until=at)
                    else:
                        await self._enqueue(self.lane, step, keyspace.PREFIX + name, at, arguments)
            except (RedisError, OSError, TimeoutError) as error:
                span.failed(type(error).__name__)
                log.warning("nudge_not_sent", step=step, reason=type(error).__name__)

    async def _enqueue(
        self, lane: Lane, step: Step, name: str, at: datetime | None, arguments: tuple[str, ...]
    ) -> None:
        """As arq's ``enqueue_job``, whose keys and messages these are; asked twice it is done once, as the id says."""
        now_ms = time.time_ns() // 1_000_000
        due_ms = now_ms if at is None else int(at.timestamp() * 1000)
        message = serialize_job(step, arguments, {}, None, now_ms, serializer=encode)
        keys = (job_key_prefix + name, result_key_prefix + name, keyspace.QUEUE)
        await lane.run(_ENQUEUE, keys, (due_ms - now_ms + self.redis.expires_extra_ms, message, due_ms, name))

    async def close(self) -> None:
        """Give the connection for nudges up."""
        if self.lane is not None:
            await self.lane.close()


def open(redis: Redis, traces: Traces = tracing.OFF, lane: Lane | None = None) -> Queue:
    """The line over an open Redis connection, and over one that many nudges share, which the caller closes."""
    return Queue(
        ArqRedis(
            redis.connection_pool,
            job_serializer=encode,
            job_deserializer=decode,
            default_queue_name=keyspace.QUEUE,
        ),
        traces,
        lane,
    )
