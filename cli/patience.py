"""Trying again: as often as a bound in seconds allows, after as long as the gateway asks. Knows no request.

What raises ``Again`` is tried again, everything else is not.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import stamina
from stamina import instrumentation

from cli.failures import Again, Failure

T = TypeVar("T")

#: Without a word from the gateway: the first pause and the longest, in seconds.
_FIRST_S = 0.5
_LONGEST_S = 8.0


async def patient(call: Callable[[], Awaitable[T]], *, within_s: float, told: Callable[[Failure, float], None]) -> T:
    """What the call gives in the end, or the ``Failure`` of its last try.

    ``told`` hears of each long pause, with its seconds, before it is made.
    """
    # Its own way to tell of a retry is a log line, and a command has no log.
    instrumentation.set_on_retry_hooks([])

    def pause(error: Exception) -> bool | float:
        if not isinstance(error, Again):
            return False
        if error.wait_s is None:
            return True
        told(error.failure, error.wait_s)
        return error.wait_s

    try:
        async for attempt in stamina.retry_context(
            on=pause, attempts=None, timeout=within_s, wait_initial=_FIRST_S, wait_max=_LONGEST_S
        ):
            with attempt:
                return await call()
    except Again as last:
        raise last.failure from last
    raise AssertionError("a retry without an end")
