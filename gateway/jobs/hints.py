"""Acting on the upstream's calls: a running job is looked at; a job that was named is read before it is believed.

A job that was named is ours if the upstream has it, if nothing that it shows of model and time speaks against it, and
if no other attempt has it: the token by which it was named is known to the upstream alone.
"""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import discovery, hooks, pace
from gateway.jobs.outcomes import SETTLED_AFTER, Evidence, Outcome
from gateway.jobs.parts import Shop
from gateway.jobs.states import State
from gateway.storage import tables
from gateway.upstream import answers, pacer
from gateway.upstream.joblist import Listed, Sighting

#: A job that was named and cannot be read yet is asked for again after this long, and more rarely once it is older.
AGAIN = timedelta(seconds=5)
_AGAIN_SHARE = 0.1
#: Nobody else verifies it meanwhile.
_LEASE = timedelta(seconds=20)
#: By how much the upstream's clock may differ: the time that a single job shows only speaks against a stranger's.
_SKEW = timedelta(minutes=2)
_AT_ONCE = 100

_job = tables.jobs
_attempt = tables.attempts
_IN_DOUBT = frozenset({Outcome.UNKNOWN, Outcome.SETTLED_CHARGED, Outcome.SETTLED_FREE})

log = structlog.get_logger(__name__)


def _waiting(now: datetime) -> sa.ColumnElement[bool]:
    # Of an attempt without its answer nothing is known yet that a hint could be compared with.
    return sa.and_(_attempt.c.hint_due_at <= now, _attempt.c.outcome != Outcome.OPEN)


async def due(connection: AsyncConnection, now: datetime) -> bool:
    """Whether a hint waits to be acted on."""
    return (await connection.execute(sa.select(_attempt.c.job_id).where(_waiting(now)).limit(1))).first() is not None


async def verify(shop: Shop) -> None:
    """Act on every hint that is due."""
    now = shop.clock.now()
    async with shop.database.read() as connection:
        rows = await connection.execute(
            sa.select(_attempt, _job.c.state, _job.c.claim.label("job_claim"), _job.c.model)
            .join_from(_attempt, _job, _job.c.id == _attempt.c.job_id)
            .where(_waiting(now))
            .order_by(_attempt.c.hint_due_at)
            .limit(_AT_ONCE)
        )
        waiting = rows.all()
    for row in waiting:
        if row.outcome in _IN_DOUBT and row.hinted_upstream_job_id is not None:
            await _verify(shop, row, now)
        elif row.outcome == Outcome.ACCEPTED and row.state == State.RUNNING:
            # One that is being looked at right now is tried again at the next turn.
            await hooks.look(shop.database, shop.queue, row.job_id, row.number, now)
        else:
            await _write(shop, row, hint_due_at=None)


async def _verify(shop: Shop, row: sa.Row[Any], now: datetime) -> None:
    if not await _write(shop, row, hint_due_at=now + _LEASE):
        return
    if await pace.take(shop, pacer.POLL_RESERVE):
        await _again(shop, row, now + timedelta(seconds=1))
        return
    seen = await shop.upstream.sight(row.hinted_upstream_job_id)
    if isinstance(seen, Listed) and _fits(row, seen):
        found = await discovery.discover(shop, row.job_id, row.number, seen, Evidence.WEBHOOK)
        log.info("hint_verified", job_id=row.job_id, attempt=row.number, found=found)
        await _done(shop, row)
    elif isinstance(seen, Listed) or _hopeless(seen, row, now):
        log.warning("hint_not_believed", job_id=row.job_id, attempt=row.number)
        await _done(shop, row, hinted_upstream_job_id=None)
    else:
        await _again(shop, row, now + max(AGAIN, (now - row.opened_at) * _AGAIN_SHARE))


def _fits(row: sa.Row[Any], seen: Listed) -> bool:
    if seen.model is not None and seen.model != row.model:
        return False
    return seen.created_at is None or row.opened_at - _SKEW <= seen.created_at <= row.quiet_at + _SKEW


def _hopeless(seen: Sighting, row: sa.Row[Any], now: datetime) -> bool:
    """Whether asking again is of no use: there is no such job, or none that can be read, and there was time enough."""
    if isinstance(seen, answers.Missing):
        return bool(now >= row.quiet_at)
    return bool(now >= row.opened_at + SETTLED_AFTER)


async def _write(shop: Shop, row: sa.Row[Any], **values: object) -> bool:
    """Write into the attempt, unless another worker has taken the hint up since it was read."""
    async with shop.database.write() as tx:
        written = await tx.execute(
            _attempt.update()
            .where(
                _attempt.c.job_id == row.job_id,
                _attempt.c.number == row.number,
                _attempt.c.hint_due_at == row.hint_due_at,
            )
            .values(**values)
        )
        return written.rowcount > 0


async def _again(shop: Shop, row: sa.Row[Any], at: datetime) -> None:
    await _done(shop, row, hint_due_at=at)


async def _done(shop: Shop, row: sa.Row[Any], **values: object) -> None:
    async with shop.database.write() as tx:
        await tx.execute(
            _attempt.update()
            .where(_attempt.c.job_id == row.job_id, _attempt.c.number == row.number)
            .values(**{"hint_due_at": None, **values})
        )
