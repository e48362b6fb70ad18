"""The one request budget of the upstream account, shared by all workers through Redis. Loses nothing when Redis does.

A token bucket: it fills at the allowed rate and holds ten seconds' worth, so a burst is short. Polls are served before
submits because a submit must leave a reserve in it.
"""

from redis.asyncio import Redis

from gateway.storage import keyspace

#: How much of the bucket each use must leave: paid work never takes the last tokens from reads of paid work.
POLL_RESERVE = 0.0
SUBMIT_RESERVE = 0.2
#: Early looks at a job whose duration nobody knows yet use idle capacity only.
PROBE_RESERVE = 0.5

_BURST_S = 10.0

# Times come from the server, so that workers' clocks do not matter. A clock that jumped back only stops the filling.
_TAKE = """
local halt = redis.call('PTTL', KEYS[2])
if halt > 0 then return halt end
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local rate, capacity, reserve = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local state = redis.call('HMGET', KEYS[1], 'tokens', 'at_ms')
local tokens = math.min(tonumber(state[1]) or capacity, capacity)
local elapsed = math.max(now_ms - (tonumber(state[2]) or now_ms), 0)
tokens = math.min(capacity, tokens + elapsed * rate)
local wanted = 1 + reserve * (capacity - 1)
local wait = 0
if tokens >= wanted then tokens = tokens - 1 else wait = math.ceil((wanted - tokens) / rate) end
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at_ms', now_ms)
redis.call('PEXPIRE', KEYS[1], 600000)
return wait
"""


class Pacer:
    """The budget of requests a minute."""

    def __init__(self, redis: Redis, requests_per_minute: int) -> None:
        self._redis = redis
        self._take = redis.register_script(_TAKE)
        self._rate_per_ms = requests_per_minute / 60_000
        self._capacity = max(1.0, requests_per_minute / 60 * _BURST_S)

    async def take(self, reserve: float = POLL_RESERVE) -> float:
        """Take one request from the budget; 0.0 when taken, else the seconds after which to ask again."""
        wait_ms = await self._take(
            keys=[keyspace.PACE, keyspace.PACE_HALT],
            args=[repr(self._rate_per_ms), repr(self._capacity), repr(reserve)],
        )
        return float(wait_ms) / 1000

    async def halt(self, seconds: float) -> None:
        """Stop everyone's requests for a while, as a 429 asks; a longer halt that is in force stays."""
        wait_ms = max(1, int(seconds * 1000))
        if await self._redis.pttl(keyspace.PACE_HALT) < wait_ms:
            await self._redis.set(keyspace.PACE_HALT, b"1", px=wait_ms)
