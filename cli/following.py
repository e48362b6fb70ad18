"""Following one job to its end: by its events, and by asking again where there are none. Shows nothing."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Final

from cli import patience
from cli.failures import Again, Failure
from cli.frontdoor import Body, Door, NoEvents

UNFINISHED: Final = frozenset({"pending", "processing"})
#: A gateway that restarts is back within this; the job does not mind.
_AWAY_S: Final = 90.0
_LOOK_AGAIN_S: Final = 2.0
#: Between the end of a stream and the next look.
_BREATH_S: Final = 0.3
#: So many streams without a single event, and it is not worth listening.
_DEAF: Final = 3


class Late(Exception):
    """The time is over, and the job has not ended."""


def done(body: Body) -> bool:
    """Whether the caller has been told how it ends."""
    return body["status"] not in UNFINISHED


async def follow(
    door: Door, first: Body, deadline_s: float, told: Callable[[Failure, float], None]
) -> AsyncGenerator[Body]:
    """The job at each change, ``first`` included, until it has ended; ``deadline_s`` is on the monotonic clock.

    Raises ``Late`` when the time is over, and ``Failure`` when the gateway stays away or does not know the job.
    """
    body, last, silent = first, None, 0
    yield body
    while not done(body):
        silent += 1
        if silent <= _DEAF:
            try:
                async with aclosing(door.events(body["jobId"], last)) as events:
                    while (event := await _next(events, deadline_s)) is not None:
                        last, silent = event[0], 0
                        if _moved(body, event[1]):
                            yield event[1]
                        body = event[1]
            except NoEvents:
                silent = _DEAF
            except Again:
                pass  # the look below tells whether the gateway is there
            if done(body):
                return
        answer = await patience.patient(
            lambda: door.job(first["jobId"]), within_s=min(_AWAY_S, _left_s(deadline_s)), told=told
        )
        if _moved(body, answer.body):
            yield answer.body
        body = answer.body
        if not done(body):
            pause_s = _BREATH_S if silent < _DEAF else answer.retry_after_s or _LOOK_AGAIN_S
            await asyncio.sleep(min(pause_s, _left_s(deadline_s)))


async def _next(events: AsyncIterator[tuple[str, Body]], deadline_s: float) -> tuple[str, Body] | None:
    """The next event, or none when the stream has ended; raises when the time is over."""
    try:
        async with asyncio.timeout(_left_s(deadline_s)):
            return await anext(events, None)
    except TimeoutError:
        raise Late from None


def _moved(before: Body, now: Body) -> bool:
    return bool(now["state"] != before["state"] or now["status"] != before["status"])


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise Late
    return left_s
