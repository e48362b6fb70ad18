"""The shared connection to Redis: many at once, faults, silence, and what becomes of those who wait."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from redis import exceptions

from gateway.storage import valkey
from gateway.storage.lane import Lane, Script
from tests.support import ports
from tests.support.valkey import Valkey
from tests.support.wire import Wire


@pytest.fixture
async def lane(own_valkey: Valkey) -> AsyncIterator[Lane]:
    """Give a lane to a Valkey of the test's own."""
    async with valkey.open(own_valkey.url) as redis:
        made = Lane(redis.connection_pool)
        yield made
        await made.close()


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    """Give a Valkey that the test may stop."""
    with Valkey() as server:
        yield server


async def test_each_gets_its_own_answer(lane: Lane) -> None:
    """Of a thousand at once each gets the answer to its question, and a refusal is only its own."""

    async def one(number: int) -> object:
        try:
            return await lane.ask("NOSUCH") if number % 10 == 0 else await lane.ask("ECHO", f"n{number}")
        except exceptions.ResponseError:
            return "refused"

    found = await asyncio.gather(*(one(number) for number in range(1000)))
    assert found == ["refused" if number % 10 == 0 else f"n{number}".encode() for number in range(1000)]


async def test_a_script_is_taught_once(lane: Lane) -> None:
    """A script that Redis does not know, at first and after a flush, is sent to it and carried out."""
    script = Script("return {KEYS[1], ARGV[1]}")
    assert await lane.run(script, ["a"], [1]) == [b"a", b"1"]
    await lane.ask("SCRIPT", "FLUSH")
    assert await lane.run(script, ["b"], [2]) == [b"b", b"2"]


async def test_a_lost_connection_is_made_anew(lane: Lane) -> None:
    """After Redis closed it, the next who asks gets an answer and hears of nothing."""
    own = await lane.ask("CLIENT", "ID")
    await lane.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
    assert await lane.ask("CLIENT", "ID") != own


async def test_what_is_to_be_done_once_is_not_asked_twice(own_valkey: Valkey) -> None:
    """When the answer is lost on its way, a deed that counts is left alone, and who asked is told."""
    counts = Script("return redis.call('INCR', KEYS[1])")
    with Wire(own_valkey.port) as wire:
        async with valkey.open(f"redis://{wire.address}/0") as redis:
            made = Lane(redis.connection_pool)
            assert await made.run(counts, ["other"], []) == 1
            wire.behave(cut_after_down=0)
            with pytest.raises(exceptions.ConnectionError):
                await made.run(counts, ["counted"], [], once=True)
            wire.heal()
            await made.close()
            assert int(await redis.get("counted")) == 1


async def test_whoever_never_greets_holds_nobody_up(own_valkey: Valkey) -> None:
    """A server that takes the connection and says nothing is given up in time, and once it speaks the lane goes on."""
    with Wire(own_valkey.port) as wire:
        wire.behave(stalled=True)
        async with valkey.open(f"redis://{wire.address}/0") as redis:
            made = Lane(redis.connection_pool, connect_within_s=0.2)
            told = await asyncio.wait_for(
                asyncio.gather(*(made.ask("PING") for _ in range(20)), return_exceptions=True), timeout=5
            )
            assert [type(each) for each in told] == [exceptions.ConnectionError] * 20
            wire.heal()
            assert await made.ask("ECHO", "mine") == b"mine"
            await made.close()


async def test_by_default_the_greeting_is_bounded() -> None:
    """A socket on which nobody ever answers costs who asks two connections' time, first and second, and no more."""
    with socket.create_server((ports.LOOPBACK, 0)) as deaf:
        async with valkey.open(f"redis://{ports.LOOPBACK}:{deaf.getsockname()[1]}/0") as redis:
            made = Lane(redis.connection_pool)
            begun = time.monotonic()
            with pytest.raises(exceptions.ConnectionError):
                await asyncio.wait_for(made.ask("PING"), timeout=10)
            assert valkey.CONNECT_TIMEOUT_S <= time.monotonic() - begun < 3 * valkey.CONNECT_TIMEOUT_S
            await made.close()


async def test_words_are_written_as_redis_reads_them(lane: Lane) -> None:
    """Texts beyond ASCII, empty ones, bytes with line ends and numbers arrive as they were given."""
    script = Script("return ARGV")
    assert await lane.run(script, ["key"], ["é", "", b"a\r\nb\x00", 7]) == ["é".encode(), b"", b"a\r\nb\x00", b"7"]


async def test_without_redis_everyone_is_told(lane: Lane, own_valkey: Valkey) -> None:
    """While nobody listens, all who ask get an error at once; when Redis is back, so is the lane."""
    assert await lane.ask("PING")
    own_valkey.stop()
    told = await asyncio.wait_for(
        asyncio.gather(*(lane.ask("PING") for _ in range(50)), return_exceptions=True), timeout=10
    )
    assert all(isinstance(each, exceptions.RedisError | OSError) for each in told)
    own_valkey.start()
    assert await lane.ask("PING")


async def test_who_leaves_disturbs_nobody(lane: Lane) -> None:
    """One who does not wait for its answer takes it from nobody, and gives nobody its own."""
    impatient = asyncio.create_task(lane.ask("ECHO", "mine"))
    patient = asyncio.create_task(lane.ask("ECHO", "yours"))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient == b"yours"
    assert await lane.ask("ECHO", "next") == b"next"


async def test_closing_tells_those_who_wait(lane: Lane) -> None:
    """Whoever waits when the lane is closed is told, and no answer of before comes to who asks later."""
    assert await lane.ask("PING")
    asking = asyncio.create_task(lane.ask("BLPOP", "never", 5))
    await asyncio.sleep(0)
    await lane.close()
    asking.cancel()
    with pytest.raises((exceptions.ConnectionError, asyncio.CancelledError)):
        await asking
    assert await lane.ask("ECHO", "mine") == b"mine"
