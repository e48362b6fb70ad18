"""New generations a minute, for a key and for its team at once, counted in Redis. Protects the queue, guards no money.

Uploads are held to the same numbers, and counted apart: whoever brings a picture for each order has room for both.

A sliding window, exact to the second: each second's takes are counted apart and forgotten a minute later, so that no
key needs more than 60 numbers, however high its limit. Both limits are looked at and taken from in one script: what one
of them refuses takes nothing from the other. Without Redis everyone is let in, since budgets are kept elsewhere.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway import errors
from gateway.storage import keyspace
from gateway.storage.lane import ANSWER_WITHIN_S, CONVENIENCE_S, Lane, Script
from gateway.tenancy.recognition import Caller

WINDOW_S: Final = 60

# Answers whether it was taken and, for each limit, how many are used and in how many seconds there is room for more.
# The server's clock counts; what it wrote before it jumped back is forgotten rather than held against anyone.
_TAKE: Final = Script("""
local second = tonumber(redis.call('TIME')[1])
local window = tonumber(ARGV[1])
local granted, used, wait = 1, {}, {}
for i, key in ipairs(KEYS) do
    local limit, stored = tonumber(ARGV[i + 1]), redis.call('HGETALL', key)
    local moments, counts, old = {}, {}, {}
    used[i] = 0
    for j = 1, #stored, 2 do
        local at = tonumber(stored[j])
        if at > second - window and at <= second then
            moments[#moments + 1] = at
            counts[at] = tonumber(stored[j + 1])
            used[i] = used[i] + counts[at]
        else
            old[#old + 1] = stored[j]
        end
    end
    if #old > 0 then redis.call('HDEL', key, unpack(old)) end
    if used[i] >= limit then granted = 0 end
    table.sort(moments)
    local surplus = math.max(used[i] - limit + 1, 1)
    wait[i] = window
    for _, at in ipairs(moments) do
        surplus = surplus - counts[at]
        if surplus <= 0 then
            wait[i] = at + window - second
            break
        end
    end
end
local answer = {granted}
for i, key in ipairs(KEYS) do
    if granted == 1 then
        redis.call('HINCRBY', key, second, 1)
        redis.call('EXPIRE', key, window)
        used[i] = used[i] + 1
    end
    answer[#answer + 1] = used[i]
    answer[#answer + 1] = wait[i]
end
return answer
""")

# Takes the newest one back: whose it is makes no difference to anybody's room.
_GIVE_BACK: Final = Script("""
local second = tonumber(redis.call('TIME')[1])
for _, key in ipairs(KEYS) do
    local newest, stored = -1, redis.call('HGETALL', key)
    for j = 1, #stored, 2 do
        local at = tonumber(stored[j])
        if at <= second and at > newest and tonumber(stored[j + 1]) > 0 then newest = at end
    end
    if newest >= 0 and redis.call('HINCRBY', key, newest, -1) <= 0 then redis.call('HDEL', key, newest) end
end
return 0
""")

log = structlog.get_logger(__name__)


class Counted(StrEnum):
    """What a minute has so many of, as the end of a sentence."""

    GENERATIONS = "start {limit} generations a minute"
    UPLOADS = "bring {limit} uploads a minute"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a caller stands with the tighter of its limits, after a take was tried."""

    granted: bool
    #: Whose limit: the ``key``'s own or its ``team``'s.
    name: Literal["key", "team"]
    limit: int
    remaining: int
    #: When the oldest take is forgotten, which makes room for another; 1 to 60.
    reset_s: int
    of: Counted = Counted.GENERATIONS


class OutOfPace(errors.RateLimited):
    """Too many requests; wait and try again."""

    def __init__(self, standing: Standing) -> None:
        self.standing = standing
        super().__init__(
            f"this {standing.name} may {standing.of.format(limit=standing.limit)}; "
            f"there is room again in {standing.reset_s} s",
            retry_after_s=standing.reset_s,
            limit=errors.Limit.KEY_RPM if standing.name == "key" else errors.Limit.TEAM_RPM,
        )


class GenerationRate:
    """The limits of new generations, and of uploads, as all processes share them."""

    def __init__(self, redis: Redis, answer_within_s: float = CONVENIENCE_S) -> None:
        self._lane = Lane(redis.connection_pool, max(answer_within_s, ANSWER_WITHIN_S))
        self._answer_within_s = answer_within_s

    async def take(self, caller: Caller, of: Counted = Counted.GENERATIONS) -> Standing | None:
        """Try to take one from the key's and the team's minute of those; none when Redis could not be asked.

        Takes from both or from neither. Raises nothing; `require` makes a refusal of what this gives.
        """
        limits = _limits(caller, of)
        try:
            async with asyncio.timeout(self._answer_within_s):
                # As the client does: what was lost on its way is asked once more, and may have been taken twice.
                answer: Sequence[int] = await self._lane.run(
                    _TAKE, [name for _, name, _ in limits], [WINDOW_S, *(limit for _, _, limit in limits)]
                )
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("rate_limit_not_asked", reason=type(error).__name__, team_id=caller.team.id)
            return None
        granted, *counted = answer
        stands = [
            _standing(bool(granted), "key" if name == "key" else "team", limit, used, wait_s, of)
            for (name, _, limit), used, wait_s in zip(limits, counted[::2], counted[1::2], strict=True)
        ]
        return min(stands, key=_room)

    async def give_back(self, caller: Caller, of: Counted = Counted.GENERATIONS) -> None:
        """Take back one that was granted and came to nothing. Raises nothing: a minute forgets it anyway."""
        try:
            async with asyncio.timeout(self._answer_within_s):
                await self._lane.run(_GIVE_BACK, [name for _, name, _ in _limits(caller, of)], [])
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("rate_limit_not_given_back", reason=type(error).__name__, team_id=caller.team.id)

    async def close(self) -> None:
        """Give the connection up."""
        await self._lane.close()


def require(standing: Standing | None) -> None:
    """``OutOfPace`` with the seconds to wait if the take was refused."""
    if standing is not None and not standing.granted:
        raise OutOfPace(standing)


def _limits(caller: Caller, of: Counted) -> list[tuple[str, str, int]]:
    """The limits of a caller: whose each is, its name in Redis, and how many it allows."""
    key, team = caller.key, caller.team
    if of is Counted.UPLOADS:
        names = keyspace.team_upload_rate(team.id), keyspace.key_upload_rate(team.id, key.first)
    else:
        names = keyspace.team_rate(team.id), keyspace.key_rate(team.id, key.first)
    limits = [("team", names[0], team.rpm)]
    if key.rpm is not None:
        # Of its whole chain: while a rotated key and its successor both work, they have one minute together.
        limits.insert(0, ("key", names[1], key.rpm))
    return limits


def _standing(granted: bool, name: Literal["key", "team"], limit: int, used: int, wait_s: int, of: Counted) -> Standing:
    return Standing(granted, name, limit, max(limit - used, 0), max(wait_s, 1), of)


def _room(standing: Standing) -> tuple[int, int]:
    """The fewer are left, the tighter; of two that are used up, the one that stays so for longer."""
    return standing.remaining, -standing.reset_s if standing.remaining == 0 else standing.reset_s
