"""Settling a submission whose answer never came: by evidence, by time, or by an operator who knows. Asks nobody.

Each attempt is settled on its own; what that means to its job follows from its bearing. Nothing is settled before the
attempt is quiet: until then the POST may still be under way.
"""

from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.clock import Clock
from gateway.jobs import attempts, drift, endings, record, verdicts
from gateway.jobs.bearing import Bearing
from gateway.jobs.outcomes import Evidence, Outcome
from gateway.jobs.record import Job
from gateway.jobs.states import Failure, State
from gateway.jobs.verdicts import Case
from gateway.ledger import book
from gateway.storage import tables
from gateway.storage.database import Database
from gateway.upstream import answers

_job = tables.jobs
_attempt = tables.attempts

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
        return await settle_in(tx, clock.now(), job_id, verdict)


async def settle_in(tx: AsyncConnection, now: datetime, job_id: str, verdict: Verdict) -> Job:
    """As ``settle``, in the caller's own transaction."""
    return await conclude(tx, await _case(tx, now, job_id), verdict, Evidence.OPERATOR)


async def conclude(tx: AsyncConnection, case: Case, verdict: Verdict, evidence: Evidence) -> Job:
    """Settle one quiet, unknown attempt; a job that waited for it ends. The job as it is then."""
    if verdict is Verdict.CHARGED:
        cost_micros, outcome = case.held.amount_micros, Outcome.SETTLED_CHARGED
        await book.charge(tx, case.held, cost_micros, case.now)
        await drift.spent(tx, cost_micros)
        message = "the upstream's answer was lost; settled as charged"
    else:
        cost_micros, outcome = 0, Outcome.SETTLED_FREE
        await book.release(tx, case.held, case.now)
        message = "the upstream's answer was lost; settled as not charged"
    await attempts.close(tx, case.job.id, case.number, outcome, cost_micros=cost_micros, evidence=evidence)
    log.info("unknown_settled", job_id=case.job.id, attempt=case.number, verdict=verdict, evidence=evidence)
    carried = case.bearing is Bearing.CARRIES and case.job.state is State.SUBMISSION_UNKNOWN
    if carried or cost_micros or case.job.cost_micros is not None:
        await verdicts.recost(tx, case.job.id)
    if carried and (ended := await endings.fail(tx, case.job, Failure.SUBMISSION_UNKNOWN, message, case.now)):
        return ended
    return await _read(tx, case.job.id)


async def not_taken(tx: AsyncConnection, case: Case, evidence: Evidence, unknown_wait_s: int) -> Job:
    """Settle a quiet attempt that the upstream surely never had.

    A job whose caller still reads ``processing`` goes back to the queue, once. One whose caller was told that nobody
    knows ends, unpaid and safe to order again: whoever was told may have stopped listening, or ordered anew.
    """
    job = case.job
    told = job.submitted_at is None or case.now - job.submitted_at >= timedelta(seconds=unknown_wait_s)
    waits = case.bearing is Bearing.CARRIES and job.state is State.SUBMISSION_UNKNOWN
    if told or not waits or job.resubmitted_at is not None or await _settled_before(tx, job.id):
        return await conclude(tx, case, Verdict.NOT_CHARGED, evidence)
    await attempts.close(tx, job.id, case.number, Outcome.SETTLED_FREE, cost_micros=0, evidence=evidence)
    log.info("not_taken", job_id=job.id, attempt=case.number, evidence=evidence)
    return await verdicts.requeue(tx, case, case.now)


async def _settled_before(tx: AsyncConnection, job_id: str) -> bool:
    settled = sa.select(_attempt.c.number).where(_attempt.c.job_id == job_id, _attempt.c.evidence.is_not(None))
    return (await tx.execute(settled.limit(1))).first() is not None


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
    return await discovered(tx, case, answer, Evidence.OPERATOR)


async def discovered(tx: AsyncConnection, case: Case, answer: answers.Accepted, evidence: Evidence) -> Job:
    """The attempt's upstream job turned up: its job runs by it, if it has not gone on without, and is due at once."""
    job = await verdicts.accepted(tx, case, answer, evidence)
    log.info("unknown_found", job_id=case.job.id, attempt=case.number, evidence=evidence, runs=job is not None)
    if job is None:
        return await _read(tx, case.job.id)
    row = await tx.execute(
        _job.update().where(_job.c.id == job.id).values(due_at=case.now, nudges=_job.c.nudges + 1).returning(_job)
    )
    return record.job(row.one())


async def quiet(tx: AsyncConnection, job_id: str, number: int, now: datetime) -> Case | None:
    """The case of an attempt that may be settled now; none if its doubt has ended, or its POST may be under way."""
    case = await verdicts.lock(tx, job_id, number, now)
    if case is None or case.outcome is not Outcome.UNKNOWN or now < case.quiet_at:
        return None
    return case


async def _case(tx: AsyncConnection, now: datetime, job_id: str) -> Case:
    """The attempt of a job that an operator can mean: the one that the job waits for, else the oldest in doubt."""
    current = (await tx.execute(sa.select(_job.c.attempt).where(_job.c.id == job_id))).scalar_one_or_none()
    if current is None:
        raise errors.JobNotFound(f"there is no job {job_id[:80]!r}", param="job")
    unknown = sa.select(_attempt.c.number).where(_attempt.c.job_id == job_id, _attempt.c.outcome == Outcome.UNKNOWN)
    numbers = sorted((await tx.execute(unknown)).scalars(), key=lambda number: (number != current, number))
    case = await verdicts.lock(tx, job_id, numbers[0], now) if numbers else None
    if case is None or case.outcome is not Outcome.UNKNOWN:
        raise errors.Conflict("only a job whose submission is unknown can be settled", param="job")
    if now < case.quiet_at:
        seconds = int((case.quiet_at - now).total_seconds()) + 1
        raise errors.Conflict(f"its POST may still be under way; try again in {seconds} s", param="job")
    return case


async def _read(tx: AsyncConnection, job_id: str) -> Job:
    return record.job((await tx.execute(sa.select(_job).where(_job.c.id == job_id))).one())
