"""The intent: the row that says "a paid POST may have been sent", committed before the POST. Sends nothing."""

from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import record
from gateway.jobs.outcomes import QUIET, Outcome
from gateway.jobs.parts import Shop
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.storage import tables

#: Why an attempt is unknown whose record went back in time; see ``rescue``.
RESTORED: Final = "restored"

_job = tables.jobs
_attempt = tables.attempts


async def open(shop: Shop, job: Job, now: datetime, hook_digest: str | None = None) -> Job | None:
    """Commit the intent to send, guarded by the claim's token; none if the claim or the job's state is gone.

    ``hook_digest`` is of the token under which the upstream may call about it.
    """
    async with shop.database.write() as tx:
        row = (
            await tx.execute(
                _job.update()
                .where(_job.c.id == job.id, _job.c.claim == job.claim, _job.c.state == State.QUEUED)
                .values(state=State.SUBMITTING, version=_job.c.version + 1, submitted_at=now)
                .returning(_job)
            )
        ).first()
        if row is None:
            return None
        opened = record.job(row)
        await tx.execute(
            _attempt.insert().values(
                job_id=job.id,
                number=opened.attempt,
                claim=job.claim,
                worker_id=shop.worker_id,
                opened_at=now,
                quiet_at=now + QUIET,
                outcome=Outcome.OPEN,
                hold_micros=job.hold_micros,
                hook_digest=hook_digest,
            )
        )
        return opened


async def lock(
    tx: AsyncConnection, job_id: str, number: int, claim: str | None = None
) -> tuple[sa.Row[tuple[object, ...]] | None, Job]:
    """The attempt's row, if its intent was committed, and its job, both locked until the transaction ends.

    Who made the intent names its ``claim``: a number that his own commit did not use up may be another worker's now.
    The job is locked first, always, so that two bookings of one job wait for each other and cannot deadlock.
    """
    job = record.job((await tx.execute(sa.select(_job).where(_job.c.id == job_id).with_for_update())).one())
    row = (
        await tx.execute(
            sa.select(_attempt)
            .where(
                _attempt.c.job_id == job_id,
                _attempt.c.number == number,
                sa.true() if claim is None else _attempt.c.claim == claim,
            )
            .with_for_update()
        )
    ).first()
    return row, job


async def close(tx: AsyncConnection, job_id: str, number: int, outcome: Outcome, **values: object) -> None:
    """Write what became of an attempt."""
    await tx.execute(
        _attempt.update()
        .where(_attempt.c.job_id == job_id, _attempt.c.number == number)
        .values(outcome=outcome, **values)
    )
