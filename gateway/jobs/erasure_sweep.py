"""The sweeps of what is not kept: objects that are to go from the archive, and what is over its team's time.

Each is safe to run twice at once, and asks one thing while there is nothing to do. An archive that is away, or hangs,
holds the other sweeps up for a moment only: what was to be deleted is tried again a minute later, until it is done.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa
import structlog

from gateway import errors
from gateway.archive import keys
from gateway.images import picture
from gateway.jobs import erasing, record, retention, snapshots
from gateway.jobs.erasing import AGAIN_AFTER
from gateway.jobs.parts import Shop
from gateway.jobs.record import Job
from gateway.reuse.entries import Purged
from gateway.storage import erasure_tables, tables
from gateway.storage.erasure_tables import Cause, Kind

#: One sweep takes so many objects or jobs, for so long.
AT_ONCE: Final = 100
WITHIN_S: Final = 2.0
JOBS_AT_ONCE: Final = 50
#: What was taken and is not known to be done is taken again after this.
TRY_AGAIN: Final = timedelta(minutes=1)
_HANDS: Final = 8

_erasure = erasure_tables.erasures
_image = tables.images
_job = tables.jobs

log = structlog.get_logger(__name__)


@dataclass
class _Round:
    """One portion, while it is worked off."""

    done: list[sa.Row[Any]] = field(default_factory=list)
    #: The archive failed once: the rest would only fail, too.
    failed: bool = False


async def erasures(shop: Shop) -> None:
    """Delete what shall not be in the archive any more, the first that was erased first."""
    taken = await _take(shop)
    if not taken:
        return
    worked, hands = _Round(), asyncio.Semaphore(_HANDS)

    async def one(row: sa.Row[Any]) -> None:
        async with hands:
            if not worked.failed:
                await _delete(shop, row, worked)

    try:
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*(one(row) for row in taken))
    except TimeoutError:
        worked.failed = True
    await _write(shop, worked.done)
    if worked.failed:
        log.warning("erasures_put_off", done=len(worked.done), left=len(taken) - len(worked.done))


async def _take(shop: Shop) -> list[sa.Row[Any]]:
    """A portion of what is due; whoever takes it has a minute, then somebody else may."""
    now = shop.clock.now()
    due = sa.select(_erasure.c.id).where(_erasure.c.due_at <= now)
    async with shop.database.read() as connection:
        if (await connection.execute(due.limit(1))).first() is None:
            return []
    chosen = due.order_by(_erasure.c.due_at).limit(AT_ONCE).with_for_update(skip_locked=True)
    async with shop.database.write() as tx:
        rows = await tx.execute(
            _erasure.update()
            .where(_erasure.c.id.in_(chosen))
            .values(due_at=now + TRY_AGAIN, tries=_erasure.c.tries + 1)
            .returning(_erasure)
        )
        return list(rows.all())


async def _delete(shop: Shop, row: sa.Row[Any], worked: _Round) -> None:
    """Delete one object and what lies beside it; a picture that another job shows stays, for that one's erasure."""
    keys_of_row = _objects(row)
    if row.kind != Kind.SIDECAR:
        # No new row can come to name it: rows are copied from rows, and the last one was locked when it was deleted.
        named = sa.select(_image.c.id).where(_image.c.object_key.in_(keys_of_row)).limit(1)
        async with shop.database.read() as connection:
            shown = (await connection.execute(named)).first() is not None
        if shown and row.kind == Kind.PICTURE:
            worked.done.append(row)
            return
        if shown:
            # Only what lies beside it: it tells the prompt.
            keys_of_row = [row.object_key]
    try:
        for key in keys_of_row:
            await shop.bucket.delete(key)
    except errors.ArchiveUnavailable as error:
        worked.failed = True
        log.warning("object_not_erased", job_id=row.job_id, tries=row.tries, reason=error.message)
        return
    if row.kind == Kind.PICTURE and row.done_at is None:
        shop.metrics.images_erased.labels(row.cause).inc()
    worked.done.append(row)


def _objects(row: sa.Row[Any]) -> list[str]:
    key: str = row.object_key
    match row.kind:
        case Kind.PICTURE:
            return [key, keys.thumbnail(key), keys.beside(key)]
        case Kind.LEFTOVER:
            stem = key.removesuffix(".json")
            return [*(f"{stem}.{extension}" for extension in picture.EXTENSIONS), keys.thumbnail(key), key]
        case _:
            return [key]


async def _write(shop: Shop, done: list[sa.Row[Any]]) -> None:
    """Forget what is done for good; the rest is looked for once more, later."""
    if not done:
        return
    now = shop.clock.now()
    over = [row.id for row in done if row.passes <= 1]
    again = [row.id for row in done if row.passes > 1]
    async with shop.database.write() as tx:
        await tx.execute(_erasure.delete().where(_erasure.c.id.in_(over)))
        await tx.execute(
            _erasure.update()
            .where(_erasure.c.id.in_(again))
            .values(
                passes=_erasure.c.passes - 1,
                done_at=sa.func.coalesce(_erasure.c.done_at, sa.literal(now, _erasure.c.done_at.type)),
                due_at=now + AGAIN_AFTER,
            )
        )


async def over_time(shop: Shop) -> None:
    """Erase the pictures and the prompts that their teams do not keep any longer, a portion at a time."""
    async with shop.database.read() as connection:
        late = [
            (kind, job_id)
            for kind in (Kind.PICTURE, Kind.SIDECAR)
            for job_id in await retention.oldest(connection, kind, shop.clock.now(), JOBS_AT_ONCE)
        ]
    purged: list[Purged] = []
    erased: list[Job] = []
    for kind, job_id in late:
        purged += await _expire(shop, kind, job_id, erased)
    await shop.shelf.forget(purged)
    await snapshots.forget(shop.redis, erased)
    if late:
        log.info("retention_over", jobs=len({job_id for _, job_id in late}))


async def _expire(shop: Shop, kind: Kind, job_id: str, erased: list[Job]) -> list[Purged]:
    now = shop.clock.now()
    async with shop.database.write() as tx:
        row = (await tx.execute(sa.select(_job).where(_job.c.id == job_id).with_for_update())).one()
        job = record.job(row)
        if job.ended_at is None:
            return []
        erased.append(job)
        if kind is Kind.PICTURE and job.pictures_erased_at is None:
            _, purged = await erasing.pictures(tx, job, Cause.RETENTION, now)
            return purged
        if kind is Kind.SIDECAR and job.prompt_erased_at is None:
            await erasing.prompt(tx, job, Cause.RETENTION, now)
        return []
