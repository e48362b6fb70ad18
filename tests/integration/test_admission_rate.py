"""The rate of new generations on a real Redis: at any concurrency, two limits at once, and without Redis."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis

from gateway import errors
from gateway.admission import rate
from gateway.admission.rate import GenerationRate, Standing
from gateway.storage import keyspace, valkey
from gateway.tenancy import scopes
from gateway.tenancy.keys import Key
from gateway.tenancy.recognition import Caller, TeamLimits
from tests.support.valkey import Valkey

NOW = datetime.now(UTC)


def caller(team_rpm: int = 300, key_rpm: int | None = None, *, key: str = "k1", team: str = "team_1") -> Caller:
    """A caller with these limits."""
    return Caller(
        Key(key, team, "test", scopes.DEFAULT, NOW, None, None, None, rpm=key_rpm),
        TeamLimits(team, team_rpm, None, 10_000, 3_600, None, drained=False),
    )


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client as the house opens one."""
    async with valkey.open(redis_url) as opened:
        yield opened


@pytest.fixture
def patient(redis: Redis) -> GenerationRate:
    """The limits with time enough for a busy machine."""
    return GenerationRate(redis, answer_within_s=20)


async def store(redis: Redis, counts: dict[int, int]) -> None:
    """Make the first team's window hold those takes by their seconds."""
    async with redis.pipeline() as pipe:
        pipe.hset(keyspace.team_rate("team_1"), mapping={str(at): count for at, count in counts.items()})
        await pipe.execute()


async def stored(redis: Redis) -> set[int]:
    """The seconds that the first team's window holds."""
    async with redis.pipeline() as pipe:
        pipe.hkeys(keyspace.team_rate("team_1"))
        (names,) = await pipe.execute()
    return {int(name) for name in names}


def granted(standings: list[Standing | None]) -> int:
    """How many takes were let in; each was answered."""
    assert None not in standings
    return sum(standing is not None and standing.granted for standing in standings)


@pytest.mark.parametrize(("team_rpm", "key_rpm"), [(50, None), (50, 80), (80, 50)])
async def test_exactly_the_tighter_limit_is_granted(
    redis_url: str, patient: GenerationRate, team_rpm: int, key_rpm: int | None
) -> None:
    """Of 200 takes at once, from two processes' clients, as many are granted as the tighter limit allows."""
    asking = caller(team_rpm, key_rpm)
    async with valkey.open(redis_url) as second:
        other = GenerationRate(second, answer_within_s=20)
        takes = [(patient if number % 2 else other).take(asking) for number in range(200)]
        assert granted(await asyncio.gather(*takes)) == 50


async def test_a_refusal_by_one_limit_takes_nothing_from_the_other(patient: GenerationRate) -> None:
    """A key that is past its own limit uses up nothing of its team's, at any concurrency, and the other way round."""
    small = caller(team_rpm=30, key_rpm=10, key="small")
    assert granted(await asyncio.gather(*(patient.take(small) for _ in range(100)))) == 10
    other = caller(team_rpm=30, key="other")
    assert granted(await asyncio.gather(*(patient.take(other) for _ in range(100)))) == 20
    third = caller(team_rpm=31, key_rpm=2, key="third")
    assert granted([await patient.take(caller(team_rpm=30, key_rpm=2, key="third")) for _ in range(5)]) == 0
    assert granted([await patient.take(third) for _ in range(5)]) == 1


async def test_the_tighter_limit_is_told(patient: GenerationRate) -> None:
    """A caller reads whose limit is tighter, what is left of it, and within a minute when there will be more."""
    first = await patient.take(caller(team_rpm=3, key_rpm=5))
    assert first == Standing(True, "team", 3, 2, 60)
    second = await patient.take(caller(team_rpm=9, key_rpm=5))
    assert second is not None
    assert (second.name, second.limit, second.remaining) == ("key", 5, 3)
    assert 55 <= second.reset_s <= 60
    alone = await patient.take(caller(team_rpm=9, key="k2"))
    assert alone is not None
    assert (alone.name, alone.limit, alone.remaining) == ("team", 9, 6)


