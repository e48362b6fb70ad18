"""The archive step: bring a finished job's pictures home before the upstream's copies die. Never generates anything.

Each picture is recorded as soon as the archive has it, so that what is safe stays safe whatever happens to the next
one. A picture that cannot be had now is tried again until the upstream's copy is surely gone.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, ids
from gateway.archive import keys, sidecar
from gateway.images import picture
from gateway.images.picture import Picture
from gateway.jobs import adoption, claims, endings, record, traced
from gateway.jobs.parts import Shop
from gateway.jobs.queue import Step
from gateway.jobs.record import Image, Job
from gateway.jobs.states import Failure, State
from gateway.reuse import entries
from gateway.reuse.entries import Purged
from gateway.storage import tables
from gateway.telemetry.tracing import Kind
from gateway.upstream import answers

#: A copy that is not there is asked for this long, unless its own time is over sooner.
GONE_PATIENCE = timedelta(minutes=10)
#: One that cannot be asked for at all is given up so long after its time: an operator had a day to mend what is wrong.
UNREACHABLE_PATIENCE = timedelta(hours=24)
#: This many whole downloads without a picture in them settle that there is none.
WHOLE_DOWNLOADS = 3
_BACKOFF_MAX_S = 60.0
#: So many are tried for a claim; those at its head may be in other hands this very moment.
_LONGEST_LINE = 20

_job = tables.jobs
_PICTURE = tables.images.insert()

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Tally:
    """What one round over the job's results came to."""

    kept: int
    gone: int
    bad: int
    #: The upstream did not deliver it.
    undelivered: int
    #: It was delivered, and the archive did not take it.
    unkept: int = 0

    @property
    def unresolved(self) -> int:
        """How many are still to be had."""
        return self.gone + self.bad + self.undelivered + self.unkept


async def keep(shop: Shop, job_id: str) -> None:
    """Fetch, check and archive what the job whose copies die first still lacks; end it when nothing is left to get.

    The id is only the hint of a nudge: after an outage many jobs wait, and their nudges come in no order.
    """
    del job_id
    job = await shop.turnstiles.archive.through(partial(_claim, shop))
    if job is None:
        return
    with structlog.contextvars.bound_contextvars(job_id=job.id), traced.step(shop, job, "archive") as span:
        async with claims.held(shop, job):
            after = await _conclude(shop, job, await _round(shop, job))
        traced.stands(span, after)
        if after is not None:
            await _announce(shop, after)


async def _claim(shop: Shop) -> Job | None:
    now = shop.clock.now()
    async with shop.database.read() as connection:
        waiting = await _line(connection, now)
    return await claims.take_first(shop, waiting, State.ARCHIVING, now) if waiting else None


async def _announce(shop: Shop, after: Job) -> None:
    if after.state is State.ARCHIVING:
        await shop.queue.step(Step.ARCHIVE, after)
        return
    await _freshen(shop, after)
    _observe(shop, after)
    await shop.queue.ended(after)


async def _line(connection: AsyncConnection, now: datetime) -> Sequence[str]:
    """The jobs to be archived that are due and free, the first whose copies expire first."""
    job_ids: Sequence[str] = (await connection.execute(_waiting(), {"now": now})).scalars().all()
    return job_ids


# Made once, as those of the claims are.
@lru_cache
def _waiting() -> sa.Select[Any]:
    now = sa.bindparam("now", type_=_job.c.due_at.type)
    return (
        sa.select(_job.c.id)
        .where(_job.c.state == State.ARCHIVING, _job.c.claim.is_(None), _job.c.due_at <= now)
        .order_by(_job.c.results_expire_at, _job.c.due_at)
        .limit(_LONGEST_LINE)
    )


@lru_cache
def _standing() -> sa.Select[Any]:
    return sa.select(_job.c.state).where(_job.c.id == sa.bindparam("of_job")).with_for_update()


@lru_cache
def _positions() -> sa.Select[Any]:
    return sa.select(tables.images.c.position).where(tables.images.c.job_id == sa.bindparam("of_job"))


async def _round(shop: Shop, job: Job) -> Tally:
    async with shop.database.read() as connection:
        have = await _archived(connection, job)
    fates = [
        "kept" if position in have else await _fetch(shop, job, position, result)
        for position, result in enumerate(job.results or ())
    ]
    return Tally(*(fates.count(fate) for fate in ("kept", "gone", "bad", "undelivered", "unkept")))


