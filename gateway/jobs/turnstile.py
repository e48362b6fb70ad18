"""One worker's steps of a kind, let through to their claim one at a time. Claims nothing; the only lock is in SQL.

Steps that look for work at the same moment see the same work, wait for each other in the database, and hold a
connection each meanwhile, until none is left for the steps that carry something home. Here they wait without one. Who
waited while another looked in vain need not look: a look that was begun after a nudge answers that nudge.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

Found = TypeVar("Found")


@dataclass
class Turnstile:
    """The way to the claims of one kind of step."""

    _gate: asyncio.Lock = field(default_factory=asyncio.Lock)
    _begun: int = 0
    _in_vain: int = 0

    async def through(self, look: Callable[[], Awaitable[Found | None]], *, regardless: bool = False) -> Found | None:
        """What ``look`` finds when its turn comes; none, and no look, when one begun since we came found nothing.

        ``regardless`` of what others find looks who may take what they may not, such as with the budget in hand.
        """
        before = self._begun
        async with self._gate:
            if self._in_vain > before and not regardless:
                return None
            self._begun += 1
            number = self._begun
            found = await look()
            if found is None:
                self._in_vain = number
            return found


@dataclass(frozen=True)
class Turnstiles:
    """Those of one worker process."""

    submit: Turnstile = field(default_factory=Turnstile)
    poll: Turnstile = field(default_factory=Turnstile)
    archive: Turnstile = field(default_factory=Turnstile)
