"""How many files a process has in memory: as bytes while they come, as a seat once they are in. Holds no file.

A team has half of everything at most. Who sends slowly holds what has come of its file, and no seat.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

from gateway import errors
from gateway.clock import Clock

AT_ONCE: Final = 8
AT_ONCE_OF_A_TEAM: Final = 4
#: A seat is left within a moment as a rule, and a body that came is dear to send again.
WAIT_S: Final = 5.0
_LOOK_EVERY_S: Final = 0.05


@dataclass
class Share:
    """So many of something for all teams together, and for one of them."""

    most: int
    most_of_a_team: int
    _taken: Counter[str] = field(default_factory=Counter)

    def take(self, team_id: str, number: int = 1) -> bool:
        """Whether there were so many left; then they are taken."""
        total, of_team = self._taken.total() + number, self._taken[team_id] + number
        if total > self.most or of_team > self.most_of_a_team:
            return False
        self._taken[team_id] = of_team
        return True

    def leave(self, team_id: str, number: int = 1) -> None:
        """Give back what was taken."""
        self._taken -= Counter({team_id: number})  # which forgets who is at nothing


class Seats:
    """Those of one process."""

    def __init__(self, clock: Clock, file_bytes: int, wait_s: float = WAIT_S) -> None:
        """For files of at most so many bytes."""
        self._clock = clock
        self._wait_s = wait_s
        self._seats = Share(AT_ONCE, AT_ONCE_OF_A_TEAM)
        self._fetches = Share(AT_ONCE, AT_ONCE_OF_A_TEAM)
        self._bytes = Share(AT_ONCE * file_bytes, AT_ONCE_OF_A_TEAM * file_bytes)

    @contextmanager
    def body(self, team_id: str) -> Iterator[Callable[[int], None]]:
        """For as long as a body is in memory: what to tell each piece's bytes to; that may raise ``Unavailable``."""
        held = 0

        def came(number: int) -> None:
            nonlocal held
            if not self._bytes.take(team_id, number):
                raise _full()
            held += number

        try:
            yield came
        finally:
            self._bytes.leave(team_id, held)

    @contextmanager
    def fetch(self, team_id: str) -> Iterator[None]:
        """A place among those that fetch a URL, which may be slow; ``Unavailable`` when all are taken."""
        if not self._fetches.take(team_id):
            raise _full()
        try:
            yield
        finally:
            self._fetches.leave(team_id)

    @asynccontextmanager
    async def seat(self, team_id: str) -> AsyncIterator[None]:
        """A place among those whose files are decoded and kept; ``Unavailable`` when none became free in time."""
        until_s = self._clock.monotonic() + self._wait_s
        while not self._seats.take(team_id):
            if self._clock.monotonic() >= until_s:
                raise _full()
            await asyncio.sleep(_LOOK_EVERY_S)
        try:
            yield
        finally:
            self._seats.leave(team_id)


def _full() -> errors.Unavailable:
    return errors.Unavailable("Too many uploads are under way at once; send it again.", retry_after_s=1)
