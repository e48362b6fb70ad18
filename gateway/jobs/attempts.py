"""The intent: the row that says "a paid POST may have been sent", committed before the POST. Sends nothing."""

from datetime import datetime
from functools import lru_cache
from typing import Any, Final

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
_INTENT = _attempt.insert()


async def open(shop: Shop, job: Job, now: datetime, hook_digest: str | None = None) -> Job | None:
    """Commit the intent to send, guarded by the claim's token; none if the claim or the job's state is gone.

    ``hook_digest`` is of the token under which the upstream may call about it.
    """
    async with shop.database.write() as tx:
        row = (await tx.execute(_opening(), {"of_job": job.id, "held": job.claim, "submitted_at": now})).first()
        if row is None:
            return None
        opened = record.job(row)
        await tx.execute(
            _INTENT,
            {
                "job_id": job.id,
                "number": opened.attempt,
                "claim": job.claim,
                "worker_id": shop.worker_id,
                "opened_at": now,
                "quiet_at": now + QUIET,
                "outcome": Outcome.OPEN,
                "hold_micros": job.hold_micros,
                "hook_digest": hook_digest,
            },
        )
        return opened


# Made once, as those of the claims are; what else is written comes beside them, by the columns' names.
@lru_cache
def _opening() -> Any:  # noqa: ANN401  SQLAlchemy does not hand out its type
    return (
        _job.update()
        .where(
            _job.c.id == sa.bindparam("of_job"),
            _job.c.claim == sa.bindparam("held"),
            _job.c.state == State.QUEUED,
        )
        .values(state=State.SUBMITTING, version=_job.c.version + 1)
        .returning(_job)
    )


@lru_cache
def _locked_job() -> sa.Select[Any]:
    return sa.select(_job).where(_job.c.id == sa.bindparam("of_job")).with_for_update()


@lru_cache
def _locked_attempt(*, claimed: bool) -> sa.Select[Any]:
    mine = _attempt.c.claim == sa.bindparam("held") if claimed else sa.true()
    of_job = _attempt.c.job_id == sa.bindparam("of_job")
    return sa.select(_attempt).where(of_job, _attempt.c.number == sa.bindparam("of_number"), mine).with_for_update()


@lru_cache
def _closing() -> sa.Update:
    of_job = _attempt.c.job_id == sa.bindparam("of_job")
    return _attempt.update().where(of_job, _attempt.c.number == sa.bindparam("of_number"))


async def lock(
    tx: AsyncConnection, job_id: str, number: int, claim: str | None = None
) -> tuple[sa.Row[tuple[object, ...]] | None, Job]:
    """The attempt's row, if its intent was committed, and its job, both locked until the transaction ends.

    Who made the intent names its ``claim``: a number that his own commit did not use up may be another worker's now.
    The job is locked first, always, so that two bookings of one job wait for each other and cannot deadlock.
    """
    job = record.job((await tx.execute(_locked_job(), {"of_job": job_id})).one())
    named = {"of_job": job_id, "of_number": number} | ({} if claim is None else {"held": claim})
    return (await tx.execute(_locked_attempt(claimed=claim is not None), named)).first(), job


async def close(tx: AsyncConnection, job_id: str, number: int, outcome: Outcome, **values: object) -> None:
    """Write what became of an attempt."""
    await tx.execute(_closing(), {"of_job": job_id, "of_number": number, "outcome": outcome, **values})
