"""Waits for a condition, with a bound, so that no test sleeps for a guessed time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


class NotInTimeError(AssertionError):
    """What a test waited for did not come true within its bound."""

    def __init__(self, what: str, timeout_s: float, last: object) -> None:
        super().__init__(f"{what}: not within {timeout_s:g} s (the last look gave {last!r})")


@overload
async def until(condition: Callable[[], Awaitable[T]], *, timeout_s: float, what: str, every_s: float = ...) -> T: ...
@overload
async def until(condition: Callable[[], T], *, timeout_s: float, what: str, every_s: float = ...) -> T: ...
async def until(condition: Callable[[], Any], *, timeout_s: float, what: str, every_s: float = 0.02) -> Any:
    """Poll a plain or async callable until it is truthy, and return what it gave."""
    deadline = time.monotonic() + timeout_s
    last: object = "nothing yet"
    while time.monotonic() < deadline:
        answer = condition()
        if inspect.isawaitable(answer):
            try:
                async with asyncio.timeout(max(deadline - time.monotonic(), 0)) as bound:
                    answer = await answer
            except TimeoutError:
                if not bound.expired():
                    raise
                break
        if answer:
            return answer
        last = answer
        await asyncio.sleep(every_s)
    raise NotInTimeError(what, timeout_s, last)


def until_sync(condition: Callable[[], T], *, timeout_s: float, what: str, every_s: float = 0.02) -> T:
    """Poll a callable until it is truthy, and return what it gave; NotInTimeError after the bound."""
    deadline = time.monotonic() + timeout_s
    last: object = "nothing yet"
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        last = answer
        time.sleep(every_s)
    raise NotInTimeError(what, timeout_s, last)
