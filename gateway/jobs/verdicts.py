"""What each answer to a paid POST does to the attempt, the job and the ledger, in one transaction.

An answer is matched by (job, attempt) and accepted late: while submitting, while unknown, and after a settlement. What
it does to the job follows from the attempt's bearing; its credits move in any case.
Nudges nobody and talks to no other system; ``booking`` does.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import account, attempts, bearing, drift, endings, hooks, pricing, record
from gateway.jobs.bearing import Bearing
from gateway.jobs.outcomes import Evidence, Outcome
from gateway.jobs.record import Job
from gateway.jobs.states import Failure, State
from gateway.ledger import book, statement
from gateway.ledger.book import Hold
from gateway.storage import tables
from gateway.upstream import answers
from gateway.upstream.answers import Refusal

#: The least wait after a refusal, growing with each attempt of the job.
_RETRY_MAX_S = 60

_job = tables.jobs
#: An attempt that has one of these has not had its answer yet.
_UNANSWERED = frozenset({Outcome.OPEN, Outcome.UNKNOWN, Outcome.SETTLED_CHARGED, Outcome.SETTLED_FREE})

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Case:
    """An attempt, its job and its hold, locked, and the moment of the verdict."""

    job: Job
    number: int
    outcome: Outcome
    settled_micros: int
    held: Hold
    opened_at: datetime
    quiet_at: datetime
    now: datetime

    @property
    def bearing(self) -> Bearing:
        """What the attempt means to its job."""
        return bearing.of(self.job, self.number)


async def lock(tx: AsyncConnection, job_id: str, number: int, now: datetime, claim: str | None = None) -> Case | None:
    """The case of an attempt that still waits for its answer; none if it was answered or never opened.

    ``claim`` as for ``attempts.lock``.
    """
    row, job = await attempts.lock(tx, job_id, number, claim)
    if row is None or row.outcome not in _UNANSWERED:
        return None
    held = await book.find(tx, job_id, number)
    return Case(job, number, Outcome(row.outcome), row.cost_micros or 0, held, row.opened_at, row.quiet_at, now)


async def accepted(
    tx: AsyncConnection, case: Case, answer: answers.Accepted, evidence: Evidence | None = None
) -> Job | None:
    """The upstream has the job: charge it and let it run. None if the job has gone on without this attempt."""
    cost_micros = case.held.amount_micros if answer.cost_micros is None else answer.cost_micros
    if cost_micros > case.held.amount_micros:
        log.error("charge_above_hold", job_id=case.job.id, cost_micros=cost_micros, hold=case.held.amount_micros)
        # It is spent already; the next one would be too.
        await pricing.block(tx, case.job.model, case.job.resolution, case.now)
    await _charge(tx, case, cost_micros)
    apart = case.bearing is Bearing.APART
    if case.job.state is State.QUEUED:
        # The next attempt was not sent, and will not be.
        await book.release(tx, await book.find(tx, case.job.id, case.job.attempt), case.now)
    late = None if case.outcome is Outcome.OPEN else Evidence.LATE_ANSWER
    await attempts.close(
        tx,
        case.job.id,
        case.number,
        Outcome.ORPHANED if apart else Outcome.ACCEPTED,
        status_code=answer.status_code,
        answered_at=case.now,
        cost_micros=cost_micros,
        remaining_micros=answer.remaining_micros,
        upstream_job_id=answer.upstream_job_id,
        evidence=evidence or late,
    )
    # What a settlement took is expected to be gone already.
    fresh_micros = cost_micros - case.settled_micros
    await account.charged(tx, case.job.id, case.opened_at, fresh_micros, answer.remaining_micros, case.now)
    if answer.remaining_micros is None:
        await drift.explain(tx, fresh_micros, case.opened_at)
    if answer.status_code:
        # The upstream itself said so, and not evidence that was looked up.
        await account.answered(tx, case.now)
    if apart:
        log.warning("picture_orphaned", job_id=case.job.id, attempt=case.number, cost_micros=cost_micros)
        await recost(tx, case.job.id)
        return None
    return await _run(tx, case, answer)


async def _run(tx: AsyncConnection, case: Case, answer: answers.Accepted) -> Job:
    since = min(max(answer.created_at or case.now, case.opened_at), case.now)
    row = await tx.execute(
        _job.update()
        .where(_job.c.id == case.job.id)
        .values(
            state=State.RUNNING,
            version=_job.c.version + 1,
            upstream_job_id=answer.upstream_job_id,
            accepted_at=since,
            cost_micros=_spent(case.job.id),
            ended_at=None,
            error_code=None,
            error_message=None,
            **_unclaimed(),
        )
        .returning(_job)
    )
    return record.job(row.one())


async def recost(tx: AsyncConnection, job_id: str) -> None:
    """Write what the job has cost: the sum over its attempts, of which more than one may have been charged."""
    await tx.execute(_job.update().where(_job.c.id == job_id).values(cost_micros=_spent(job_id)))


def _spent(job_id: str) -> sa.ScalarSelect[int]:
    attempt = tables.attempts
    return sa.select(sa.func.sum(attempt.c.cost_micros)).where(attempt.c.job_id == job_id).scalar_subquery()


async def _charge(tx: AsyncConnection, case: Case, cost_micros: int) -> None:
    if case.outcome in (Outcome.OPEN, Outcome.UNKNOWN):
        await book.charge(tx, case.held, cost_micros, case.now)
        return
    late_micros = cost_micros - case.settled_micros
    if late_micros > 0:
        await book.adjust(tx, case.held, late_micros, case.now, "answered after its settlement")
    else:
        await _give_back(tx, case, -late_micros)


async def known(tx: AsyncConnection, upstream_job_id: str) -> bool:
    """Whether an attempt of ours has this upstream job already: then the answer cannot be about another one."""
    attempt = tables.attempts
    return (
        await tx.execute(sa.select(attempt.c.job_id).where(attempt.c.upstream_job_id == upstream_job_id))
    ).first() is not None


async def rejected(tx: AsyncConnection, case: Case, answer: answers.Rejected) -> Job | None:
    """The request itself is wrong: the hold goes back and the job ends."""
    await release(tx, case)
    await attempts.close(
        tx,
        case.job.id,
        case.number,
        Outcome.REJECTED,
        status_code=answer.status_code,
        answered_at=case.now,
        cost_micros=0,
        evidence=None if case.outcome is Outcome.OPEN else Evidence.LATE_ANSWER,
    )
    await account.answered(tx, case.now)
    await _recost_if_settled(tx, case)
    if case.bearing is not Bearing.CARRIES or case.job.state is State.FAILED:
        # One that was settled has ended, and was told so; only its credits come back.
        return None
    return await endings.fail(tx, case.job, Failure.UPSTREAM_REJECTED, answer.message, case.now)


async def refused(tx: AsyncConnection, case: Case, answer: answers.Refused) -> Job | None:
    """Surely not accepted: back to the queue under the next number, with a hold of its own."""
    await attempts.close(
        tx,
        case.job.id,
        case.number,
        Outcome.REFUSED,
        reason=answer.refusal,
        status_code=answer.status_code,
        answered_at=case.now,
        cost_micros=0,
        evidence=None if case.outcome is Outcome.OPEN else Evidence.LATE_ANSWER,
    )
    job: Job | None = None
    if case.bearing is not Bearing.CARRIES or case.job.state is State.FAILED:
        await release(tx, case)
        await _recost_if_settled(tx, case)
        job = case.job if case.job.state is State.FAILED else None
    else:
        job = await requeue(tx, case, case.now + timedelta(seconds=_wait_s(answer, case.number)))
    # The balances before the account, as everywhere, or two answers of one team wait for each other.
    await account.rest(tx, answer.refusal, case.now)
    if answer.refusal is Refusal.HOOK_REFUSED:
        await hooks.leave_out(tx, case.now)
    return job


async def requeue(tx: AsyncConnection, case: Case, due_at: datetime) -> Job:
    """Exchange the hold of an attempt that was surely not taken for the next one's, and queue the job for it."""
    following = await book.renew(tx, case.held, case.now)
    return await queue_again(tx, case, following.attempt, due_at)


