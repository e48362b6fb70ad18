"""The sweeps of webhooks: what was not nudged, claims of the dead, doubts to be told, and what is kept too long.

They look at SQL only, as the other sweeps do, and each is safe to run twice at once.
"""

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import announce, delivery, record
from gateway.jobs.parts import Shop
from gateway.jobs.states import State
from gateway.storage import outbox, tables
from gateway.webhooks import team_secrets

#: The log of a delivery is kept this long after its end.
KEPT: Final = timedelta(days=30)
#: A line of messages is worked off by several steps, but not nudged in one go.
NUDGES_AT_ONCE: Final = 10
_AT_ONCE: Final = 500

_delivery = outbox.deliveries
_job = tables.jobs
_team = tables.teams

log = structlog.get_logger(__name__)


async def deliveries(shop: Shop) -> None:
    """Write the events that time alone makes true, free old claims, and nudge what is due."""
    now = shop.clock.now()
    await _tell_doubts(shop, now)
    await _free_old_claims(shop, now)
    async with shop.database.read() as connection:
        ready = await delivery.due_teams(connection, now)
    # One team's line too is taken by several hands.
    for _ in range(min(len(ready) * delivery.TEAM_AT_ONCE, NUDGES_AT_ONCE)):
        await shop.queue.deliver()


async def _tell_doubts(shop: Shop, now: datetime) -> None:
    """Tell the callers of unknown submissions what ``GET`` tells them after ``TORII_UNKNOWN_WAIT_S``: once."""
    told = sa.select(_delivery.c.id).where(_delivery.c.job_id == _job.c.id, _delivery.c.version == _job.c.version)
    doubtful = (
        sa.select(_job)
        .join(_team, _team.c.id == _job.c.team_id)
        .where(
            _job.c.state == State.SUBMISSION_UNKNOWN,
            _job.c.submitted_at <= now - timedelta(seconds=shop.unknown_wait_s),
            sa.or_(
                _job.c.webhook_url.is_not(None), sa.and_(_team.c.webhook_url.is_not(None), _job.c.batch_id.is_(None))
            ),
            ~told.exists(),
        )
        .limit(_AT_ONCE)
    )
    async with shop.database.read() as connection:
        found = [record.job(row) for row in await connection.execute(doubtful)]
    for job in found:
        async with shop.database.write() as tx:
            same = sa.select(_job.c.version).where(_job.c.id == job.id).with_for_update()
            if (await tx.execute(same)).scalar_one() == job.version:
                await announce.doubted(tx, job, now)


async def _free_old_claims(shop: Shop, now: datetime) -> None:
    old = (_delivery.c.claimed_by > "", _delivery.c.claimed_at < now - delivery.LEASE)
    async with shop.database.read() as connection:
        if (await connection.execute(sa.select(_delivery.c.id).where(*old).limit(1))).first() is None:
            return
    log.warning("webhook_claims_forgotten")
    async with shop.database.write() as tx:
        await tx.execute(_delivery.update().where(*old).values(claim=None, claimed_by=None, claimed_at=None))


async def free(tx: AsyncConnection, worker_id: str) -> None:
    """Take a dead worker's messages back, so that they are sent again; their receivers know them by their ids."""
    await tx.execute(
        _delivery.update()
        .where(_delivery.c.claimed_by == worker_id)
        .values(claim=None, claimed_by=None, claimed_at=None)
    )


async def old_deliveries(shop: Shop) -> None:
    """Forget deliveries that ended long ago and secrets that sign no more; seal the others under the current key."""
    now = shop.clock.now()
    over = sa.select(_delivery.c.id).where(_delivery.c.ended_at <= now - KEPT)
    async with shop.database.read() as connection:
        old = (await connection.execute(over.limit(1))).first() is not None
        expired = await team_secrets.expired(connection, now)
    if old or expired:
        async with shop.database.write() as tx:
            await tx.execute(_delivery.delete().where(_delivery.c.id.in_(over.limit(_AT_ONCE))))
            await team_secrets.forget_expired(tx, now)
    moved = await team_secrets.seal_anew(shop.database, shop.courier.seals, _AT_ONCE)
    if moved:
        log.info("webhook_secrets_sealed_anew", secrets=moved)
