"""A Redis whose connections are reset, or which hangs: every fault is one that callers expect, and a stop is heard."""

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import uvloop
from redis.exceptions import RedisError

from gateway.storage import valkey
from tests.support import wait
from tests.support.rig import Rig
from tests.support.wire import Wire
from workers.consumer import Consumer
from workers.tasks import Bench


@pytest.fixture
def wire(redis_url: str) -> Iterator[Wire]:
    """A wire to the real server."""
    port = urlsplit(redis_url).port
    assert port is not None
    with Wire(port) as laid:
        yield laid


def over(wire: Wire, redis_url: str) -> str:
    """The server's URL by way of the wire."""
    parts = urlsplit(redis_url)
    return parts._replace(netloc=f"127.0.0.1:{wire.port}").geturl()


def test_a_reset_connection_is_a_fault_of_redis_on_the_servers_own_loop(wire: Wire, redis_url: str) -> None:
    """On uvloop, as in production, a reset at any byte raises what callers of Redis catch, and nothing else."""

    async def harm() -> int:
        client = valkey.open(over(wire, redis_url))
        faults = 0
        try:
            for number in range(300):
                # Cut at another byte each time: while connecting, while greeting, in the command, in the answer.
                wire.behave(cut_after_up=number % 60)
                wire.cut()
                try:
                    await client.set("probe", number)
                except (RedisError, OSError):
                    faults += 1
            wire.heal()
            wire.cut()
            assert await client.set("probe", "healed")
        finally:
            await client.aclose()
        return faults

    assert uvloop.run(harm()) > 0


async def test_a_stop_is_heard_while_redis_hangs(rig: Rig, wire: Wire, redis_url: str) -> None:
    """A worker that is told to end while it waits for a Redis that hangs ends as soon as that answers."""
    wire.behave(stalled=True)
    consumer = Consumer(Bench(rig.shop), over(wire, redis_url))
    running = asyncio.create_task(consumer.run())
    await wait.until(lambda: _true(wire.connections > 0), timeout_s=5, what="the worker is connecting")
    consumer.stop()
    wire.heal()
    await asyncio.wait_for(running, 8)


def test_a_cancellation_is_heard_wherever_a_command_stands(redis_url: str) -> None:
    """Who is cancelled between any two turns of the loop, in the middle of commands to Redis, ends."""

    async def deaf() -> list[int]:
        client = valkey.open(redis_url)

        async def ask_for_ever() -> None:
            while True:
                await client.set("probe", "asked")

        went_on = []
        try:
            for turns in range(120):
                asking = asyncio.create_task(ask_for_ever())
                for _ in range(turns):
                    await asyncio.sleep(0)
                asking.cancel()
                ended, _ = await asyncio.wait({asking}, timeout=1)
                if not ended:
                    went_on.append(turns)
                    asking.cancel()
                    await asyncio.wait({asking}, timeout=1)
        finally:
            await client.aclose()
        return went_on

    assert uvloop.run(deaf()) == []


async def _true(value: bool) -> bool:
    return value