async def queue_again(tx: AsyncConnection, case: Case, number: int, due_at: datetime, **values: object) -> Job:
    """Queue the job for its next attempt, whose hold is taken."""
    row = await tx.execute(
        _job.update()
        .where(_job.c.id == case.job.id)
        .values(
            state=State.QUEUED,
            version=_job.c.version + 1,
            attempt=number,
            due_at=due_at,
            **values,
            **_unclaimed(),
        )
        .returning(_job)
    )
    return record.job(row.one())


async def ambiguous(tx: AsyncConnection, case: Case, answer: answers.Ambiguous) -> Job | None:
    """The answer is lost: the hold stays, and so does the doubt, until evidence or a settlement."""
    if case.outcome is not Outcome.OPEN:
        return None
    await attempts.close(
        tx, case.job.id, case.number, Outcome.UNKNOWN, reason=answer.reason, status_code=answer.status_code
    )
    await account.open_breaker(tx, case.now)
    await _look_soon(tx, case.now)
    if case.bearing is not Bearing.CARRIES:
        return None
    row = await tx.execute(
        _job.update()
        .where(_job.c.id == case.job.id, _job.c.state == State.SUBMITTING)
        .values(state=State.SUBMISSION_UNKNOWN, version=_job.c.version + 1, **_unclaimed())
        .returning(_job)
    )
    return record.job(row.one())


async def _look_soon(tx: AsyncConnection, now: datetime) -> None:
    """There is a new doubt: evidence is worth a look at once."""
    await tx.execute(tables.upstream_account.update().values(evidence_due_at=now))


def _unclaimed() -> dict[str, None]:
    return {"claim": None, "claimed_by": None, "claimed_at": None}


async def release(tx: AsyncConnection, case: Case) -> None:
    """Give back what the attempt holds, or what its settlement took."""
    if case.outcome in (Outcome.OPEN, Outcome.UNKNOWN):
        await book.release(tx, case.held, case.now)
    else:
        await _give_back(tx, case, case.settled_micros)
        await drift.spent(tx, -case.settled_micros)


async def _give_back(tx: AsyncConnection, case: Case, micros: int) -> None:
    """Refund what a settlement took too much, save what an operator has given back already."""
    left = min(micros, await statement.spent_micros(tx, case.job.id))
    if left > 0:
        await book.refund(tx, case.held, left, case.now)


async def _recost_if_settled(tx: AsyncConnection, case: Case) -> None:
    if case.job.cost_micros is not None:
        await recost(tx, case.job.id)


def _wait_s(answer: answers.Refused, number: int) -> float:
    if answer.refusal in (Refusal.NOT_SENT, Refusal.HOOK_REFUSED):
        return 0.0
    return max(answer.retry_after_s or 0.0, min(2.0 ** min(number - 1, 6), _RETRY_MAX_S))
