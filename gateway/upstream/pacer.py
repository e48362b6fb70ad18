"""The one request budget of the upstream account, shared by all workers through Redis. Loses nothing when Redis does.

A token bucket: it fills at the present rate and holds ten seconds' worth, so a burst is short. Polls are served before
submits because a submit must leave a reserve in it; jobs that hang upstream are looked at out of a bucket of their own
as well, which fills at a tenth of the rate.

The rate adapts: each refusal for pace halves it, then it grows back over ten minutes, and never past what is allowed.
What the upstream says of its own limit is followed while it is fresh. Lost state starts empty: at the full rate.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.clock import Clock
from gateway.storage import keyspace
from gateway.upstream import limits
from gateway.upstream.limits import Notice

#: How much of the bucket each use must leave: paid work never takes the last tokens from reads of paid work.
POLL_RESERVE = 0.0
SUBMIT_RESERVE = 0.2
#: Early looks at a job whose duration nobody knows yet use idle capacity only.
PROBE_RESERVE = 0.5

#: Requests a minute that no refusal takes away, lest the gateway stand still.
FLOOR_RPM = 6
#: What stalled jobs' looks may use of the rate.
STALLED_SHARE = 0.1

_BURST_S = 10.0
#: So that a submit's reserve means something at the lowest rate too.
_LEAST_CAPACITY = 2
#: A rate of nothing is whole again after so long; then nothing of the past is remembered either.
_RECOVERY_MS = 600_000
#: Requests that were under way together are refused together: that is one refusal.
_ONE_REFUSAL_MS = 10_000
_LIMIT_LIFE_MS = 600_000
_HEED_WITHIN_S = 0.5

# Times come from the server, so that workers' clocks do not matter. Everything counts down by what has passed since
# the last call: a clock that jumped back only stops the filling, one that jumped ahead fills a bucket of ten seconds.
_STATE = f"""
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local allowed, floor = tonumber(ARGV[1]), math.min(tonumber(ARGV[2]), tonumber(ARGV[1]))
local kept = redis.call('HMGET', KEYS[1], 'at_ms', 'tokens', 'stalled', 'rpm', 'cut_ms',
    'limit_rpm', 'limit_ms', 'window_rpm', 'window_ms')
local function number(at, otherwise) return tonumber(kept[at] or '') or otherwise end
local passed = math.max(now_ms - number(1, now_ms), 0)
local rpm = math.min(allowed, number(4, allowed) + allowed * passed / {_RECOVERY_MS})
local cut_ms = math.max(number(5, 0) - passed, 0)
local limit_ms, window_ms = math.max(number(7, 0) - passed, 0), math.max(number(9, 0) - passed, 0)
local limit_rpm, window_rpm = number(6, allowed), number(8, allowed)
local function rate()
    local found = rpm
    if limit_ms > 0 then found = math.min(found, limit_rpm) end
    if window_ms > 0 then found = math.min(found, window_rpm) end
    return math.max(found, floor)
end
local per_ms = rate() / 60000
local capacity = math.max({_LEAST_CAPACITY}, per_ms * {_BURST_S * 1000})
local slow_capacity = math.max(1, capacity * {STALLED_SHARE})
local tokens = math.min(capacity, number(2, capacity) + passed * per_ms)
local stalled = math.min(slow_capacity, number(3, slow_capacity) + passed * per_ms * {STALLED_SHARE})
local function keep()
    redis.call('HSET', KEYS[1], 'at_ms', now_ms, 'tokens', tostring(tokens), 'stalled', tostring(stalled),
        'rpm', tostring(rpm), 'cut_ms', cut_ms, 'limit_rpm', tostring(limit_rpm), 'limit_ms', limit_ms,
        'window_rpm', tostring(window_rpm), 'window_ms', window_ms)
    redis.call('PEXPIRE', KEYS[1], {_RECOVERY_MS})
end
local function halted()
    local left = redis.call('PTTL', KEYS[2])
    if left <= 0 then return 0 end
    local asked = tonumber(redis.call('GET', KEYS[2]) or '') or 0
    if asked <= 1 then asked = {int(limits.LONGEST_HALT_S * 1000)} end
    if left > asked then redis.call('PEXPIRE', KEYS[2], asked) end
    return math.min(left, asked)
end
"""

_TAKE = (
    _STATE
    + """
local halt = halted()
if halt > 0 then return halt end
local wanted = 1 + tonumber(ARGV[3]) * (capacity - 1)
local slow = ARGV[4] == '1'
local wait = 0
if tokens < wanted then wait = math.ceil((wanted - tokens) / per_ms) end
if slow and stalled < 1 then
    wait = math.max(wait, math.ceil((1 - stalled) / (per_ms * SHARE)))
