"""The ends of a job's life: each a statement guarded by the state it leaves, in the caller's transaction.

Counts the outcome, and writes what its caller is told by webhook, in the same transaction. Moves no credits: whoever
ends a job knows what became of its hold.
"""

from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import announce, record
from gateway.jobs.record import Job
from gateway.jobs.states import Failure, State
from gateway.storage import statements, tables

_job = tables.jobs

#: What an upstream's words may take of a job's error.
_MAX_MESSAGE = 500


async def fail(
    tx: AsyncConnection, job: Job, failure: Failure, message: str, now: datetime, *, held: bool = False
) -> Job | None:
    """End the job without pictures; none if it has left the state that the caller saw.

    Who works on the job says ``held``: then none, too, if his claim is no longer the job's. Another may know better.
    """
    ended = await _end(
        tx,
        job,
        State.FAILED,
        now,
        held=held,
        error_code=failure,
        error_message=message[:_MAX_MESSAGE],
    )
    if ended is not None:
        await _count(tx, ended, failure, images_lost=expected(ended) if failure is Failure.ARCHIVE_LOST else 0)
    return ended


async def complete(
    tx: AsyncConnection, job: Job, *, kept: int, lost: int, now: datetime, held: bool = False
) -> Job | None:
    """End the job with the pictures that are in the archive; ``partial`` when fewer than were asked for.

    ``held`` as for ``fail``.
    """
    ended = await _end(tx, job, State.COMPLETED, now, held=held, partial=kept < expected(job))
    if ended is not None:
        await _count(tx, ended, State.COMPLETED, images_lost=lost)
    return ended


async def cancel(tx: AsyncConnection, job: Job, now: datetime) -> Job | None:
    """End the job before it was sent; a claim on it loses, since the intent asks for a queued job."""
    ended = await _end(
        tx, job, State.CANCELLED, now, error_code=Failure.CANCELLED, error_message="cancelled by its caller"
    )
    if ended is not None:
        await _count(tx, ended, Failure.CANCELLED)
    return ended


async def _end(
    tx: AsyncConnection, job: Job, state: State, now: datetime, *, held: bool = False, **values: object
) -> Job | None:
    mine = _job.c.claim == job.claim if held else sa.true()
    row = (
        await tx.execute(
            _job.update()
            .where(_job.c.id == job.id, _job.c.state == job.state, mine)
            .values(
                state=state,
                version=_job.c.version + 1,
                ended_at=now,
                claim=None,
                claimed_by=None,
                claimed_at=None,
                results=None,
                **values,
            )
            .returning(_job)
        )
    ).first()
    if row is None:
        return None
    ended = record.job(row)
    return replace(ended, event_id=await announce.ended(tx, ended, now))


async def _count(tx: AsyncConnection, job: Job, outcome: str, *, images_lost: int = 0) -> None:
    """Count an end. Counts only grow: a job that failed as unknown and was found later counts under both ends."""
    await statements.upsert(
        tx,
        tables.outcomes,
        [
            {
                "team_id": job.team_id,
                "model": job.model,
                "outcome": str(outcome),
                "jobs": 1,
                "images_lost": images_lost,
            }
        ],
        add=("jobs", "images_lost"),
    )


def expected(job: Job) -> int:
    """How many pictures were asked for and paid."""
    asked = job.parameters.get("num_outputs", 1)
    return asked if isinstance(asked, int) else 1


def failed_unknown() -> sa.ColumnElement[bool]:
    """The one kind of ended job that may live again."""
    return sa.and_(_job.c.state == State.FAILED, _job.c.error_code == Failure.SUBMISSION_UNKNOWN)
