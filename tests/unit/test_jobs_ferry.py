"""Crossings: what gathers goes together, and no end depends on another's."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway import errors
from gateway.jobs.ferry import Ferry


class Boat:
    """What carries numbers over: even ones arrive, odd ones are refused; held back until it may leave."""

    def __init__(self) -> None:
        self.crossed: list[list[int]] = []
        self.left = asyncio.Event()
        self.may_leave = asyncio.Event()
        self.left_behind_after = 100
        self.fault: Exception | None = None
        self.faults: list[Exception] = []
        self.refuses_together = False

    async def cross(self, loads: Sequence[int]) -> Sequence[str | Exception | None]:
        """Carry some."""
        self.crossed.append(list(loads))
        self.left.set()
        await self.may_leave.wait()
        if self.fault is not None:
            raise self.fault
        if self.faults:
            raise self.faults.pop()
        if self.refuses_together and len(loads) > 1:
            raise LookupError("as a whole")
        over = loads[: self.left_behind_after]
        ends: list[str | Exception | None] = [KeyError(load) if load % 2 else f"job {load}" for load in over]
        return ends + [None] * (len(loads) - len(over))


async def told(ferry: Ferry, boat: Boat, loads: Sequence[int], way: str = "here") -> list[str | BaseException]:
    """The end of each, after the boat was let go."""
    waiting = [asyncio.create_task(ferry.carry(way, load, boat.cross)) for load in loads]
    await boat.left.wait()
    boat.may_leave.set()
    async with asyncio.timeout(5):
        return await asyncio.gather(*waiting, return_exceptions=True)


def spelled(ends: Sequence[str | BaseException]) -> list[str]:
    """Ends as text."""
    return [end if isinstance(end, str) else type(end).__name__ for end in ends]


async def test_what_comes_meanwhile_gathers_for_the_next_crossing() -> None:
    """While one crossing is under way others gather, at most so many; each gets its own end."""
    ferry, boat = Ferry(at_once=3), Boat()
    first = asyncio.create_task(ferry.carry("here", 0, boat.cross))
    await boat.left.wait()
    ends = await told(ferry, boat, [2, 3, 4, 6])
    assert await first == "job 0"
    assert spelled(ends) == ["job 2", "KeyError", "job 4", "job 6"]
    assert boat.crossed == [[0], [2, 3, 4], [6]]


async def test_ways_do_not_wait_for_each_other() -> None:
    """What is carried elsewhere does not stand in line behind a crossing here."""
    ferry, slow, quick = Ferry(), Boat(), Boat()
    here = asyncio.create_task(ferry.carry("here", 2, slow.cross))
    assert spelled(await told(ferry, quick, [4], "there")) == ["job 4"]
    assert not here.done()
    slow.may_leave.set()
    assert await here == "job 2"


async def test_who_is_left_behind_goes_with_the_next() -> None:
    """What a crossing leaves behind is carried again, in the order it came in."""
    ferry, boat = Ferry(), Boat()
    boat.left_behind_after = 2
    assert spelled(await told(ferry, boat, [0, 2, 4, 6, 8])) == ["job 0", "job 2", "job 4", "job 6", "job 8"]
    assert boat.crossed == [[0, 2, 4, 6, 8], [4, 6, 8], [8]]


async def test_a_crossing_that_is_refused_as_a_whole_goes_one_by_one() -> None:
    """Nobody is refused for what another asked."""
    ferry, boat = Ferry(), Boat()
    boat.refuses_together = True
    assert spelled(await told(ferry, boat, [0, 1, 2])) == ["job 0", "KeyError", "job 2"]
    assert boat.crossed == [[0, 1, 2], [0], [1], [2]]


async def test_a_store_that_goes_on_failing_is_told_to_all_who_wait_and_tried_anew_by_the_next() -> None:
    """Nobody waits for a store that is away once for each crossing before its own; whoever comes later tries again."""
    ferry, boat = Ferry(at_once=2), Boat()
    boat.fault = errors.StoreUnavailable()
    ends = await told(ferry, boat, [0, 2, 4, 6, 8])
    assert spelled(ends) == ["StoreUnavailable"] * 5
    assert len({id(end) for end in ends}) == 5
    assert boat.crossed == [[0, 2], [4, 6]]
    boat.fault = None
    assert spelled(await told(ferry, boat, [2])) == ["job 2"]


async def test_a_store_that_fails_once_is_told_to_those_it_failed() -> None:
    """One lost connection costs one crossing; those who waited for the next one come over."""
    ferry, boat = Ferry(at_once=2), Boat()
    boat.faults = [errors.StoreUnavailable()]
    ends = await told(ferry, boat, [0, 2, 4, 6])
    assert spelled(ends) == ["StoreUnavailable", "StoreUnavailable", "job 4", "job 6"]


async def test_a_fault_of_ours_is_raised_to_whom_it_is_about() -> None:
    """An error that nobody expected reaches its caller as it is."""
    ferry, boat = Ferry(), Boat()
    boat.fault = ZeroDivisionError()
    assert spelled(await told(ferry, boat, [2])) == ["ZeroDivisionError"]


async def test_who_leaves_the_line_is_not_carried() -> None:
    """A caller that is gone before its crossing begins is not in it; one that is gone later changes nothing."""
    ferry, boat = Ferry(), Boat()
    first = asyncio.create_task(ferry.carry("here", 0, boat.cross))
    await boat.left.wait()
    gone = asyncio.create_task(ferry.carry("here", 2, boat.cross))
    stays = asyncio.create_task(ferry.carry("here", 4, boat.cross))
    await asyncio.sleep(0)
    gone.cancel()
    first.cancel()
    await asyncio.gather(gone, first, return_exceptions=True)
    boat.may_leave.set()
    assert await stays == "job 4"
    assert boat.crossed == [[0], [4]]


async def test_the_end_lets_those_who_wait_come_over() -> None:
    """Closing waits for what is under way, and then nobody waits any more."""
    ferry, boat = Ferry(), Boat()
    waiting = asyncio.create_task(ferry.carry("here", 2, boat.cross))
    await boat.left.wait()
    asyncio.get_running_loop().call_soon(boat.may_leave.set)
    async with asyncio.timeout(5):
        await ferry.close()
    assert await waiting == "job 2"


async def test_a_process_that_is_cut_off_tells_that_nobody_knows() -> None:
    """When its task is ended in the middle, who waits gets a ``StoreUnavailable``, not silence."""
    ferry, boat = Ferry(), Boat()
    waiting = asyncio.create_task(ferry.carry("here", 2, boat.cross))
    await boat.left.wait()
    (task,) = [each for each in asyncio.all_tasks() if "_serve" in repr(each)]
    task.cancel()
    with pytest.raises(errors.StoreUnavailable):
        await waiting