end
if wait == 0 then
    tokens = tokens - 1
    if slow then stalled = stalled - 1 end
end
keep()
return wait
""".replace("SHARE", str(STALLED_SHARE))
)

_GIVE_BACK = (
    _STATE
    + """
tokens = tokens + 1
if ARGV[3] == '1' then stalled = stalled + 1 end
keep()
return 0
"""
)

_HEED = (
    _STATE
    + f"""
local refused, halt_ms = ARGV[3] == '1', tonumber(ARGV[4])
local limit, window, window_for = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
if refused and cut_ms == 0 then
    rpm = math.max(floor, rate() / 2)
    cut_ms = {_ONE_REFUSAL_MS}
end
if limit > 0 then limit_rpm, limit_ms = limit, {_LIMIT_LIFE_MS} end
if window_for > 0 then window_rpm, window_ms = window, window_for end
keep()
if halt_ms > halted() then redis.call('SET', KEYS[2], halt_ms, 'PX', halt_ms) end
return 0
"""
)

_STANDING = _STATE + "return {tostring(rate()), halted()}"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Standing:
    """How fast the upstream is asked now, in requests a minute, and for how long nobody asks at all."""

    rpm: float
    halted_s: float


class Pacer:
    """The budget of requests a minute."""

    def __init__(self, redis: Redis, requests_per_minute: int) -> None:
        self._redis = redis
        self.requests_per_minute = requests_per_minute
        self._take = redis.register_script(_TAKE)
        self._give_back = redis.register_script(_GIVE_BACK)
        self._heed = redis.register_script(_HEED)
        self._standing = redis.register_script(_STANDING)
        self._keys = [keyspace.PACE, keyspace.PACE_HALT]
        self._rates = [str(requests_per_minute), str(FLOOR_RPM)]

    async def take(self, reserve: float = POLL_RESERVE, *, stalled: bool = False) -> float:
        """Take one request from the budget; 0.0 when taken, else the seconds after which to ask again."""
        wait_ms = await self._take(keys=self._keys, args=[*self._rates, repr(reserve), _flag(stalled)])
        return float(wait_ms) / 1000

    async def give_back(self, *, stalled: bool = False) -> None:
        """Return a request that was taken and not made."""
        await self._give_back(keys=self._keys, args=[*self._rates, _flag(stalled)])

    async def heed(self, said: Notice) -> None:
        """Follow what an answer says about pace; a longer halt that is in force stays."""
        args = [
            _flag(said.refused),
            str(max(0, int(said.halt_s * 1000))),
            str(said.limit_rpm or 0),
            repr(said.window_rpm or 0.0),
            # A used-up window is a halt, and not a rate.
            str(0 if said.window_rpm is None else int(said.window_s * 1000)),
        ]
        await self._heed(keys=self._keys, args=[*self._rates, *args])

    async def standing(self) -> Standing:
        """How fast the upstream is asked now. Changes nothing."""
        rpm, halted_ms = await self._standing(keys=self._keys, args=self._rates)
        return Standing(float(rpm), float(halted_ms) / 1000)


class Listener:
    """Tells the pacer what each answer says about pace, where that is news. A Redis that is away costs no answer."""

    def __init__(self, pacer: Pacer, clock: Clock) -> None:
        self._pacer = pacer
        self._clock = clock
        self._limit_rpm: int | None = None
        self._told_s = 0.0

    async def hear(self, status_code: int, headers: Mapping[str, str]) -> None:
        """Heed an answer's status and headers. Raises nothing."""
        said = limits.notice(status_code, headers, self._clock.now())
        if not self._news(said):
            return
        try:
            # The answer may be that to a paid POST: it is not kept from its books for long.
            async with asyncio.timeout(_HEED_WITHIN_S):
                await self._pacer.heed(said)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("pacer_unavailable", reason=type(error).__name__)
            return
        self._limit_rpm, self._told_s = said.limit_rpm, self._clock.monotonic()
        if said.refused or said.halt_s:
            log.warning("upstream_slowed", refused=said.refused, halt_s=round(said.halt_s, 3), limit=said.limit_rpm)

    def _news(self, said: Notice) -> bool:
        allowed = self._pacer.requests_per_minute
        if said.refused or said.halt_s or (said.window_rpm is not None and said.window_rpm < allowed):
            return True
        if said.limit_rpm is None:
            return False
        # Told once a minute it stays fresh; a limit that lies above ours matters only once it has changed.
        fresh = self._clock.monotonic() - self._told_s < _LIMIT_LIFE_MS / 1000 / 10
        return said.limit_rpm != self._limit_rpm or (said.limit_rpm < allowed and not fresh)


def _flag(on: bool) -> str:
    return "1" if on else "0"
