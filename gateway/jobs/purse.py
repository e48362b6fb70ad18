"""What callers may still spend, as one process remembers it: for answers that must not ask SQL. Guards no budget."""

import asyncio
from typing import Final

from gateway.clock import Clock
from gateway.jobs import lookup
from gateway.jobs.errands import Errands
from gateway.storage.database import Database

#: Older than this it is read again, behind the caller's back.
FRESH_S: Final = 5.0
#: Who asks for the first time waits for the reading, but not for a database that hangs.
FIRST_WITHIN_S: Final = 0.05
MOST: Final = 10_000


class Purse:
    """The last known sums, by team and key."""

    def __init__(self, database: Database, clock: Clock, errands: Errands) -> None:
        self._database = database
        self._clock = clock
        self._errands = errands
        self._sums: dict[tuple[str, str], tuple[float, int | None]] = {}

    def note(self, team_id: str, key_id: str, micros: int | None) -> None:
        """Remember what was just read."""
        self._sums.pop((team_id, key_id), None)
        while len(self._sums) >= MOST:
            del self._sums[next(iter(self._sums))]
        self._sums[team_id, key_id] = (self._clock.monotonic(), micros)

    async def remaining(self, team_id: str, key_id: str) -> int | None:
        """What was left a moment ago, in micro-credits; none where nothing limits it, or nobody knows."""
        who = (team_id, key_id)
        found = self._sums.get(who)
        if found is None or self._clock.monotonic() - found[0] > FRESH_S:
            task = self._errands.run(("purse", *who), lambda: self._read(team_id, key_id))
            if found is None and task is not None:
                await asyncio.wait({task}, timeout=FIRST_WITHIN_S)
                found = self._sums.get(who)
        return None if found is None else found[1]

    async def _read(self, team_id: str, key_id: str) -> None:
        async with self._database.read() as connection:
            micros = await lookup.remaining_micros(connection, team_id, key_id, self._clock.now())
        self.note(team_id, key_id, micros)
