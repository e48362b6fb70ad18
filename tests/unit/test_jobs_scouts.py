"""One look for many: who goes first, who waits, and that nothing of them stays behind."""

import asyncio

import pytest

from gateway.jobs.scouts import JOIN_AT_ONCE, Scouts
from gateway.reuse.places import Place

HERE = Place("team", "a" * 64)
THERE = Place("team", "b" * 64)


async def test_the_first_goes_and_the_others_wait_for_it() -> None:
    """Of those who ask for one place at once exactly one is first; another place has a first of its own."""
    scouts, back = Scouts(), asyncio.Event()
    order: list[str] = []

    async def ask(place: Place, name: str) -> bool:
        async with scouts.turn(place) as first:
            if first:
                await back.wait()
            order.append(name)
            return first

    asked = [asyncio.create_task(ask(HERE, f"here {number}")) for number in range(5)]
    other = asyncio.create_task(ask(THERE, "there"))
    await asyncio.sleep(0)
    assert order == []
    back.set()
    assert [await each for each in asked] == [True, False, False, False, False]
    assert await other
    assert order[0] == "here 0"
    async with scouts.turn(HERE) as first:
        assert first


async def test_a_first_that_fails_lets_the_others_go() -> None:
    """Whatever becomes of the first, nobody waits for ever."""
    scouts, back = Scouts(), asyncio.Event()

    async def fail() -> None:
        async with scouts.turn(HERE):
            await back.wait()
            raise ValueError

    async def follow() -> bool:
        async with scouts.turn(HERE) as first:
            return first

    failing, following = asyncio.create_task(fail()), asyncio.create_task(follow())
    await asyncio.sleep(0)
    back.set()
    with pytest.raises(ValueError, match=r"^$"):
        await failing
    assert not await following


async def test_a_few_join_at_once() -> None:
    """However many stand in line for one place, only a few hold a connection; another place has its own line."""
    scouts, inside, most = Scouts(), 0, 0

    async def join(place: Place) -> None:
        nonlocal inside, most
        async with scouts.few(place):
            inside += place is HERE
            most = max(most, inside)
            for _ in range(3):
                await asyncio.sleep(0)
            inside -= place is HERE

    await asyncio.gather(*(join(HERE) for _ in range(20)), *(join(THERE) for _ in range(2)))
    assert (most, inside) == (JOIN_AT_ONCE, 0)
