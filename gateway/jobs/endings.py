"""The ends of a job's life: each a statement guarded by the state it leaves, in the caller's transaction.

Ends those who follow the job, counts the outcome, and writes what each caller is told by webhook, in the same
transaction. Moves no credits: whoever ends a job knows what became of its hold. Who takes a queued job back, or gives
it up for its time, hands its flight on (``handing``): its followers still want their picture. Such an end is counted
by its caller, or by ``handing``: after whatever of followers and credits is locked for it.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import announce, flying, record, tally
from gateway.jobs.record import Job
from gateway.jobs.states import Failure, State
from gateway.jobs.tally import Ended
from gateway.storage import tables

_job = tables.jobs

#: What an upstream's words may take of a job's error.
_MAX_MESSAGE = 500
#: After these its followers go on without it.
LEAVES: Final = frozenset({Failure.CANCELLED, Failure.QUEUE_TIMEOUT, Failure.EXPIRED})


@dataclass(frozen=True)
class _Mark:
    """Under which outcome an end is counted, and whether its claim is asked for."""

    outcome: str
    images_lost: int = 0
    held: bool = False


async def fail(
    tx: AsyncConnection, job: Job, failure: Failure, message: str, now: datetime, *, held: bool = False
) -> Job | None:
    """End the job without pictures; none if it has left the state that the caller saw.

    Who works on the job says ``held``: then none, too, if his claim is no longer the job's. Another may know better.
    """
    return await _end(
        tx,
        job,
        State.FAILED,
        now,
        _Mark(failure, expected(job) if failure is Failure.ARCHIVE_LOST else 0, held),
        error_code=failure,
        error_message=message[:_MAX_MESSAGE],
    )


async def complete(
    tx: AsyncConnection, job: Job, *, kept: int, lost: int, now: datetime, held: bool = False
) -> Job | None:
    """End the job with the pictures that are in the archive; ``partial`` when fewer than were asked for.

    ``held`` as for ``fail``.
    """
    mark = _Mark(State.COMPLETED, lost, held)
    return await _end(tx, job, State.COMPLETED, now, mark, partial=kept < expected(job))


async def cancel(tx: AsyncConnection, job: Job, now: datetime) -> Job | None:
    """End the job before it was sent; a claim on it loses, since the intent asks for a queued job."""
    return await _end(
        tx,
        job,
        State.CANCELLED,
        now,
        _Mark(Failure.CANCELLED),
        error_code=Failure.CANCELLED,
        error_message="cancelled by its caller",
    )


async def count_left(tx: AsyncConnection, ended: Job) -> None:
    """Count the end of a job that was taken back or given up, last of all: those who follow may be leaving, too."""
    await tally.count(tx, [Ended(ended, ended.error_code or ended.state)])


async def landed(tx: AsyncConnection, ended: Job, now: datetime) -> list[Job]:
    """End those who follow a job that has ended, as its end should have done: the release before knows of none.

    They are counted and told as in their leader's own end.
    """
    others = await flying.landed(tx, ended, now)
    await tally.count(tx, [Ended(each, ended.error_code or ended.state) for each in others])
    await flying.count_saved(tx, ended, others, now)
    await announce.all_ended(tx, others, now)
    return others


async def _end(tx: AsyncConnection, job: Job, state: State, now: datetime, mark: _Mark, **values: object) -> Job | None:
    named = {"of_job": job.id, "in_state": job.state} | ({"held": job.claim} if mark.held else {})
    row = (await tx.execute(_ending(held=mark.held), {**named, "state": state, "ended_at": now, **values})).first()
    if row is None:
        return None
    ended = record.job(row)
    others: list[Job] = []
    if mark.outcome not in LEAVES:
        others = await flying.landed(tx, ended, now)
        ends = [Ended(ended, mark.outcome, mark.images_lost), *(Ended(each, mark.outcome) for each in others)]
        await tally.count(tx, ends)
        await flying.count_saved(tx, ended, others, now)
    event_id = await announce.ended(tx, ended, now)
    await announce.all_ended(tx, others, now)
    return replace(ended, event_id=event_id)


# Made once, as those of the claims are; what else is written comes beside it, by the columns' names.
@lru_cache
def _ending(*, held: bool) -> Any:  # noqa: ANN401  SQLAlchemy does not hand out its type
    mine = _job.c.claim == sa.bindparam("held") if held else sa.true()
    return (
        _job.update()
        .where(_job.c.id == sa.bindparam("of_job"), _job.c.state == sa.bindparam("in_state"), mine)
        .values(
            version=_job.c.version + 1,
            claim=None,
            claimed_by=None,
            claimed_at=None,
            results=None,
        )
        .returning(_job)
    )


def expected(job: Job) -> int:
    """How many pictures were asked for and paid."""
    asked = job.parameters.get("num_outputs", 1)
    return asked if isinstance(asked, int) else 1


def failed_unknown() -> sa.ColumnElement[bool]:
    """The one kind of ended job that may live again."""
    return sa.and_(_job.c.state == State.FAILED, _job.c.error_code == Failure.SUBMISSION_UNKNOWN)
