"""The callers of a run: they order, repeat, cancel and read over HTTP, and remember what they were told.

What they were told is what the gateway is held to in the end. An answer that they may not get (a 401 for a good key, a
500, another job for the same ``Idempotency-Key``, an ended job that changes) is a complaint.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.e2e.chaos.world import Team, World

ANSWER_WITHIN_S = 20.0
#: A caller with an ``Idempotency-Key`` asks again for so long; no fault of a round lasts longer.
PATIENCE_S = 60.0
PAUSE_S = 0.25
CANCELLED_SHARE = 0.08
#: So many want a webhook.
TOLD_SHARE = 0.5
MODELS = ("flux-2-max", "flux-2-max", "flux-2-klein-9b", "flux-2-flex", "flux-2-dev")
#: Statuses that ask a caller to come again.
_AGAIN = frozenset({409, 429, 503})


@dataclass
class Order:
    """One wish, known by its prompt, which no other has."""

    number: int
    prompt: str
    team: Team
    model: str
    body: dict[str, Any]
    key: str | None
    cancel: bool
    repeat: bool
    #: What the caller was told: the job, and that it was cancelled.
    job_id: str | None = None
    cancelled: bool = False
    #: An answer of the POST was lost, or said that the store was away: a job may exist that nobody was told of.
    doubtful: bool = False
    #: The last body that said it had ended.
    ended: Mapping[str, Any] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What its caller sends along."""
        return {**self.team.headers, **({"Idempotency-Key": self.key} if self.key else {})}


@dataclass
class Callers:
    """Everybody who orders in one run."""

    world: World
    chance: random.Random
    name: str
    orders: list[Order] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    #: How often each status, or each fault of the connection, was the answer to an order.
    answers: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    _client: httpx.AsyncClient = field(
        default_factory=lambda: httpx.AsyncClient(timeout=ANSWER_WITHIN_S, trust_env=False)
    )
    _under_way: set["asyncio.Task[None]"] = field(default_factory=set)

    async def close(self) -> None:
        """Hang up."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._client.aclose()

    def order(self, *, cancel: bool = False) -> Order:
        """Place an order, in its own time; one that is surely cancelled, or by chance."""
        draw = self.chance
        number = len(self.orders)
        prompt = f"chaos {self.name} {number}"
        keyed = draw.random() < 0.7
        body: dict[str, Any] = {"prompt": prompt, "resolution": "0.5 MP", "num_outputs": draw.choice((1, 1, 1, 2, 4))}
        if draw.random() < 0.5:
            body["seed"] = draw.randrange(2**31)
        if draw.random() < TOLD_SHARE:
            body["webhook_url"] = self.world.receiver.url()
        placed = Order(
            number=number,
            prompt=prompt,
            team=draw.choice(self.world.teams),
            model=draw.choice(MODELS),
            body=body,
            key=f"key {self.name} {number}" if keyed else None,
            cancel=draw.random() < CANCELLED_SHARE or cancel,
            repeat=keyed and draw.random() < 0.4,
        )
        self.orders.append(placed)
        self._begin(self._see_through(placed))
        return placed

    def read_on(self) -> None:
        """Read some accepted job again and again, until ``close``."""
        self._begin(self._read_on())

    async def settled(self) -> None:
        """Wait until every order was answered, or given up by its caller."""
        waiting = {task for task in self._under_way if task.get_name() == "order"}
        if waiting:
            await asyncio.wait(waiting, timeout=PATIENCE_S + 2 * ANSWER_WITHIN_S)

    def _begin(self, deed: Any) -> None:
        task = asyncio.create_task(deed, name="order" if deed.__name__ == "_see_through" else "reading")
        self._under_way.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self.complaints.append(f"a caller's own task broke: {fault!r}")

    async def _see_through(self, order: Order) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while order.job_id is None:
            await self._place(order)
            if order.job_id is None:
                if order.key is None or time.monotonic() > until_s:
                    return
                await asyncio.sleep(PAUSE_S)
        if order.cancel:
            await self._cancel(order)
        if order.repeat:
            await self._repeat(order)

    async def _place(self, order: Order) -> None:
        answer = await self._post(order)
        if answer is None:
            order.doubtful = True
        elif answer.status_code in (200, 202):
            order.job_id = str(answer.json()["jobId"])
        elif answer.status_code in _AGAIN:
            order.doubtful = order.doubtful or answer.status_code == 503
        else:
            self.complaints.append(f"order {order.number} was answered {answer.status_code}: {answer.text[:300]}")
            order.doubtful, order.key = True, None

    async def _repeat(self, order: Order) -> None:
        answer = await self._post(order)
        if answer is None or answer.status_code in _AGAIN:
            return
        if answer.status_code not in (200, 202) or answer.json()["jobId"] != order.job_id:
            said = f"{answer.status_code} {answer.text[:300]}"
            self.complaints.append(f"order {order.number}, repeated under its key, was answered {said}")

    async def _post(self, order: Order) -> httpx.Response | None:
        return await self._ask("POST", f"/api/v1/models/{order.model}/run", order.headers, order.body)

    async def _cancel(self, order: Order) -> None:
        answer = await self._ask("POST", f"/api/v1/jobs/{order.job_id}/cancel", order.team.headers)
        if answer is not None and answer.status_code not in (200, 409, 503):
            self.complaints.append(f"cancelling {order.job_id} was answered {answer.status_code}: {answer.text[:300]}")
        order.cancelled = answer is not None and answer.status_code == 200

    async def _read_on(self) -> None:
        while True:
            known = [order for order in self.orders if order.job_id is not None]
            if known:
                await self.read(self.chance.choice(known[-60:]))
            await asyncio.sleep(0.05)

    async def read(self, order: Order) -> None:
        """Read an accepted job: it is there, and what has ended stays as it was."""
        answer = await self._ask("GET", f"/api/v1/jobs/{order.job_id}", order.team.headers)
        if answer is None or answer.status_code == 503:
            await asyncio.sleep(PAUSE_S)
            return
        if answer.status_code != 200:
            self.complaints.append(f"reading {order.job_id} was answered {answer.status_code}: {answer.text[:300]}")
            return
        shown = answer.json()
        if order.ended is not None and not _same_end(order.ended, shown):
            self.complaints.append(f"{order.job_id} had ended as {order.ended['state']} and is now {shown['state']}")
        if shown["status"] in ("completed", "failed"):
            order.ended = shown

    async def _ask(
        self, method: str, path: str, headers: dict[str, str], body: dict[str, Any] | None = None
    ) -> httpx.Response | None:
        began_s = time.monotonic()
        said = "lost"
        try:
            answer = await self._client.request(
                method, self.chance.choice(self.world.addresses) + path, headers=headers, json=body
            )
            said = str(answer.status_code)
        except httpx.HTTPError:
            return None
        finally:
            self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
            self.answers[f"{method} {said}"] += 1
        return answer


def _same_end(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    # The one end that may be taken back, by evidence.
    if (before.get("error") or {}).get("code") == "submission_unknown":
        return True
    return bool(before["state"] == now["state"])
