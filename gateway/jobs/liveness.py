"""Which workers live: a row that each beats, and an observer that sees when one stops. Frees nothing by itself.

A worker is dead when its row has not changed for 8 s of the observer's own monotonic clock, so the clocks of hosts do
not matter. An observer must have watched that long itself before it calls anyone dead.
"""

import os
import socket
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.clock import Clock
from gateway.jobs.outcomes import Outcome
from gateway.storage import tables
from gateway.storage.database import Database

BEAT_EVERY_S = 2.0
DEAD_AFTER_S = 8.0

_worker = tables.workers
_job = tables.jobs
_attempt = tables.attempts


async def register(database: Database, worker_id: str, release: str, clock: Clock) -> None:
    """Enter a worker process; its id is new, so a process that comes back is another worker."""
    now = clock.now()
    async with database.write() as tx:
        await tx.execute(
            _worker.insert().values(
                id=worker_id,
                host=socket.gethostname()[:200],
                pid=os.getpid(),
                release=release,
                started_at=now,
                beat=0,
                beat_at=now,
            )
        )


async def beat(database: Database, worker_id: str, clock: Clock) -> bool:
    """Show that this worker lives; false when it was taken for dead and struck off."""
    async with database.write() as tx:
        struck = await tx.execute(
            _worker.update().where(_worker.c.id == worker_id).values(beat=_worker.c.beat + 1, beat_at=clock.now())
        )
        return struck.rowcount > 0


async def strike_off(tx: AsyncConnection, worker_id: str) -> None:
    """Take a worker out of the list: it left, or is dead and its work was freed."""
    await tx.execute(_worker.delete().where(_worker.c.id == worker_id))


@dataclass
class Watch:
    """One observer's memory: each worker's last beat, and when by this clock it was first seen."""

    clock: Clock
    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)

    async def dead(self, connection: AsyncConnection) -> list[str]:
        """The workers whose beat has stood still for too long."""
        now_s = self.clock.monotonic()
        beats = {row.id: row.beat for row in await connection.execute(sa.select(_worker.c.id, _worker.c.beat))}
        self._seen = {
            worker_id: self._seen[worker_id] if self._seen.get(worker_id, (None,))[0] == count else (count, now_s)
            for worker_id, count in beats.items()
        }
        still = [worker_id for worker_id, (_, since_s) in self._seen.items() if now_s - since_s >= DEAD_AFTER_S]
        return still + await _struck_off(connection)


async def _struck_off(connection: AsyncConnection) -> list[str]:
    """Workers that hold work and are not in the list: taken for dead, they went on, and then died."""
    listed = sa.select(_worker.c.id)
    holders = sa.union(
        sa.select(_job.c.claimed_by).where(_job.c.claimed_by.is_not(None), _job.c.claimed_by.not_in(listed)),
        sa.select(_attempt.c.worker_id).where(_attempt.c.outcome == Outcome.OPEN, _attempt.c.worker_id.not_in(listed)),
    )
    return list((await connection.execute(holders)).scalars())
