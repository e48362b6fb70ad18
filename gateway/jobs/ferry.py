"""What comes in one moment goes over together: one crossing after the other on each way. Knows not what it carries.

While one crossing is under way those that come meanwhile gather for the next, so that a crowd costs a few transactions
and not one each. Whoever comes alone goes at once.

No end depends on another's. What a crossing leaves behind goes with the next one; when a crossing is refused as a
whole, each of it goes by itself. A store that fails once is told to those it failed; one that fails again, or fails
slowly, to all who wait: they would only learn the same later.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

import structlog

from gateway import errors

#: A transaction must not last, and whoever waits for its locks waits for it.
AT_ONCE: Final = 64
#: The last crossings may take so long when the process ends.
LAST_WITHIN_S: Final = 5.0
#: A store that takes longer to fail is not tried again by those who wait.
FAILS_WITHIN_S: Final = 1.0

_Load = TypeVar("_Load")
_End = TypeVar("_End")

#: Carries some over, at least the first of them: an end for each, or its refusal, or none for one that is left behind.
#: What it raises undoes all of it; after a ``StoreUnavailable`` nobody knows.
Cross: TypeAlias = Callable[[Sequence[_Load]], Awaitable[Sequence[_End | Exception | None]]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Fare:
    """One at the landing, and who waits for its end."""

    load: Any
    end: asyncio.Future[Any]


@dataclass(slots=True)
class _Landing:
    """Who waits for the next crossing of one way."""

    cross: Cross[Any, Any]
    task: asyncio.Task[None] | None = None
    waiting: deque[_Fare] = field(default_factory=deque)


class Ferry:
    """The crossings of one process; to be closed before the stores are."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._landings: dict[Hashable, _Landing] = {}

    async def carry(self, way: Hashable, load: _Load, cross: Cross[_Load, _End]) -> _End:
        """What it came to on the other side; raises its refusal, or ``StoreUnavailable``.

        All of one way are carried by the same hands. Whoever is cancelled while waiting leaves the line; what has left
        with it goes on.
        """
        landing = self._landings.get(way)
        if landing is None:
            landing = self._landings[way] = _Landing(cross)
            # It belongs to no request: what it logs is about all who cross.
            landing.task = asyncio.create_task(self._serve(way, landing), context=Context())
        fare = _Fare(load, asyncio.get_running_loop().create_future())
        landing.waiting.append(fare)
        end: _End = await fare.end
        return end

    async def close(self) -> None:
        """Let those who wait come over, but not for long."""
        tasks = [landing.task for landing in self._landings.values() if landing.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=LAST_WITHIN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _serve(self, way: Hashable, landing: _Landing) -> None:
        aboard: list[_Fare] = []
        cause: BaseException | None = None
        hopeful = True
        try:
            while landing.waiting:
                aboard = self._boarded(landing)
                since_s = time.monotonic()
                try:
                    left = await _over(landing.cross, aboard)
                    landing.waiting.extendleft(reversed(left))
                    hopeful = True
                except errors.StoreUnavailable as error:
                    if not hopeful or time.monotonic() - since_s > FAILS_WITHIN_S:
                        raise
                    # One connection may have been lost, and the next crossing has another.
                    hopeful = False
                    _unknown(aboard, error.__cause__)
        except errors.StoreUnavailable as error:
            cause = error.__cause__
        finally:
            # Nothing is awaited between the last look at the line and this: whoever comes now finds a new landing.
            del self._landings[way]
            _unknown((*aboard, *landing.waiting), cause)

    def _boarded(self, landing: _Landing) -> list[_Fare]:
        """Those of the line who still wait, as many as go at once."""
        aboard: list[_Fare] = []
        while landing.waiting and len(aboard) < self._at_once:
            fare = landing.waiting.popleft()
            if not fare.end.done():
                aboard.append(fare)
        return aboard


def _unknown(fares: Iterable[_Fare], cause: BaseException | None) -> None:
    """Tell each that nobody knows, by an error of its own: one that is raised in many places would gather traces."""
    for fare in fares:
        refusal = errors.StoreUnavailable()
        refusal.__cause__ = cause
        _end(fare, refusal)


async def _over(cross: Cross[Any, Any], aboard: Sequence[_Fare]) -> Sequence[_Fare]:
    """Carry them; those that are left behind. Raises ``StoreUnavailable``, when those without an end know nothing."""
    if not aboard:
        return ()
    try:
        ends = await cross([fare.load for fare in aboard])
    except errors.StoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001  whatever refused them is told to whom it is about
        if len(aboard) == 1:
            _end(aboard[0], error)
            return ()
        log.info("crossing_one_by_one", orders=len(aboard))
        for fare in aboard:
            await _over(cross, [fare])
        return ()
    for fare, end in zip(aboard, ends, strict=True):
        if end is not None:
            _end(fare, end)
    return [fare for fare, end in zip(aboard, ends, strict=True) if end is None]


def _end(fare: _Fare, end: object) -> None:
    if fare.end.done():
        return
    if isinstance(end, Exception):
        fare.end.set_exception(end)
    else:
        fare.end.set_result(end)