async def _fetch(shop: Shop, job: Job, position: int, result: Mapping[str, Any]) -> str:
    """One picture's fate this time: kept, gone, bad (bytes that are no picture), undelivered or unkept."""
    download = await shop.upstream.download(result["url"])
    if isinstance(download, answers.Gone):
        return await _adopt(shop, job, position)
    if isinstance(download, answers.Undelivered):
        log.warning("picture_undelivered", job_id=job.id, position=position, reason=download.reason)
        return "undelivered"
    try:
        # Decoding takes some ten milliseconds of CPU, which the event loop cannot spare.
        found = await asyncio.to_thread(picture.inspect, download.data)
    except picture.NotAPicture as error:
        log.warning("not_a_picture", job_id=job.id, position=position, reason=error.reason)
        return "bad"
    try:
        await _store(shop, job, position, result.get("seed"), found, download.data)
    except errors.ArchiveUnavailable as error:
        log.warning("archive_unavailable", job_id=job.id, position=position, reason=error.message)
        return "unkept"
    return "kept"


async def _adopt(shop: Shop, job: Job, position: int) -> str:
    """The fate of a picture that the upstream has no more: the archive may have it without a row."""
    try:
        found = await adoption.find(shop.bucket, job, position)
        if found is None:
            return "gone"
        await _store(shop, job, position, found.seed, found.picture, found.data)
    except errors.ArchiveUnavailable as error:
        log.warning("archive_unavailable", job_id=job.id, position=position, reason=error.message)
        return "unkept"
    return "kept"


async def _store(shop: Shop, job: Job, position: int, seed: int | None, found: Picture, data: bytes) -> None:
    """Put the picture and its sidecar, then the row: what the row names exists.

    The row needs no claim, since a picture that is safe is safe whoever brought it; but a job that has ended stays as
    it was told.
    """
    now = shop.clock.now()
    key = keys.picture(job.team_id, job.id, position, found.extension, job.created_at)
    image = Image(
        id=ids.image(),
        job_id=job.id,
        team_id=job.team_id,
        position=position,
        object_key=key,
        content_type=found.content_type,
        extension=found.extension,
        width=found.width,
        height=found.height,
        size_bytes=found.bytes,
        sha256=found.sha256,
        seed=_seed(job, seed),
    )
    beside = keys.sidecar(job.team_id, job.id, position, job.created_at)
    with shop.traces.inner(Kind.CALL, "put picture", {"torii.position": position, "torii.bytes": len(data)}):
        await shop.bucket.put(key, data, found.content_type)
        await shop.bucket.put(beside, _sidecar(job, image), sidecar.CONTENT_TYPE)
    async with shop.database.write() as tx:
        # Two workers can only store the same bytes under the same key; the first one's row stands.
        archiving = await _lock(tx, job)
        if archiving and position not in await _archived(tx, job):
            await tx.execute(_PICTURE, {**vars(image), "created_at": now})
    if not archiving:
        await _take_back(shop, job, key, beside)
    if job.results_expire_at is not None:
        margin_s = (job.results_expire_at - now).total_seconds()
        shop.metrics.archive_expiry_margin.labels(job.model).observe(max(margin_s, 0.0))


async def _take_back(shop: Shop, job: Job, *placed: str) -> None:
    """Delete what was put after its job was erased: whoever erased it could not know of it."""
    erased = sa.select(_job.c.id).where(_job.c.id == job.id, _job.c.pictures_erased_at.is_not(None))
    async with shop.database.read() as connection:
        if (await connection.execute(erased)).first() is None:
            return
    log.warning("picture_of_an_erased_job", job_id=job.id)
    for each in placed:
        await shop.bucket.delete(each)


def _seed(job: Job, told: int | None) -> int | None:
    asked = job.parameters.get("seed")
    return told if told is not None else asked if isinstance(asked, int) else None


def _sidecar(job: Job, image: Image) -> bytes:
    return sidecar.render(
        sidecar.Sidecar(
            image_id=image.id,
            job_id=job.id,
            team_id=job.team_id,
            position=image.position,
            model=job.model,
            parameters=job.parameters,
            seed=image.seed,
            credits_micros=job.cost_micros or 0,
            upstream_job_id=job.upstream_job_id or "",
            content_type=image.content_type,
            width=image.width,
            height=image.height,
            size_bytes=image.size_bytes,
            sha256=image.sha256,
            created_at=job.created_at,
        )
    )


