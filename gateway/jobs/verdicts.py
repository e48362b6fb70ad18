"""What each answer to a paid POST does to the attempt, the job and the ledger, in one transaction.

An answer is matched by (job, attempt) and accepted late: while submitting, while unknown, and after a settlement.
Nudges nobody and talks to no other system; ``booking`` does.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import account, attempts, endings, pricing, record
from gateway.jobs.attempts import Outcome
from gateway.jobs.record import Job
from gateway.jobs.states import Failure, State
from gateway.ledger import book
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
    now: datetime


async def lock(tx: AsyncConnection, job_id: str, number: int, now: datetime) -> Case | None:
    """The case of an attempt that still waits for its answer; none if it was answered or never opened."""
    row, job = await attempts.lock(tx, job_id, number)
    if row is None or row.outcome not in _UNANSWERED or job.attempt != number:
        return None
    held = await book.find(tx, job_id, number)
    return Case(job, number, Outcome(row.outcome), row.cost_micros or 0, held, row.opened_at, now)


async def accepted(tx: AsyncConnection, case: Case, answer: answers.Accepted) -> Job | None:
    """The upstream has the job: charge it and let it run. None if it had ended in a way that cannot be taken back."""
    cost_micros = case.held.amount_micros if answer.cost_micros is None else answer.cost_micros
    if cost_micros > case.held.amount_micros:
        log.error("charge_above_hold", job_id=case.job.id, cost_micros=cost_micros, hold=case.held.amount_micros)
        # It is spent already; the next one would be too.
        await pricing.block(tx, case.job.model, case.job.resolution, case.now)
    await _charge(tx, case, cost_micros)
    await attempts.close(
        tx,
        case.job.id,
        case.number,
        Outcome.ACCEPTED,
        status_code=answer.status_code,
        answered_at=case.now,
        cost_micros=cost_micros,
        remaining_micros=answer.remaining_micros,
        upstream_job_id=answer.upstream_job_id,
    )
    await account.charged(tx, case.job.id, case.opened_at, cost_micros, answer.remaining_micros, case.now)
    if answer.status_code:
        # The upstream itself said so, and not an operator who looked it up.
        await account.resume(tx)
    row = (
        await tx.execute(
            _job.update()
            .where(_job.c.id == case.job.id, _awaiting_answer())
            .values(
                state=State.RUNNING,
                version=_job.c.version + 1,
                upstream_job_id=answer.upstream_job_id,
                cost_micros=cost_micros,
                accepted_at=case.now,
                ended_at=None,
                error_code=None,
                error_message=None,
                **_unclaimed(),
            )
            .returning(_job)
        )
    ).first()
    return None if row is None else record.job(row)


async def _charge(tx: AsyncConnection, case: Case, cost_micros: int) -> None:
    if case.outcome in (Outcome.OPEN, Outcome.UNKNOWN):
        await book.charge(tx, case.held, cost_micros, case.now)
        return
    late_micros = cost_micros - case.settled_micros
    if late_micros > 0:
        await book.adjust(tx, case.held, late_micros, case.now, "answered after its settlement")
    elif late_micros < 0:
        await book.refund(tx, case.held, -late_micros, case.now)


async def known(tx: AsyncConnection, upstream_job_id: str) -> bool:
    """Whether an attempt of ours has this upstream job already: then the answer cannot be about another one."""
    attempt = tables.attempts
    return (
        await tx.execute(sa.select(attempt.c.job_id).where(attempt.c.upstream_job_id == upstream_job_id))
    ).first() is not None


async def rejected(tx: AsyncConnection, case: Case, answer: answers.Rejected) -> Job | None:
    """The request itself is wrong: the hold goes back and the job ends."""
    await _release(tx, case)
    await attempts.close(
        tx, case.job.id, case.number, Outcome.REJECTED, status_code=answer.status_code, answered_at=case.now
    )
    await account.resume(tx)
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
    )
    await account.rest(tx, answer.refusal, case.now)
    if case.job.state is State.FAILED:
        await _release(tx, case)
        return case.job
    following = await book.renew(tx, case.held, case.now)
    row = await tx.execute(
        _job.update()
        .where(_job.c.id == case.job.id)
        .values(
            state=State.QUEUED,
            version=_job.c.version + 1,
            attempt=following.attempt,
            due_at=case.now + timedelta(seconds=_wait_s(answer, case.number)),
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
    row = await tx.execute(
        _job.update()
        .where(_job.c.id == case.job.id, _job.c.state == State.SUBMITTING)
        .values(state=State.SUBMISSION_UNKNOWN, version=_job.c.version + 1, **_unclaimed())
        .returning(_job)
    )
    return record.job(row.one())


def _awaiting_answer() -> sa.ColumnElement[bool]:
    return sa.or_(_job.c.state.in_([State.SUBMITTING, State.SUBMISSION_UNKNOWN]), endings.failed_unknown())


def _unclaimed() -> dict[str, None]:
    return {"claim": None, "claimed_by": None, "claimed_at": None}


async def _release(tx: AsyncConnection, case: Case) -> None:
    if case.outcome in (Outcome.OPEN, Outcome.UNKNOWN):
        await book.release(tx, case.held, case.now)
    elif case.settled_micros:
        await book.refund(tx, case.held, case.settled_micros, case.now)


def _wait_s(answer: answers.Refused, number: int) -> float:
    if answer.refusal is Refusal.NOT_SENT:
        return 0.0
    return max(answer.retry_after_s or 0.0, min(2.0 ** min(number - 1, 6), _RETRY_MAX_S))
