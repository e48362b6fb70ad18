"""arq's worker with fewer words for Redis: what it takes in one look it takes in one question. Knows no step.

The keys and messages are arq's own, so that a worker of the release before can stand beside it. arq asks five times
for each message, and again, twenty times a second, for each that it is still working on. Tries are not counted and
results not kept, since the sweep and not arq brings work back.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

import structlog
from arq.constants import in_progress_key_prefix, job_key_prefix, retry_key_prefix
from arq.jobs import DeserializationError, deserialize_job_raw
from arq.utils import timestamp_ms
from arq.worker import Worker
from redis.exceptions import RedisError

from gateway.storage.lane import Lane, Script, Word

#: Each message that is due, that nobody works on, and that has not run out; for each id nothing or what it says.
_TAKE: Final = Script("""
local taken = {}
for i = 3, #ARGV do
    local id = ARGV[i]
    local due = tonumber(redis.call('ZSCORE', KEYS[1], id) or '')
    local at = 2 * (i - 3) + 2
    if due and due <= tonumber(ARGV[1]) and redis.call('SET', KEYS[at], '1', 'NX', 'PX', ARGV[2]) then
        taken[#taken + 1] = redis.call('GET', KEYS[at + 1]) or ''
    else
        taken[#taken + 1] = false
    end
end
return taken
""")
_END: Final = Script("""
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
return redis.call('ZREM', KEYS[1], ARGV[1])
""")
#: So many are asked for together; Redis does nothing else meanwhile.
_MOST_AT_ONCE: Final = 100

log = structlog.get_logger(__name__)


class Pickup(Worker):
    """An arq worker that shares one connection, ``lane``, between all its messages. Whoever makes it closes it."""

    def __init__(self, *arguments: Any, lane: Lane, **settings: Any) -> None:  # noqa: ANN401  as arq
        super().__init__(*arguments, **settings)
        self._lane = lane

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Begin what of these can be begun, as far as there is room. Raises ``RedisError`` or ``OSError``."""
        # What is under way stays in the queue until it ends.
        names = [name for each in job_ids if (name := each.decode()) not in self.tasks]
        names = names[: max(self.max_jobs - self.job_counter, 0)]
        for start in range(0, len(names), _MOST_AT_ONCE):
            some = names[start : start + _MOST_AT_ONCE]
            for name, message in zip(some, await self._take(some), strict=True):
                if message is not None:
                    self._begin(name, message)

    async def _take(self, names: Sequence[str]) -> list[bytes | None]:
        keys = [prefix + name for name in names for prefix in (in_progress_key_prefix, job_key_prefix)]
        given: list[Word] = [timestamp_ms(), int(self.in_progress_timeout_s * 1000), *names]
        # Once: what the first question took, the second would not be given.
        taken: list[bytes | None] = await self._lane.run(_TAKE, (self.queue_name, *keys), given, once=True)
        return taken

    def _begin(self, name: str, message: bytes) -> None:
        self.job_counter += 1
        task = self.loop.create_task(self._carry_out(name, message))
        self.tasks[name] = task
        task.add_done_callback(self._ended)

    def _ended(self, _task: asyncio.Task[None]) -> None:
        self.job_counter -= 1

    async def _carry_out(self, name: str, message: bytes) -> None:
        try:
            await self._do(name, message)
        except asyncio.CancelledError:
            # It stays in the queue, for whoever is there.
            with contextlib.suppress(RedisError, OSError):
                await asyncio.shield(self._lane.ask("DEL", in_progress_key_prefix + name, once=True))
            raise
        prefixes = (in_progress_key_prefix, job_key_prefix, retry_key_prefix)
        await self._lane.run(_END, (self.queue_name, *(prefix + name for prefix in prefixes)), (name,), once=True)

    async def _do(self, name: str, message: bytes) -> None:
        try:
            step, given, named, _, _ = deserialize_job_raw(message, deserializer=self.job_deserializer)
            function = self.functions[step]
        except (DeserializationError, KeyError):
            # Of a message that has run out only the id is left; another is of a release that knows more steps.
            log.warning("nudge_not_understood", nudge=name)
            self.jobs_failed += 1
            return
        try:
            async with asyncio.timeout(function.timeout_s):
                await function.coroutine(self.ctx, *given, **named)
            self.jobs_complete += 1
        except Exception:
            log.exception("task_failed", nudge=name)
            self.jobs_failed += 1