async def test_a_refusal_says_when_to_come_back(patient: GenerationRate) -> None:
    """A refused take is `rate_limited` with the seconds until there is room, which are never more than a minute."""
    asking = caller(team_rpm=1)
    rate.require(await patient.take(asking))
    standing = await patient.take(asking)
    assert standing is not None
    assert (standing.granted, standing.remaining) == (False, 0)
    with pytest.raises(errors.RateLimited) as refused:
        rate.require(standing)
    assert refused.value.retry_after_s == standing.reset_s
    assert 55 <= standing.reset_s <= 60


async def test_what_is_a_minute_old_is_forgotten(redis: Redis, patient: GenerationRate) -> None:
    """A take is counted for the 60 seconds after it, and a time that has not come yet is not held against anyone."""
    second = (await redis.time())[0]
    await store(redis, {second - 60: 50, second - 59: 1, second - 30: 2, second + 900: 9})
    standing = await patient.take(caller(team_rpm=4))
    assert standing is not None
    assert (standing.granted, standing.remaining) == (True, 0)
    assert standing.reset_s <= 2
    assert await stored(redis) <= {second - 59, second - 30, *range(second, second + 5)}


async def test_a_lowered_limit_waits_until_enough_is_forgotten(redis: Redis, patient: GenerationRate) -> None:
    """Who has used more than a limit that was lowered is told the second in which there is truly room."""
    second = (await redis.time())[0]
    await store(redis, {second - 50: 5, second - 20: 5})
    standing = await patient.take(caller(team_rpm=3))
    assert standing is not None
    assert (standing.granted, standing.remaining) == (False, 0)
    assert 36 <= standing.reset_s <= 40


async def test_memory_is_bounded_whatever_the_limit(redis: Redis, patient: GenerationRate) -> None:
    """A key's window holds a number for each second and not one for each take, and goes by itself."""
    asking = caller(team_rpm=1_000_000)
    await asyncio.gather(*(patient.take(asking) for _ in range(500)))
    assert len(await stored(redis)) <= 30
    assert 0 < await redis.ttl(keyspace.team_rate("team_1")) <= 60


async def test_teams_do_not_share_a_limit(patient: GenerationRate) -> None:
    """One team's takes are not another's."""
    assert granted([await patient.take(caller(team_rpm=1)), await patient.take(caller(team_rpm=1, team="team_2"))]) == 2


async def test_without_redis_everyone_is_let_in(valkey: Valkey, redis: Redis) -> None:
    """With Redis stopped or frozen a take is answered at once and lets in; back again, it counts again."""
    limits, patient, asking = GenerationRate(redis), GenerationRate(redis, answer_within_s=20), caller(team_rpm=1)
    assert await patient.take(asking) is not None
    for break_it, mend_it in ((valkey.pause, valkey.resume), (valkey.kill, valkey.start)):
        break_it()
        for _ in range(3):
            begun = time.monotonic()
            standing = await limits.take(asking)
            assert standing is None
            rate.require(standing)
            assert time.monotonic() - begun < 1
        mend_it()
    assert granted([await patient.take(asking) for _ in range(2)]) == 1


async def test_an_abandoned_answer_is_nobody_elses(valkey: Valkey, redis: Redis) -> None:
    """After takes that were given up the connection gives each question its own answer."""
    hasty, patient = GenerationRate(redis), GenerationRate(redis, answer_within_s=20)
    await patient.take(caller())
    valkey.pause()
    assert await asyncio.gather(*(hasty.take(caller()) for _ in range(5))) == [None] * 5
    valkey.resume()
    for number in range(5):
        await redis.set("probe", number)
        assert await redis.get("probe") == str(number).encode()
        assert await patient.take(caller(team=f"team_{number + 5}")) == Standing(True, "team", 300, 299, 60)
