"""What the front door does behind its callers' backs: a few small tasks, each at most once at a time.

None of them matters: one that fails or is not taken is wanted again by the next request.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Final

import structlog

from gateway import errors

AT_ONCE: Final = 32

log = structlog.get_logger(__name__)


class Errands:
    """The tasks of one process; to be closed before the stores are."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}

    def run(self, name: Hashable, deed: Callable[[], Awaitable[None]]) -> asyncio.Task[None] | None:
        """The task of that name, begun now unless it runs already; none when too many do."""
        task = self._tasks.get(name)
        if task is not None or len(self._tasks) >= AT_ONCE:
            return task
        task = asyncio.create_task(_quietly(deed))
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._tasks.pop(name, None))
        return task

    async def close(self) -> None:
        """Break off whatever runs."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _quietly(deed: Callable[[], Awaitable[None]]) -> None:
    try:
        await deed()
    except errors.ToriiError as error:
        log.warning("errand_not_done", reason=error.code)
