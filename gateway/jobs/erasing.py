"""Erasing what a job was asked for and what it made. Its row stays, with ids, states and amounts, and the ledger does.

What SQL has of it is gone with one transaction, which also writes down what is to go from the archive: a sweep deletes
that (``erasure_sweep``) until it is done. An object that another job shows too stays until the last of them is erased.
Deletes nothing in the archive itself.

A job that may be at the upstream is not erased, nor one of whose attempts nobody knows what became of: what was sent
is what finds it there. Of one that failed as unknown and is erased no picture is ever fetched, if it turns up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, ids
from gateway.archive import keys
from gateway.jobs import announce, desk, endings, record
from gateway.jobs.announce import Event, Status
from gateway.jobs.outcomes import Outcome
from gateway.jobs.parts import Counter
from gateway.jobs.record import Image, Job
from gateway.jobs.states import ENDED, Failure, State
from gateway.reuse import entries
from gateway.reuse.entries import Purged
from gateway.storage import batch_tables, erasure_tables, outbox, tables, upload_tables
from gateway.storage.erasure_tables import Cause, Kind
from gateway.tenancy import audit

#: A worker that stood still while its job ended may put a picture back when it wakes: so long afterwards all is
#: deleted once more.
AGAIN_AFTER: Final = timedelta(minutes=15)

_job = tables.jobs
_image = tables.images
_attempt = tables.attempts
_batch = batch_tables.batches
_delivery = outbox.deliveries
_erasure = erasure_tables.erasures
_use = upload_tables.upload_uses
#: Their messages are the upstream's own words, which may repeat a prompt.
_SAID_UPSTREAM: Final = (Failure.UPSTREAM_REJECTED, Failure.UPSTREAM_FAILED)
#: How many pictures were asked for is no secret, and says how many there were.
_STAYS: Final = "num_outputs"


@dataclass(frozen=True)
class Erased:
    """A job that was erased, and what is to be told once that is committed."""

    job: Job
    #: Entries of the cache that are gone; Redis is to be told.
    purged: list[Purged] = field(default_factory=list)
    #: It was queued until then, and was taken back.
    cancelled: bool = False
    #: Who followed it may lead now.
    led: bool = False


async def erase(counter: Counter, actor: str, team_id: str, job_id: str) -> Job:
    """Erase the team's job, an unsent one after taking it back; ``JobNotFound``, or ``Conflict`` once it was sent.

    A job that was erased before is given as it is.
    """
    async with counter.database.write() as tx:
        done = await erase_in(tx, actor, job_id, counter.clock.now(), team_id)
    await counter.library.shelf.forget(done.purged)
    await counter.library.snapshots.forget([done.job])
    if done.cancelled:
        await counter.queue.ended(done.job)
    if done.led:
        await counter.queue.submit(hint=f"heir:{done.job.id}")
    return done.job


async def erase_in(tx: AsyncConnection, actor: str, job_id: str, now: datetime, team_id: str | None = None) -> Erased:
    """As ``erase``, in the caller's own transaction; of any team without ``team_id``."""
    job = await _lock(tx, job_id, team_id)
    if job.pictures_erased_at is not None and job.prompt_erased_at is not None:
        return Erased(job)
    await _require_known(tx, job)
    before = job
    if job.state not in ENDED:
        job = await desk.cancel_in(tx, job, now)
    images, purged = await pictures(tx, job, Cause.REQUEST, now)
    await prompt(tx, job, Cause.REQUEST, now)
    await _silence(tx, job, now)
    await audit.note(
        tx,
        actor=actor,
        action="job.erase",
        subject=job.id,
        team_id=job.team_id,
        before={"state": before.state.value, "pictures": images},
        after={"state": job.state.value, "pictures": 0},
        at=now,
    )
    row = (await tx.execute(sa.select(_job).where(_job.c.id == job.id))).one()
    cancelled = before.state not in ENDED
    return Erased(record.job(row), purged, cancelled, led=cancelled and before.follows is None)


async def pending(connection: AsyncConnection) -> int:
    """How many objects were erased and are still in the archive, as far as anybody knows."""
    question = sa.select(sa.func.count()).select_from(_erasure).where(_erasure.c.done_at.is_(None))
    return int((await connection.execute(question)).scalar_one())


async def pictures(tx: AsyncConnection, job: Job, cause: Cause, now: datetime) -> tuple[int, list[Purged]]:
    """Take an ended job's pictures away: how many, and the entries of the cache that handed them out.

    The job's row is locked, so that nobody copies them to another job meanwhile.
    """
    found = await tx.execute(sa.select(_image).where(_image.c.job_id == job.id).order_by(_image.c.position))
    images = [record.image(row) for row in found]
    purged: list[Purged] = []
    while portion := await entries.purge(tx, job_id=job.id):
        purged += portion
    told = [_outbox(job, Kind.PICTURE, image.object_key, cause, now) for image in images]
    told += [_outbox(job, kind, key, cause, now) for kind, key in _own_places(job, images)]
    if told:
        await tx.execute(_erasure.insert(), told)
    await tx.execute(_image.delete().where(_image.c.job_id == job.id))
    # A print of what was asked for, which nothing is kept under any more.
    await _write(tx, job, pictures_erased_at=now, fingerprint=None)
    return len(images), purged


