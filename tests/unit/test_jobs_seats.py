"""How many files a process has in memory, and what of them a team may take."""

import asyncio
from contextlib import AsyncExitStack, ExitStack

import pytest

from gateway import errors
from gateway.clock import SystemClock
from gateway.jobs.seats import AT_ONCE, AT_ONCE_OF_A_TEAM, Seats

FILE_BYTES = 100


def test_a_body_counts_by_what_has_come_of_it() -> None:
    """However many bodies there are, they are let in by their bytes; who ends makes room for as many."""
    seats = Seats(SystemClock(), FILE_BYTES)
    with ExitStack() as reading:
        slow = [reading.enter_context(seats.body("one")) for _ in range(10 * AT_ONCE)]
        for came in slow:
            came(1)
        with seats.body("one") as came:
            came(FILE_BYTES * AT_ONCE_OF_A_TEAM - len(slow))
            with pytest.raises(errors.Unavailable) as refused:
                came(1)
            assert refused.value.retry_after_s == 1
            with seats.body("other") as others:
                others(FILE_BYTES * AT_ONCE_OF_A_TEAM)
                with pytest.raises(errors.Unavailable), seats.body("third") as thirds:
                    thirds(1)
        slow[0](FILE_BYTES)
    with seats.body("one") as came:
        came(FILE_BYTES * AT_ONCE_OF_A_TEAM)


def test_so_many_urls_are_fetched_at_once() -> None:
    """A team fetches half of what a process does at most, and those who fetch keep no seat from the others."""
    seats = Seats(SystemClock(), FILE_BYTES)
    with ExitStack() as fetching:
        for _ in range(AT_ONCE_OF_A_TEAM):
            fetching.enter_context(seats.fetch("one"))
        with pytest.raises(errors.Unavailable), seats.fetch("one"):
            pass
        for number in range(AT_ONCE - AT_ONCE_OF_A_TEAM):
            fetching.enter_context(seats.fetch(f"other {number}"))
        with pytest.raises(errors.Unavailable), seats.fetch("another"):
            pass
    with seats.fetch("another"):
        pass


async def test_a_seat_is_waited_for() -> None:
    """Whoever finds no seat has the next that is left within the time, and is refused after it."""
    seats = Seats(SystemClock(), FILE_BYTES, wait_s=0.2)
    async with AsyncExitStack() as seated:
        for _ in range(AT_ONCE_OF_A_TEAM - 1):
            await seated.enter_async_context(seats.seat("one"))
        last = AsyncExitStack()
        await last.enter_async_context(seats.seat("one"))
        with pytest.raises(errors.Unavailable):
            async with seats.seat("one"):
                pass
        async with seats.seat("other"):
            pass
        waiting = asyncio.create_task(seated.enter_async_context(seats.seat("one")))
        await asyncio.sleep(0)
        await last.aclose()
        await asyncio.wait_for(waiting, 5.0)
