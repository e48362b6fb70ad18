"""Calls a job's `webhook_url` when the job has ended. Payload and retries are assumed: no page shows them (1.7)."""

import asyncio
import math
from collections.abc import Callable

import httpx

from emulator import clock, job, wire
from emulator.world import World

TIMEOUT_S = 10.0
AT_ONCE = 50

Body = Callable[[], dict[str, object]]


class Courier:
    """Sends each call in a task of its own; nothing is retried. Used as an async context manager."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(AT_ONCE)
        # No proxy of the environment, and no redirect: the call goes where the job says, or nowhere.
        self._client = httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_S)

    async def close(self) -> None:
        """Drop what was not sent yet and close the connections."""
        self.forget()
        await self._client.aclose()

    def forget(self) -> None:
        """Drop what was not sent yet."""
        for task in self._tasks:
            task.cancel()

    def expect(self, ordered: job.Job, body: Body) -> None:
        """Call once the job has ended, as often as the switch says."""
        now = self._world.board.now
        count = {"once": 1, "twice": 2}.get(now.webhooks, 0)
        if ordered.order.webhook_url is not None and math.isfinite(ordered.finished_at):
            for _ in range(count):
                self._start(ordered, body, ordered.finished_at + now.webhook_delay_s)

    def send(self, ended: job.Job, body: Body) -> None:
        """Call now."""
        self._start(ended, body, self._world.now())

    async def call(self, ordered: job.Job, body: Body) -> None:
        """Call now, and return when that is over."""
        await self._deliver(ordered, body, self._world.now())

    def _start(self, ordered: job.Job, body: Body, due_at: float) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(ordered, body, due_at))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, ordered: job.Job, body: Body, due_at: float) -> None:
        await asyncio.sleep(max(0.0, due_at - self._world.now()))
        tally = self._world.tally
        async with self._turn:
            said = body()
            content = wire.encode({"event": f"job.{said['status']}", **said})
            tally.webhooks_sent += 1
            entry: dict[str, object] = {"at": clock.milliseconds(self._world.now()), "status": None}
            ordered.webhooks.append(entry)
            try:
                answer = await self._client.post(
                    str(ordered.order.webhook_url), content=content, headers={"content-type": "application/json"}
                )
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                entry["error"] = type(error).__name__
            else:
                entry["status"] = answer.status_code