async def prompt(tx: AsyncConnection, job: Job, cause: Cause, now: datetime) -> None:
    """Take away what an ended job was asked for: its parameters, its caller's metadata, and where they are repeated.

    Its pictures, if they are still there, lose the JSON beside them, which says it too. The job's row is locked.
    """
    asked = {_STAYS: job.parameters[_STAYS]} if _STAYS in job.parameters else {}
    values: dict[str, Any] = {"parameters": asked, "details": sa.null(), "webhook_url": None, "prompt_erased_at": now}
    if job.error_code in _SAID_UPSTREAM:
        values["error_message"] = None
    await _write(tx, job, **values)
    # The uploads themselves are their team's, and go by themselves.
    await tx.execute(_use.delete().where(_use.c.job_id == job.id))
    if job.batch_id is not None and cause is Cause.RETENTION:
        # What its caller said of the batch is as old.
        await tx.execute(_batch.update().where(_batch.c.id == job.batch_id).values(details=sa.null()))
    if job.accepted_at is not None and job.pictures_erased_at is None and cause is Cause.RETENTION:
        beside = [keys.sidecar(job.team_id, job.id, position, job.created_at) for position in _positions(job)]
        await tx.execute(_erasure.insert(), [_outbox(job, Kind.SIDECAR, key, cause, now) for key in beside])


def _own_places(job: Job, images: list[Image]) -> list[tuple[Kind, str]]:
    """Where else in the archive something of the job may lie. One that took another's pictures never had a place."""
    if job.accepted_at is None:
        return []
    kept = {image.position for image in images}
    return [
        (
            # Of pictures that went before, another job may show the objects still.
            Kind.SIDECAR if position in kept or job.pictures_erased_at is not None else Kind.LEFTOVER,
            keys.sidecar(job.team_id, job.id, position, job.created_at),
        )
        for position in sorted({*_positions(job), *kept})
    ]


def _positions(job: Job) -> range:
    return range(endings.expected(job))


def _outbox(job: Job, kind: Kind, key: str, cause: Cause, now: datetime) -> Mapping[str, Any]:
    return {
        "id": ids.erasure(),
        "team_id": job.team_id,
        "job_id": job.id,
        "kind": kind,
        "object_key": key,
        "cause": cause,
        "created_at": now,
        "due_at": now,
        # What is old is in nobody's hands any more.
        "passes": 1 if cause is Cause.RETENTION else 2,
    }


async def _lock(tx: AsyncConnection, job_id: str, team_id: str | None) -> Job:
    question = sa.select(_job).where(_job.c.id == job_id)
    if team_id is not None:
        question = question.where(_job.c.team_id == team_id)
    row = (await tx.execute(question.with_for_update())).first()
    if row is None:
        raise errors.JobNotFound(f"there is no job {job_id[:80]!r}", param="jobId")
    return record.job(row)


async def _require_known(tx: AsyncConnection, job: Job) -> None:
    """``Conflict`` for a job that the upstream may still have, or not have, without our knowing."""
    if job.state not in (State.QUEUED, *ENDED):
        raise errors.Conflict(f"the job is {job.state}; what was sent can be erased once it has ended", param="jobId")
    doubtful = sa.select(_attempt.c.number).where(
        _attempt.c.job_id == job.id, _attempt.c.outcome.in_([Outcome.OPEN, Outcome.UNKNOWN])
    )
    if (await tx.execute(doubtful.limit(1))).first() is not None:
        raise errors.Conflict(
            "it is not yet known whether the upstream took an earlier submission of this job; "
            "it can be erased once that is settled, which takes a day at most",
            param="jobId",
        )


async def _silence(tx: AsyncConnection, job: Job, now: datetime) -> None:
    """Tell nobody any more that pictures are there. That a job failed or was taken back is still so."""
    await tx.execute(
        _delivery.update()
        .where(
            _delivery.c.job_id == job.id,
            _delivery.c.type == Event.COMPLETED,
            _delivery.c.state.in_(list(announce.OPEN)),
        )
        .values(state=Status.SUPERSEDED, ended_at=now, claim=None, claimed_by=None, claimed_at=None)
    )


async def _write(tx: AsyncConnection, job: Job, **values: object) -> None:
    await tx.execute(_job.update().where(_job.c.id == job.id).values(**values))