async def _conclude(shop: Shop, job: Job, tally: Tally) -> Job | None:
    """End the job when nothing is left to get, else say when to try again."""
    now = shop.clock.now()
    bad_downloads = job.bad_downloads + (1 if tally.bad else 0)
    gone_since_at = (job.gone_since_at or now) if tally.gone else None
    surely_gone = tally.gone if _over(job, gone_since_at, now) else 0
    if job.results_expire_at is not None and now - job.results_expire_at >= UNREACHABLE_PATIENCE:
        surely_gone = tally.gone + tally.undelivered
    surely_bad = tally.bad if bad_downloads >= WHOLE_DOWNLOADS else 0
    async with shop.database.write() as tx:
        # What another worker stored since this one looked counts as well: nothing is lost that is in the archive.
        kept = len(await _archived(tx, job)) if await _lock(tx, job) else tally.kept
        if kept > tally.kept:
            return await _again(tx, job, due_at=now)
        if surely_gone + surely_bad == tally.unresolved:
            if kept:
                return await endings.complete(
                    tx, job, kept=kept, lost=surely_gone, now=now, held=bool(tally.unresolved)
                )
            if surely_gone:
                lost = "the upstream's copy was gone before it could be archived"
                return await endings.fail(tx, job, Failure.ARCHIVE_LOST, lost, now, held=True)
            bad = "what the upstream delivered is not a picture"
            return await endings.fail(tx, job, Failure.UPSTREAM_FAILED, bad, now, held=True)
        wait_s = min(2.0 ** min(job.archive_failures, 6), _BACKOFF_MAX_S)
        return await _again(
            tx,
            job,
            archive_failures=_job.c.archive_failures + 1,
            bad_downloads=bad_downloads,
            gone_since_at=gone_since_at,
            due_at=now + timedelta(seconds=wait_s),
        )


async def _again(tx: AsyncConnection, job: Job, **values: object) -> Job | None:
    """Give the claim back and say when the next round is; none if the job was moved by someone else meanwhile."""
    row = (
        await tx.execute(
            _job.update()
            .where(_job.c.id == job.id, _job.c.state == State.ARCHIVING, _job.c.claim == job.claim)
            .values(nudges=_job.c.nudges + 1, claim=None, claimed_by=None, claimed_at=None, **values)
            .returning(_job)
        )
    ).first()
    return None if row is None else record.job(row)


async def _lock(tx: AsyncConnection, job: Job) -> bool:
    """Lock the job's row; whether it is still being archived."""
    row = await tx.execute(_standing(), {"of_job": job.id})
    return bool(row.scalar_one() == State.ARCHIVING)


async def _archived(connection: AsyncConnection, job: Job) -> frozenset[int]:
    """The positions of the pictures that are in the archive."""
    return frozenset((await connection.execute(_positions(), {"of_job": job.id})).scalars())


def _over(job: Job, gone_since_at: datetime | None, now: datetime) -> bool:
    """Whether a copy that is not there will not come back: its time is over, or it has been away for long."""
    if gone_since_at is None:
        return False
    return (job.results_expire_at is not None and now >= job.results_expire_at) or now - gone_since_at >= GONE_PATIENCE


async def _freshen(shop: Shop, job: Job) -> None:
    """Take older answers than this job's off the shelf; without that they would be given for a minute more."""
    if job.state is not State.COMPLETED or job.fingerprint is None:
        return
    try:
        async with shop.database.read() as connection:
            placed = await entries.answered_by(connection, job.id)
    except errors.StoreUnavailable:
        return
    await shop.shelf.forget([Purged(each.place, each.version - 1) for each in placed])


def _observe(shop: Shop, job: Job) -> None:
    log.info("job_ended", job_id=job.id, team_id=job.team_id, state=job.state, error=job.error_code)
    if job.state is not State.COMPLETED or job.ended_at is None:
        return
    shop.metrics.job_duration.labels(job.model).observe(max((job.ended_at - job.created_at).total_seconds(), 0.0))
    if job.finished_upstream_at is not None:
        shop.metrics.job_stage_duration.labels("archive").observe(
            max((job.ended_at - job.finished_upstream_at).total_seconds(), 0.0)
        )
