"""Redis in front of the cache: one round trip for a hit. Never a record, and never an error: silence means "ask SQL".

A copy lives for a minute at most, counted by Redis's own clock from before SQL and the archive were asked about it.
So whatever goes wrong, nothing is handed out that was not known to be good within the last minute.

What is purged leaves a mark with its version. A reader that asked SQL before the purge and comes to put its answer
after it is refused by that mark, and an older answer never takes the place of a newer one. The mark lives longer than
a reader may take between asking and putting. Where the mark could not be written (Redis was away, or we died between
the commit and the mark), or was flushed, the minute is what bounds it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.clock import Clock
from gateway.reuse import answer
from gateway.reuse.answer import Answer
from gateway.reuse.entries import Purged
from gateway.reuse.places import Place
from gateway.storage import keyspace
from gateway.storage.lane import CONVENIENCE_S, Lane, Script

#: After a silence Redis is left alone for this long, so that a frozen one does not slow down every request.
REST_S: Final = 1.0
LIFE_MS: Final = 60_000
#: A reader that took longer since it looked does not put its answer any more.
PUT_WITHIN_MS: Final = 10_000
MARK_MS: Final = 120_000
_MARKS_AT_ONCE: Final = 500
#: Copies that were read before, as values: what is asked for comes again.
_READ_MAX: Final = 1024

# What was found, how long it still lives, and Redis's time; a hit is counted at once if it is to be.
_LOOK: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('HMGET', KEYS[1], 'b', 'm')
if not found[1] then return {now} end
if ARGV[1] ~= '' then
    redis.call('HINCRBY', KEYS[2], 'n' .. ARGV[1], 1)
    redis.call('HINCRBY', KEYS[2], 'm' .. ARGV[1], found[2])
end
return {now, redis.call('PTTL', KEYS[1]), found[1]}
""")

_COUNT: Final = """
redis.call('HINCRBY', KEYS[1], 'n' .. ARGV[1], 1)
return redis.call('HINCRBY', KEYS[1], 'm' .. ARGV[1], ARGV[2])
"""

# Whether it was put: not where there is a newer one, nor where the same one was purged, nor too late.
_PUT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local version, micros, body = ARGV[1], ARGV[2], ARGV[3]
local asked, within, until_ms = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
if now < asked or now - asked > within or until_ms <= now then return 0 end
local there = redis.call('HMGET', KEYS[1], 'v', 'b')
if there[1] then
    if tonumber(there[1]) > tonumber(version) then return 0 end
    if there[1] == version and not there[2] then return 0 end
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'v', version, 'm', micros, 'b', body)
redis.call('PEXPIREAT', KEYS[1], until_ms)
return 1
"""

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

#: What a script is given beside its keys.
Given: TypeAlias = str | int | bytes
#: Has a script carried out, by its ``keys`` and ``args``.
Asking: TypeAlias = Callable[..., Awaitable[Any]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the shelf gave."""

    answer: Answer | None
    #: Redis's time of the look, in milliseconds, which a later ``put`` names.
    at_ms: int
    #: For how much longer the copy is believed; 0 where there is none.
    left_ms: int = 0


class Shelf:
    """The copies that all processes share. One a process: it remembers for a moment that Redis is silent."""

    def __init__(self, redis: Redis, clock: Clock, answer_within_s: float = CONVENIENCE_S) -> None:
        self._redis = redis
        self._clock = clock
        self._answer_within_s = answer_within_s
        self._rests_until_s = 0.0
        #: For looks alone: they come with each request, the others with each change.
        self._lane = Lane(redis.connection_pool)
        self._put = redis.register_script(_PUT)
        self._mark = redis.register_script(_MARK)
        self._count = redis.register_script(_COUNT)
        self._read: dict[bytes, Answer] = {}

    async def look(self, place: Place, hit: str = "") -> Look | None:
        """What is there, counted under ``hit`` (``hits.field``) if something is; none when Redis could not be asked.

        A hit whose answer was lost on its way may have been counted.
        """
        keys = [keyspace.cached(place.scope, place.fingerprint), keyspace.HITS]
        found = await self._ask(self._look, keys, [hit], "look")
        if not isinstance(found, list):
            return None
        if len(found) == 1:
            return Look(None, found[0])
        at_ms, left_ms, body = found
        # Of another release, it is as good as none; it is gone within the minute.
        there = self._value(body)
        return Look(there, at_ms, left_ms if there is not None else 0)

    def _value(self, body: bytes) -> Answer | None:
        """The answer of those bytes; of the same ones the same value."""
        found = self._read.get(body) or answer.decode(body)
        if found is not None:
            if len(self._read) >= _READ_MAX:
                self._read.clear()
            self._read[body] = found
        return found

    async def put(self, place: Place, kept: Answer, look: Look, checked_s_ago: float = 0.0) -> bool:
        """Keep an answer that SQL was asked for after that look; whether it stands there now.

        ``checked_s_ago`` is how long before the look its pictures were seen in the archive; nothing if after it.
        """
        until_ms = look.at_ms + LIFE_MS - int(max(checked_s_ago, 0.0) * 1000)
        if kept.expires_at is not None:
            until_ms = min(until_ms, int(kept.expires_at.timestamp() * 1000))
        body = answer.encode(kept)
        given: list[Given] = [kept.version, kept.cost_micros, body, look.at_ms, PUT_WITHIN_MS, until_ms]
        return await self._ask(self._put, [keyspace.cached(place.scope, place.fingerprint)], given, "put") == 1

    async def count(self, hit: str, micros: int) -> bool:
        """Count a hit that SQL gave and that wrote nothing there; one of which Redis does not tell is not counted."""
        return await self._ask(self._count, [keyspace.HITS], [hit, micros], "count") is not None

    async def forget(self, purged: Sequence[Purged]) -> bool:
        """Take away these and every older version, after the commit that purged them; whether all of it was done."""
        done = True
        for start in range(0, len(purged), _MARKS_AT_ONCE):
            some = purged[start : start + _MARKS_AT_ONCE]
            keys = [keyspace.cached(each.place.scope, each.place.fingerprint) for each in some]
            given: list[Given] = [MARK_MS, *(each.version for each in some)]
            # A silence is no reason not to try the others: each mark counts, and nobody waits for a hit here.
            done &= await self._ask(self._mark, keys, given, "forget", rests=False) is not None
        return done

    async def close(self) -> None:
        """Give the connection for looks up."""
        await self._lane.close()

    async def _look(self, keys: list[str], args: list[Given]) -> object:
        # A look that counts is not repeated in doubt: nothing is counted twice, and SQL has the answer too.
        answered: object = await self._lane.run(_LOOK, keys, args, once=args[0] != "")
        return answered

    async def _ask(
        self, script: Asking, keys: list[str], given: Sequence[Given], deed: str, *, rests: bool = True
    ) -> object:
        """What the script gives; none, and it never gives that, when Redis did not answer in time."""
        if rests and self._clock.monotonic() < self._rests_until_s:
            return None
        try:
            async with asyncio.timeout(self._answer_within_s):
                answered: object = await script(keys=keys, args=[*given])
                return answered
        except (RedisError, OSError, TimeoutError) as error:
            self._rests_until_s = self._clock.monotonic() + REST_S
            log.warning("cache_shelf_silent", deed=deed, reason=type(error).__name__)
            return None
