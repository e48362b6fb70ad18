"""The plain tasks of a worker process: its heartbeat and its sweeps. Never arq crons: a full worker runs none.

Each round is on its own: one that fails is logged, and its next turn comes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from gateway import errors
from gateway.jobs import liveness, sweep
from gateway.jobs.parts import Shop

log = structlog.get_logger(__name__)


@dataclass
class Pulse:
    """When this worker last showed that it lives, by its own monotonic clock."""

    beaten_s: float
    beats: int = field(default=0)

    def fresh(self, now_s: float) -> bool:
        """Whether others still take this worker for alive."""
        return now_s - self.beaten_s < liveness.DEAD_AFTER_S


async def heartbeat(shop: Shop, release: str, pulse: Pulse) -> None:
    """Beat for ever. A worker that was taken for dead meanwhile enters the list again and goes on."""
    while True:
        try:
            if not await liveness.beat(shop.database, shop.worker_id, shop.clock):
                log.warning("struck_off", worker_id=shop.worker_id)
                await liveness.register(shop.database, shop.worker_id, release, shop.clock)
            pulse.beaten_s = shop.clock.monotonic()
            pulse.beats += 1
        except errors.StoreUnavailable:
            log.warning("heartbeat_missed")
        except Exception:
            log.exception("heartbeat_failed")
        await asyncio.sleep(liveness.BEAT_EVERY_S)


async def sweeps(shop: Shop) -> None:
    """Sweep for ever, each sweep after the other."""
    watch = liveness.Watch(shop.clock)
    named = {**sweep.ALL, "dead_workers": sweep.dead_workers(watch)}
    while True:
        for name, each in named.items():
            await _one(shop, name, each)
        await asyncio.sleep(sweep.EVERY_S)


async def _one(shop: Shop, name: str, each: Callable[[Shop], Awaitable[None]]) -> None:
    try:
        await each(shop)
    except errors.StoreUnavailable:
        log.warning("sweep_interrupted", sweep=name)
    except Exception:
        log.exception("sweep_failed", sweep=name)
    else:
        shop.metrics.sweep_last_success.labels(name).set(shop.clock.now().timestamp())
