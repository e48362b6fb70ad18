"""One look for many: of identical requests in one process the first finds out what there is, and the others wait.

So a crowd that asks for one picture costs one question to SQL and one of the pace. Holds no lock on anything: who
waited goes its own way afterwards, whatever became of the first. And since those who then join wait for one row's lock
anyway, only a few of them do so at once, or they would keep every connection from everyone else.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from gateway.reuse.places import Place

#: One has the lock, and the next ones come ready to take it.
JOIN_AT_ONCE: Final = 3


class Scouts:
    """Who is looking at this moment, by place."""

    def __init__(self) -> None:
        self._ahead: dict[Place, asyncio.Event] = {}
        self._lines: dict[Place, tuple[asyncio.Semaphore, set[object]]] = {}

    @asynccontextmanager
    async def turn(self, place: Place) -> AsyncIterator[bool]:
        """True for the first, at once, and until its block ends; false for the others, once it has."""
        ahead = self._ahead.get(place)
        if ahead is not None:
            await ahead.wait()
            yield False
            return
        back = self._ahead[place] = asyncio.Event()
        try:
            yield True
        finally:
            del self._ahead[place]
            back.set()

    @asynccontextmanager
    async def few(self, place: Place) -> AsyncIterator[None]:
        """Stand in line with all who would join the same flight."""
        semaphore, line = self._lines.setdefault(place, (asyncio.Semaphore(JOIN_AT_ONCE), set()))
        me = object()
        line.add(me)
        try:
            async with semaphore:
                yield
        finally:
            line.discard(me)
            if not line:
                del self._lines[place]
