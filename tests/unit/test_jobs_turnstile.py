"""The turnstile before the claims of one worker: one look at a time, and no look for who was answered already."""

import asyncio

import pytest

from gateway.jobs.turnstile import Turnstile


class Line:
    """Looks that wait until they are told what they find."""

    def __init__(self) -> None:
        self.looking = 0
        self.most = 0
        self.looks = 0
        self.finds: asyncio.Queue[str | None] = asyncio.Queue()

    async def look(self) -> str | None:
        """Look for as long as it takes to be told what there is."""
        self.looks += 1
        self.looking += 1
        self.most = max(self.most, self.looking)
        try:
            return await self.finds.get()
        finally:
            self.looking -= 1


async def _started(*tasks: asyncio.Task[str | None]) -> None:
    for _ in range(2 * len(tasks) + 2):
        await asyncio.sleep(0)


async def test_steps_look_one_after_the_other_while_there_is_work() -> None:
    """Each step that came finds a job of its own, and no two look at once."""
    line, turnstile = Line(), Turnstile()
    tasks = [asyncio.create_task(turnstile.through(line.look)) for _ in range(3)]
    for job in ("a", "b", "c"):
        line.finds.put_nowait(job)
    assert sorted(filter(None, await asyncio.gather(*tasks))) == ["a", "b", "c"]
    assert (line.most, line.looks) == (1, 3)


async def test_who_waited_through_a_look_in_vain_need_not_look() -> None:
    """A look that was begun after a step came, and found nothing, speaks for it."""
    line, turnstile = Line(), Turnstile()
    first = asyncio.create_task(turnstile.through(line.look))
    await _started(first)
    others = [asyncio.create_task(turnstile.through(line.look)) for _ in range(5)]
    await _started(*others)
    line.finds.put_nowait("a")
    line.finds.put_nowait(None)
    assert await first == "a"
    assert await asyncio.gather(*others) == [None] * 5
    assert line.looks == 2


async def test_who_may_take_what_others_may_not_looks_all_the_same() -> None:
    """A look in vain does not speak for a step that comes back with more in its hands than that look had."""
    line, turnstile = Line(), Turnstile()
    first = asyncio.create_task(turnstile.through(line.look))
    await _started(first)
    poor, rich = (asyncio.create_task(turnstile.through(line.look, regardless=each)) for each in (False, True))
    await _started(poor, rich)
    for found in ("a", None, "b"):
        line.finds.put_nowait(found)
    assert [await each for each in (first, poor, rich)] == ["a", None, "b"]
    assert line.looks == 3


async def test_a_look_under_way_does_not_speak_for_who_comes_later() -> None:
    """What a look that had begun before found says nothing of work that came since: the step looks itself."""
    line, turnstile = Line(), Turnstile()
    first = asyncio.create_task(turnstile.through(line.look))
    await _started(first)
    late = asyncio.create_task(turnstile.through(line.look))
    await _started(late)
    line.finds.put_nowait(None)
    line.finds.put_nowait("b")
    assert await first is None
    assert await late == "b"


async def test_a_look_that_breaks_off_lets_the_next_one_through() -> None:
    """An error of one look is its own, and says nothing of the work: the next looks."""
    line, turnstile = Line(), Turnstile()

    async def broken() -> str | None:
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        await turnstile.through(broken)
    line.finds.put_nowait("a")
    assert await turnstile.through(line.look) == "a"


async def test_a_step_that_is_cancelled_while_it_waits_holds_nobody_up() -> None:
    """Whoever leaves the line leaves no lock behind."""
    line, turnstile = Line(), Turnstile()
    first = asyncio.create_task(turnstile.through(line.look))
    await _started(first)
    leaving = asyncio.create_task(turnstile.through(line.look))
    await _started(leaving)
    leaving.cancel()
    line.finds.put_nowait("a")
    line.finds.put_nowait("b")
    assert await first == "a"
    assert await turnstile.through(line.look) == "b"
