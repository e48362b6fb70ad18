"""Sending an order once more while its first attempt is still in doubt, where its team chose that. At most once a job.

The second attempt has a hold of its own, within the budgets of the day; beyond them the job stays unknown. The first
attempt stays in doubt and is settled apart. Whichever turns out to have been taken first carries the job.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.admission import policy
from gateway.admission.policy import OnUnknown
from gateway.jobs import attempts, balance, discovery, settlement, verdicts
from gateway.jobs.bearing import Bearing
from gateway.jobs.outcomes import Outcome
from gateway.jobs.parts import Shop
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.ledger import book, entries
from gateway.ledger.book import Hold
from gateway.storage import tables

#: So long the second attempt may wait for its turn, whatever the job's own patience was.
PATIENCE = timedelta(minutes=15)
_AT_ONCE = 100

_job = tables.jobs
_attempt = tables.attempts
_team = tables.teams

log = structlog.get_logger(__name__)


async def look(shop: Shop) -> None:
    """Queue again what may be: quiet, of a team that chose it, not done before, without better evidence."""
    now = shop.clock.now()
    async with shop.database.read() as connection:
        rows = await connection.execute(
            sa.select(_attempt.c.job_id, _attempt.c.number, _team.c.policy)
            .join_from(_attempt, _job, _job.c.id == _attempt.c.job_id)
            .join(_team, _team.c.id == _job.c.team_id)
            .where(
                _attempt.c.outcome == Outcome.UNKNOWN,
                _attempt.c.quiet_at <= now,
                # It may have been sent once more already, in the time that the record has lost.
                _attempt.c.reason.is_distinct_from(attempts.RESTORED),
                _job.c.state == State.SUBMISSION_UNKNOWN,
                _job.c.attempt == _attempt.c.number,
                _job.c.resubmitted_at.is_(None),
                _team.c.policy.is_not(None),
                balance.ready(now),
            )
            .order_by(_attempt.c.opened_at)
            .limit(_AT_ONCE)
        )
        waiting = [row for row in rows if policy.read(row.policy).on_unknown is OnUnknown.RESUBMIT_ONCE]
    for row in waiting:
        job = await _again(shop, row.job_id, row.number)
        if job is not None:
            await discovery.nudge(shop, job)


async def _again(shop: Shop, job_id: str, number: int) -> Job | None:
    now = shop.clock.now()
    try:
        async with shop.database.write() as tx:
            return await resubmit(tx, job_id, number, now)
    except errors.BudgetExhausted:
        log.info("not_resubmitted", job_id=job_id, reason="budget_exhausted")
        return None


async def resubmit(tx: AsyncConnection, job_id: str, number: int, now: datetime) -> Job | None:
    """Take the second hold and queue the job; none if its doubt has ended meanwhile. Raises ``BudgetExhausted``."""
    case = await settlement.quiet(tx, job_id, number, now)
    if case is None or case.bearing is not Bearing.CARRIES or case.job.state is not State.SUBMISSION_UNKNOWN:
        return None
    if case.job.resubmitted_at is not None:
        return None
    following = Hold(case.held.payer, job_id, number + 1, case.held.amount_micros, entries.windows(now))
    await book.hold(tx, following, now)
    log.warning("resubmitted", job_id=job_id, attempt=following.attempt)
    deadline = max(case.job.queue_deadline_at, now + PATIENCE)
    return await verdicts.queue_again(tx, case, following.attempt, now, resubmitted_at=now, queue_deadline_at=deadline)
