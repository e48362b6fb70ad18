"""Settling a submission whose answer never came: by time, or by an operator who knows. Sends and polls nothing.

Nothing is settled before the attempt is quiet: until then the POST may still be under way.
"""

from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.clock import Clock
from gateway.jobs import attempts, endings, record, verdicts
from gateway.jobs.attempts import Outcome
from gateway.jobs.record import Job
from gateway.jobs.states import Failure, State
from gateway.jobs.verdicts import Case
from gateway.ledger import book
from gateway.storage import tables
from gateway.storage.database import Database
from gateway.upstream import answers

#: Without evidence an unknown submission counts as charged after this long.
AFTER = timedelta(hours=24)

log = structlog.get_logger(__name__)


class Verdict(StrEnum):
    """How an unknown submission can be settled."""

    #: The upstream took the credits and there is no job to be found.
    CHARGED = "charged"
    #: The upstream never had it.
    NOT_CHARGED = "not_charged"


async def settle(database: Database, clock: Clock, job_id: str, verdict: Verdict) -> Job:
    """End the doubt; ``Conflict`` if the job's submission is not unknown, or not yet quiet."""
    async with database.write() as tx:
        ended = await settle_in(tx, clock.now(), job_id, verdict)
    log.info("unknown_settled", job_id=job_id, verdict=verdict)
    return ended


async def settle_in(tx: AsyncConnection, now: datetime, job_id: str, verdict: Verdict) -> Job:
    """As ``settle``, in the caller's own transaction."""
    case = await _case(tx, now, job_id)
    if verdict is Verdict.CHARGED:
        cost_micros, outcome = case.held.amount_micros, Outcome.SETTLED_CHARGED
        await book.charge(tx, case.held, cost_micros, now)
        message = "the upstream's answer was lost; settled as charged"
    else:
        cost_micros, outcome = 0, Outcome.SETTLED_FREE
        await book.release(tx, case.held, now)
        message = "the upstream's answer was lost; settled as not charged"
    await attempts.close(tx, case.job.id, case.number, outcome, cost_micros=cost_micros)
    await tx.execute(tables.jobs.update().where(tables.jobs.c.id == job_id).values(cost_micros=cost_micros))
    ended = await endings.fail(tx, case.job, Failure.SUBMISSION_UNKNOWN, message, now)
    if ended is None:
        raise errors.Conflict("the job was moved by someone else meanwhile", param="job")
    return ended


async def found(database: Database, clock: Clock, job_id: str, upstream_job_id: str) -> Job:
    """Let an unknown job run as that upstream job, which an operator found; ``Conflict`` as ``settle``."""
    async with database.write() as tx:
        return await found_in(tx, clock.now(), job_id, upstream_job_id)


async def found_in(tx: AsyncConnection, now: datetime, job_id: str, upstream_job_id: str) -> Job:
    """As ``found``, in the caller's own transaction."""
    case = await _case(tx, now, job_id)
    if await verdicts.known(tx, upstream_job_id):
        raise errors.Conflict("another job has this upstream id already", param="upstream_job")
    answer = answers.Accepted(upstream_job_id, status_code=0, cost_micros=None, remaining_micros=None)
    job = await verdicts.accepted(tx, case, answer)
    if job is None:
        raise errors.Conflict("the job was moved by someone else meanwhile", param="job")
    row = await tx.execute(
        tables.jobs.update()
        .where(tables.jobs.c.id == job_id)
        .values(due_at=now, nudges=tables.jobs.c.nudges + 1)
        .returning(tables.jobs)
    )
    return record.job(row.one())


async def _case(tx: AsyncConnection, now: datetime, job_id: str) -> Case:
    number = (await tx.execute(sa.select(tables.jobs.c.attempt).where(tables.jobs.c.id == job_id))).scalar_one_or_none()
    if number is None:
        raise errors.JobNotFound(f"there is no job {job_id[:80]!r}", param="job")
    case = await verdicts.lock(tx, job_id, number, now)
    if case is None or case.outcome is not Outcome.UNKNOWN or case.job.state is not State.SUBMISSION_UNKNOWN:
        raise errors.Conflict("only a job whose submission is unknown can be settled", param="job")
    row, _ = await attempts.lock(tx, job_id, number)
    if row is not None and now < row.quiet_at:
        seconds = int((row.quiet_at - now).total_seconds()) + 1
        raise errors.Conflict(f"its POST may still be under way; try again in {seconds} s", param="job")
    return case
