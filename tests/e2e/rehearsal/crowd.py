"""The callers of a rehearsal, behind a load balancer that asks each service whether it is ready. Judges each answer.

Unlike in a run of chaos nothing is broken here: a lost answer, a 500 or a 503 without ``Retry-After`` is a failure.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.e2e.chaos.orders import Callers

#: As often as a quick load balancer asks.
ASK_EVERY_S = 0.25
#: A request waits at most so long for a service that is ready.
_READY_WITHIN_S = 30.0
_FINE = frozenset({200, 202, 404, 409})


@dataclass
class Crowd(Callers):
    """Callers who only meet services that are ready."""

    #: Requests that failed, in words; there must be none.
    failures: list[str] = field(default_factory=list)
    retried: int = 0
    requests: int = 0
    _ready: tuple[str, ...] = ()

    async def balance(self) -> None:
        """Ask each service whether it is ready, until cancelled."""
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as asking:
            while True:
                self._ready = tuple([address for address in self.world.addresses if await _ready(asking, address)])
                await asyncio.sleep(ASK_EVERY_S)

    async def order_on(self, every_s: float) -> None:
        """Order one picture after the other, until cancelled."""
        while True:
            self.order()
            await asyncio.sleep(every_s)

    async def _ask(
        self, method: str, path: str, headers: dict[str, str], body: dict[str, Any] | None = None
    ) -> httpx.Response | None:
        address = await self._somewhere()
        self.requests += 1
        began_s = time.monotonic()
        said = "lost"
        try:
            answer = await self._client.request(method, address + path, headers=headers, json=body)
            said = str(answer.status_code)
        except httpx.HTTPError as fault:
            self.failures.append(f"{method} {path} at {address}: {fault!r} after {time.monotonic() - began_s:.1f} s")
            return None
        finally:
            self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
            self.answers[f"{method} {said}"] += 1
        if answer.status_code == 503 and answer.headers.get("Retry-After", "").isdigit():
            self.retried += 1
        elif answer.status_code not in _FINE:
            self.failures.append(f"{method} {path} at {address}: {answer.status_code} {answer.text[:200]}")
        return answer

    async def _somewhere(self) -> str:
        until_s = time.monotonic() + _READY_WITHIN_S
        while not self._ready:
            if time.monotonic() > until_s:
                raise TimeoutError("no service is ready")
            await asyncio.sleep(ASK_EVERY_S)
        return self.chance.choice(self._ready)


async def _ready(asking: httpx.AsyncClient, address: str) -> bool:
    try:
        return (await asking.get(f"{address}/health/ready")).status_code == 200
    except httpx.HTTPError:
        return False
