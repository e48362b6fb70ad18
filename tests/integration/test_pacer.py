"""The request budget on a real Redis: bounded, shared, adaptive, and whole again after whatever happens to it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.clock import SystemClock
from gateway.storage import keyspace
from gateway.storage import valkey as connections
from gateway.upstream import pacer
from gateway.upstream.limits import Notice
from gateway.upstream.pacer import Listener, Pacer
from tests.support.valkey import Valkey

REFUSED = Notice(refused=True)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """Give a client of an empty Redis."""
    client = connections.open(redis_url)
    yield client
    await client.aclose()


async def granted(budget: Pacer, wanted: int, reserve: float = 0.0, *, stalled: bool = False) -> int:
    """How many of so many requests are granted at once."""
    return [await budget.take(reserve, stalled=stalled) for _ in range(wanted)].count(0.0)


async def age(redis: Any, seconds: float) -> None:
    """Let time pass for the budget: what it remembers is older by so much."""
    at_ms = float(await redis.hget(keyspace.PACE, "at_ms") or 0)
    await redis.hset(keyspace.PACE, "at_ms", str(at_ms - seconds * 1000))


async def forget_refusal(redis: Any) -> None:
    """Let the time pass in which refusals count as one, and no other."""
    await redis.hset(keyspace.PACE, "cut_ms", "0")


async def test_a_burst_is_ten_seconds_worth_and_submits_leave_a_fifth(redis: Any) -> None:
    """At 60 a minute ten requests go at once; submits stop earlier, polls take the rest, probes only idle capacity."""
    budget = Pacer(redis, 60)
    assert await granted(budget, 20, pacer.PROBE_RESERVE) == 5
    assert await granted(budget, 20, pacer.SUBMIT_RESERVE) == 3
    assert await granted(budget, 20, pacer.POLL_RESERVE) == 2


async def test_stalled_jobs_get_a_tenth(redis: Any) -> None:
    """Of two minutes' requests a tenth goes to jobs that hang, however many there are, and no more."""
    budget = Pacer(redis, 60)
    slow = plain = 0
    for _ in range(120):
        slow += await granted(budget, 3, stalled=True)
        plain += await granted(budget, 3)
        await age(redis, 1)
    assert 11 <= slow <= 16
    assert plain >= 100


async def test_a_returned_request_can_be_taken_again(redis: Any) -> None:
    """What was taken and not used goes back, and never makes the bucket larger than it is."""
    budget = Pacer(redis, 60)
    assert await granted(budget, 20) == 10
    await budget.give_back()
    assert await granted(budget, 20) == 1
    await redis.delete(keyspace.PACE)
    await budget.give_back()
    assert await granted(budget, 20) == 10


async def test_refusals_slow_everyone_down_to_a_floor_and_time_brings_the_rate_back(redis: Any) -> None:
    """Each refusal halves the rate for all workers, down to the floor; it grows back in ten minutes, and not past."""
    budget, other = Pacer(redis, 60), Pacer(redis, 60)
    await budget.heed(REFUSED)
    await other.heed(REFUSED)  # under way together: one refusal
    assert (await other.standing()).rpm == pytest.approx(30, abs=0.1)
    for _ in range(6):
        await forget_refusal(redis)
        await budget.heed(REFUSED)
    assert (await other.standing()).rpm == pytest.approx(pacer.FLOOR_RPM, abs=0.1)
    assert await granted(other, 20) <= 2
    await age(redis, 300)
    await granted(other, 1)
    assert (await other.standing()).rpm == pytest.approx(36, abs=0.5)
    await age(redis, 3000)
    assert (await other.standing()).rpm == 60


async def test_a_rate_below_the_floor_is_kept(redis: Any) -> None:
    """Who allows three requests a minute gets three, refused or not."""
    budget = Pacer(redis, 3)
    await budget.heed(REFUSED)
    assert (await budget.standing()).rpm == 3


async def test_a_halt_stops_everyone_and_only_grows(redis: Any) -> None:
    """After a halt nobody gets a request, and a shorter one does not end a longer one."""
    budget, other = Pacer(redis, 60), Pacer(redis, 60)
    await budget.heed(Notice(halt_s=30))
    await budget.heed(Notice(halt_s=2))
    assert 28 < await other.take() <= 30
    assert 28 < (await other.standing()).halted_s <= 30


