"""The uploads of a job that is about to be sent, as links that the upstream can follow. Sends nothing.

They are signed when the job is sent, not when it was ordered: a queue may be long. They work as long as an upstream may
have a job, and no longer than their upload is there, which stays while its job is unfinished.

The archive is asked first, and may be silent. Only few of all jobs that are claimed wait for it at once, and when it is
silent to two of them all that start from uploads are put aside for a moment, so that the others find their lanes free.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
import structlog

from gateway import errors
from gateway.images import model as models
from gateway.images.model import Model
from gateway.jobs import claims, uploads
from gateway.jobs.parts import Shop
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.jobs.uploads import Upload
from gateway.storage import tables, upload_tables

#: As long as a job is looked for upstream.
LINK_LIFE_S: Final = 24 * 3600
#: A job whose uploads the archive does not show is looked at again after this: later than those that only wait for it,
#: so that one whose own object is broken does not come first each time.
AGAIN_AFTER: Final = timedelta(seconds=10)
#: So many jobs may wait for the archive at once, of all workers together: less than half of the lanes to the upstream.
PLACES: Final = 2
_SLOTS_FOR_ONE_PLACE: Final = 250
#: What a look into the archive may take of the time between the claim and the POST.
_CHECK_WITHIN_S: Final = 2.0
#: An archive in good health answers in less, so whoever finds the places taken waits for that long.
_PLACE_WITHIN_S: Final = 0.25
_LOOK_EVERY_S: Final = 0.05
#: While places are taken for longer, jobs with uploads make way for others for this long.
_MAKE_WAY: Final = timedelta(seconds=0.5)
#: No look lasts so long; the claim of one that died in it shall not take a place for ever.
_NO_LONGER: Final = timedelta(seconds=10)
_AT_ONCE: Final = 1000

_job = tables.jobs
_use = upload_tables.upload_uses

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Lost:
    """Why the job cannot be sent any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class Later:
    """The job cannot be sent now, and may be taken again after this."""

    after: timedelta
    #: After which all others may that start from uploads; none where they may now.
    others_after: timedelta | None = None


async def links(shop: Shop, job: Job, model: Model) -> Mapping[str, str] | Lost | Later:
    """A link for each upload that the claimed job starts from, by the upload's id.

    What is not there would be paid for and not be made, so the archive is asked first. Raises ``StoreUnavailable``.
    """
    named = [text for _, text in models.references(model, job.parameters) if text.startswith(uploads.PREFIX)]
    if not named:
        return {}
    if not shop.links_reach_upstream:
        return Lost("it starts from an upload, and this worker has no TORII_PUBLIC_URL at which that could be fetched")
    if left_s := shop.archive_respite.left_s(shop.clock.monotonic()):
        return _make_way(timedelta(seconds=left_s))
    if not await _place(shop, job):
        return _make_way(_MAKE_WAY)
    async with shop.database.read() as connection:
        found = await uploads.several(connection, job.team_id, named)
    gone = await _gone(shop, job, found)
    if isinstance(gone, Later):
        return gone
    missing = [upload_id for upload_id in named if upload_id not in found] + gone
    if missing:
        return Lost(f"the upload {missing[0]} that it starts from is not there any more")
    now, lender = shop.clock.now(), shop.courier
    return {
        upload.id: uploads.link(upload, lender.public_url, lender.link_key, now, LINK_LIFE_S)[0]
        for upload in found.values()
    }


async def put_aside(shop: Shop, job: Job, later: Later) -> None:
    """Give the job back, its turn and its place in the line with it, and let the others make way that wait as it does.

    What was not opened counts as no attempt.
    """
    now = shop.clock.now()
    if later.others_after is not None:
        async with shop.database.write() as tx:
            await tx.execute(_making_way(), {"now": now, "later": now + later.others_after})
    await claims.give_back(shop, job, now + later.after)


def _make_way(after: timedelta) -> Later:
    return Later(after, after)


async def _place(shop: Shop, job: Job) -> bool:
    """Wait a moment for a place among those that wait for the archive; whether there was one."""
    places = max(PLACES, shop.concurrency // _SLOTS_FOR_ONE_PLACE)
    until_s = shop.clock.monotonic() + _PLACE_WITHIN_S
    while True:
        since = shop.clock.now() - _NO_LONGER
        async with shop.database.read() as connection:
            ahead = (await connection.execute(_ahead(), {"job_id": job.id, "since": since})).scalar_one()
        if ahead < places:
            return True
        # Who waits for a place holds a lane too, so only one does.
        if ahead > places or shop.clock.monotonic() >= until_s:
            return False
        await asyncio.sleep(_LOOK_EVERY_S)


async def _gone(shop: Shop, job: Job, found: Mapping[str, Upload]) -> list[str] | Later:
    """Those of them that the archive has not."""
    respite, asked_s = shop.archive_respite, shop.clock.monotonic()
    try:
        async with asyncio.timeout(_CHECK_WITHIN_S):
            there = await asyncio.gather(*(shop.bucket.exists(upload.object_key) for upload in found.values()))
    except (TimeoutError, errors.ArchiveUnavailable) as error:
        now_s = shop.clock.monotonic()
        rests = respite.silent(job.id, asked_s, now_s)
        log.warning("archive_unavailable", job_id=job.id, reason=type(error).__name__, rests=rests)
        return Later(AGAIN_AFTER, timedelta(seconds=respite.left_s(now_s)) if rests else None)
    respite.answered(shop.clock.monotonic())
    return [upload_id for upload_id, exists in zip(found, there, strict=True) if not exists]


@lru_cache
def _ahead() -> sa.Select[Any]:
    """How many jobs were claimed before this one that start from uploads and are not sent yet."""
    job_id = sa.bindparam("job_id", type_=_job.c.id.type)
    since = sa.bindparam("since", type_=_job.c.claimed_at.type)
    mine = _job.alias("mine")
    mine_at = sa.select(mine.c.claimed_at).where(mine.c.id == job_id).scalar_subquery()
    return sa.select(sa.func.count()).where(
        _job.c.claimed_by > "",
        _job.c.state == State.QUEUED,
        _job.c.claimed_at > since,
        sa.or_(_job.c.claimed_at < mine_at, sa.and_(_job.c.claimed_at == mine_at, _job.c.id < job_id)),
        sa.exists().where(_use.c.job_id == _job.c.id),
    )


@lru_cache
def _making_way() -> Any:  # noqa: ANN401  SQLAlchemy does not hand out its type
    now, later = (sa.bindparam(name, type_=_job.c.due_at.type) for name in ("now", "later"))
    waiting = (
        sa.select(_job.c.id)
        .where(
            _job.c.state == State.QUEUED,
            _job.c.claim.is_(None),
            _job.c.due_at <= now,
            sa.exists().where(_use.c.job_id == _job.c.id),
        )
        .order_by(_job.c.due_at)
        .limit(_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    return _job.update().where(_job.c.id.in_(waiting)).values(due_at=later)
