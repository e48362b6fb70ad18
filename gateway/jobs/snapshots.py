"""Ended jobs in Redis, for those who read them again and again: one round trip for a read. Never a record or an error.

What is here is what SQL said within the last minute, by Redis's own clock from before it was asked. Only what has ended
for good is kept: a job on its way is read from SQL, and so is one that may yet come to another end. Erasing leaves a
mark, so that who read before it and comes to keep it afterwards is refused; where the mark could not be written, the
minute is what bounds it. The prompt is not kept, and no link: links are signed at each read.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.clock import Clock
from gateway.jobs.errands import Errands
from gateway.jobs.record import Image, Job
from gateway.jobs.states import ENDED, Failure
from gateway.storage import keyspace
from gateway.storage.lane import CONVENIENCE_S, Lane, Script

#: After a silence Redis is left alone for this long.
REST_S: Final = 1.0
LIFE_MS: Final = 60_000
#: A reader that took longer since it looked does not keep what it read any more.
KEEP_WITHIN_MS: Final = 10_000
#: Longer than a reader may take.
MARK_MS: Final = 120_000
_MARKS_AT_ONCE: Final = 500
#: Snapshots that were read before, as values: who reads a job reads it again.
_READ_MAX: Final = 1024

# The job, or Redis's time.
_LOOK: Final = Script("""
local found = redis.call('HGET', KEYS[1], 'b')
if found then return found end
local time = redis.call('TIME')
return time[1] * 1000 + math.floor(time[2] / 1000)
""")

# Not where there is a newer one, nor where that version was erased, nor too late.
_KEEP: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local version, asked, within, life = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if now < asked or now - asked > within then return 0 end
local there = redis.call('HMGET', KEYS[1], 'v', 'b')
if there[1] and (tonumber(there[1]) > version or (tonumber(there[1]) == version and not there[2])) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'v', version, 'b', ARGV[2])
redis.call('PEXPIREAT', KEYS[1], asked + life)
return 1
""")

# A mark in the place of each, unless a newer one stands there.
_MARK: Final = """
for i, key in ipairs(KEYS) do
    local there = redis.call('HGET', key, 'v')
    if not there or tonumber(there) <= tonumber(ARGV[i + 1]) then
        redis.call('DEL', key)
        redis.call('HSET', key, 'v', ARGV[i + 1])
        redis.call('PEXPIRE', key, ARGV[1])
    end
end
return 0
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An ended job and its pictures as they were at most a minute ago."""

    job: Job
    images: list[Image]


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Snapshot)


def lasting(job: Job) -> bool:
    """Whether the job has come to an end that no evidence changes any more."""
    return job.state in ENDED and job.error_code != Failure.SUBMISSION_UNKNOWN


class Snapshots:
    """The snapshots that all processes share. One a process: it remembers for a moment that Redis is silent."""

    def __init__(self, redis: Redis, clock: Clock, errands: Errands, answer_within_s: float = CONVENIENCE_S) -> None:
        self._redis = redis
        self._lane = Lane(redis.connection_pool)
        self._clock = clock
        self._errands = errands
        self._answer_within_s = answer_within_s
        self._rests_until_s = 0.0
        self._read: dict[bytes, Snapshot] = {}

    async def look(self, team_id: str, job_id: str) -> Snapshot | int | None:
        """The team's job; Redis's time in milliseconds where it has none, for ``keep``; none when it is silent."""
        found = await self._ask(_LOOK, keyspace.snapshot(team_id, job_id))
        if not isinstance(found, bytes):
            return found if isinstance(found, int) else None
        snapshot = self._value(found)
        if snapshot is None:
            return None
        # The key names both; who asks for a job of another team's is never shown one, whatever lies there.
        return snapshot if (snapshot.job.team_id, snapshot.job.id) == (team_id, job_id) else None

    def _value(self, body: bytes) -> Snapshot | None:
        """The snapshot of those bytes; of the same ones the same value."""
        found = self._read.get(body)
        if found is None:
            try:
                found = _DECODER.decode(body)
            except msgspec.MsgspecError:
                return None  # another release's; it is gone within the minute
            if len(self._read) >= _READ_MAX:
                self._read.clear()
            self._read[body] = found
        return found

    def keep(self, job: Job, images: Sequence[Image], looked_at_ms: int) -> asyncio.Task[None] | None:
        """Keep a job that SQL was asked for after that look, if it will stay so; behind the caller's back."""
        if not lasting(job):
            return None
        return self._errands.run(("snapshot", job.id), lambda: self._keep(job, images, looked_at_ms))

    async def forget(self, jobs: Sequence[Job]) -> bool:
        """As the function of that name."""
        return await forget(self._redis, jobs)

    async def close(self) -> None:
        """Give the connection up."""
        await self._lane.close()

    async def _keep(self, job: Job, images: Sequence[Image], looked_at_ms: int) -> None:
        shown = replace(job, parameters={}, results=None, webhook_url=None, trace_parent=None, fingerprint=None)
        body = _ENCODER.encode(Snapshot(shown, list(images)))
        given = (job.version, body, looked_at_ms, KEEP_WITHIN_MS, LIFE_MS)
        await self._ask(_KEEP, keyspace.snapshot(job.team_id, job.id), *given)

    async def _ask(self, script: Script, key: str, *given: int | bytes) -> Any:  # noqa: ANN401  whatever it gives
        if self._clock.monotonic() < self._rests_until_s:
            return None
        try:
            async with asyncio.timeout(self._answer_within_s):
                return await self._lane.run(script, [key], given)
        except (RedisError, OSError, TimeoutError) as error:
            self._rests_until_s = self._clock.monotonic() + REST_S
            log.warning("snapshots_silent", reason=type(error).__name__)
            return None


async def forget(redis: Redis, jobs: Sequence[Job], within_s: float = CONVENIENCE_S) -> bool:
    """Take away what is kept of these jobs, after the commit that erased them; whether all of it was done."""
    mark = redis.register_script(_MARK)
    try:
        for start in range(0, len(jobs), _MARKS_AT_ONCE):
            some = jobs[start : start + _MARKS_AT_ONCE]
            keys = [keyspace.snapshot(job.team_id, job.id) for job in some]
            async with asyncio.timeout(within_s):
                await mark(keys=keys, args=[MARK_MS, *(job.version for job in some)])
    except (RedisError, OSError, TimeoutError) as error:
        log.warning("snapshots_not_forgotten", reason=type(error).__name__)
        return False
    return True