async def test_a_lower_limit_is_followed_while_it_is_fresh(redis: Any) -> None:
    """A told limit below ours becomes the rate; one above changes nothing; both are forgotten in ten minutes."""
    budget = Pacer(redis, 60)
    await budget.heed(Notice(limit_rpm=1000))
    assert (await budget.standing()).rpm == 60
    await budget.heed(Notice(limit_rpm=10))
    assert (await budget.standing()).rpm == 10
    await age(redis, 601)
    assert (await budget.standing()).rpm == 60


async def test_what_is_left_of_a_window_lasts_to_its_end(redis: Any) -> None:
    """Few requests left are spread over the window's rest, and then the rate is the old one."""
    budget = Pacer(redis, 60)
    await budget.heed(Notice(window_rpm=20.0, window_s=30.0))
    assert (await budget.standing()).rpm == 20
    await age(redis, 31)
    assert (await budget.standing()).rpm == 60


async def test_a_clock_that_jumps_neither_stops_nor_floods(redis: Any) -> None:
    """After a jump back requests flow again at the rate; after one ahead no more than a burst is granted."""
    budget = Pacer(redis, 60)
    assert await granted(budget, 20) == 10
    await age(redis, -86_400)
    assert 0 < await budget.take() <= 1.1
    await age(redis, 1)
    assert await granted(budget, 5) == 1
    await age(redis, 86_400)
    assert await granted(budget, 30) == 10
    # A halt that a jump back has made a day longer is cut to what was asked for.
    await budget.heed(Notice(halt_s=5))
    await redis.pexpire(keyspace.PACE_HALT, 86_400_000)
    assert 0 < await budget.take() <= 5
    assert await redis.pttl(keyspace.PACE_HALT) <= 5000


async def test_the_previous_release_shares_the_budget(redis: Any) -> None:
    """What release N-1 keeps, tokens and a halt of value 1, is understood while both run."""
    await redis.hset(keyspace.PACE, mapping={"tokens": "3", "at_ms": str((await redis.time())[0] * 1000)})
    budget = Pacer(redis, 60)
    assert 3 <= await granted(budget, 20) <= 4
    await redis.set(keyspace.PACE_HALT, b"1", px=20_000)
    assert 19 < await budget.take() <= 20


async def test_ten_thousand_takers_share_what_there_is(valkey: Valkey, redis_url: str) -> None:
    """Ten thousand askers of two processes get the budget and not one more, and neither process is shut out."""
    del redis_url  # which has emptied it
    clients = [valkey.async_client(timeout_s=60) for _ in range(2)]
    budgets = [Pacer(client, 6000) for client in clients]
    turn = [asyncio.Semaphore(20), asyncio.Semaphore(20)]

    async def ask(number: int) -> bool:
        async with turn[number]:
            return not await budgets[number].take()

    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    found = await asyncio.gather(*(ask(number % 2) for number in range(10_000)))
    most = 1000 + (loop.time() - begun_s + 0.1) * 100
    for client in clients:
        await client.aclose()
    assert 1000 <= sum(found) <= most
    shares = (sum(found[0::2]), sum(found[1::2]))
    assert min(shares) >= sum(found) / 4


async def test_lost_state_starts_empty(redis: Any) -> None:
    """After a flush the full rate applies, and scripts that Redis has forgotten are loaded anew."""
    budget = Pacer(redis, 60)
    await budget.heed(Notice(refused=True, halt_s=60, limit_rpm=7))
    await redis.flushall()
    await redis.script_flush()
    assert await granted(budget, 20) == 10


async def test_headers_of_any_answer_reach_the_budget(redis: Any) -> None:
    """A listener tells what is news: a refusal, a used-up window, a limit below ours, once."""
    budget = Pacer(redis, 60)
    listener = Listener(budget, SystemClock())
    await listener.hear(200, {})
    assert await redis.exists(keyspace.PACE) == 0
    await listener.hear(200, {"x-ratelimit-limit": "12"})
    assert (await budget.standing()).rpm == 12
    await redis.delete(keyspace.PACE)
    await listener.hear(200, {"x-ratelimit-limit": "12"})
    assert await redis.exists(keyspace.PACE) == 0
    await listener.hear(429, {"retry-after": "4"})
    assert 3 < (await budget.standing()).halted_s <= 4


async def test_a_redis_that_is_away_costs_no_answer(valkey: Valkey, redis_url: str) -> None:
    """Without Redis a listener says nothing and raises nothing."""
    client = Redis.from_url(redis_url, socket_timeout=0.2, socket_connect_timeout=0.2)
    listener = Listener(Pacer(client, 60), SystemClock())
    valkey.stop()
    try:
        await listener.hear(429, {"retry-after": "4"})
    finally:
        valkey.start()
        await client.aclose()
