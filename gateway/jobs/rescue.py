"""What becomes of jobs whose record went back in time: by a restore, or a failover that lost commits. Asks nobody.

Whatever may have been sent since, and has no upstream id, is in doubt: its hold stays, and evidence or an operator
settles it. In doubt are attempts that were open, submissions that were unknown already, since they may have been sent
anew, and queued jobs. Followers are not: what is sent for them is their leader's.

Nothing of the time before works on: no claim, no heartbeat, and no nudge that a Redis may still know.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import account, attempts, listing, outcomes
from gateway.jobs.outcomes import Outcome
from gateway.jobs.states import ENDED, State
from gateway.reuse import flights
from gateway.storage import outbox, tables

#: By so much more than they were: what a job's version and nudges grew to in the lost time is behind them.
BEYOND: Final = 1_000
#: Whose claim it was, and why nobody knows the answer.
RESTORE: Final = "restore"
#: The clock of whoever made the backup and those of the workers.
SKEW: Final = listing.BLIND_SKEW

_job = tables.jobs
_attempt = tables.attempts
_account = tables.upstream_account
_delivery = outbox.deliveries


@dataclass(frozen=True)
class Lost:
    """The time of which the record knows nothing."""

    since: datetime
    #: After this nothing was sent any more: the last worker of before had ended.
    until: datetime


@dataclass(frozen=True)
class Doubts:
    """How many jobs are in doubt now, by what they were."""

    queued: int
    submitting: int
    unknown: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.queued + self.submitting + self.unknown


async def rescue(tx: AsyncConnection, lost: Lost | None, now: datetime) -> Doubts:
    """Make the record one that workers can go on from; without a lost time only what was under way is in doubt."""
    await _end_claims(tx)
    unknown = await _count(tx, State.SUBMISSION_UNKNOWN)
    submitting = await _count(tx, State.SUBMITTING)
    queued = 0
    if lost is not None:
        queued = await _suppose_sent(tx, lost, now)
        await _no_evidence_by_balance(tx, now)
    await _doubt_open(tx, lost)
    if lost is not None:
        await _doubt_longer(tx, lost)
    await tx.execute(
        _job.update()
        .where(_job.c.state.not_in(sorted(ENDED)))
        .values(version=_job.c.version + BEYOND, nudges=_job.c.nudges + BEYOND)
    )
    await tx.execute(_account.update().values(evidence_due_at=None, list_silent_until=None, list_silences=0))
    return Doubts(queued, submitting, unknown)


async def last_sign(connection: AsyncConnection) -> datetime | None:
    """The last moment at which a worker of before is known to have lived: what it did later may be lost."""
    beat = tables.workers.c.beat_at
    found: datetime | None = (await connection.execute(sa.select(sa.func.max(beat)))).scalar_one()
    return found


async def _end_claims(tx: AsyncConnection) -> None:
    # By whom, and not whether: a follower's claim is nobody's and stays.
    free: dict[str, Any] = {"claim": None, "claimed_by": None, "claimed_at": None}
    await tx.execute(_job.update().where(_job.c.claimed_by.is_not(None)).values(swept_at=None, **free))
    await tx.execute(_delivery.update().where(_delivery.c.claimed_by.is_not(None)).values(**free))
    await tx.execute(tables.workers.delete())


async def _count(tx: AsyncConnection, state: State) -> int:
    asked = sa.select(sa.func.count()).select_from(_job).where(_job.c.state == state)
    return int((await tx.execute(asked)).scalar_one())


async def _suppose_sent(tx: AsyncConnection, lost: Lost, now: datetime) -> int:
    """Write the intents that queued jobs may have had since."""
    since = lost.since - SKEW
    waiting = sa.and_(
        _job.c.state == State.QUEUED,
        sa.or_(_job.c.claim.is_(None), _job.c.claim != flights.FOLLOWING),
        _job.c.created_at <= lost.since + SKEW,
        ~sa.exists().where(_attempt.c.job_id == _job.c.id, _attempt.c.number == _job.c.attempt).correlate(_job),
    )
    supposed: dict[str, sa.ColumnElement[Any]] = {
        "job_id": _job.c.id,
        "number": _job.c.attempt,
        "claim": sa.literal(RESTORE),
        "worker_id": sa.literal(RESTORE),
        "opened_at": sa.literal(since, _attempt.c.opened_at.type),
        "quiet_at": sa.literal(lost.until + outcomes.QUIET, _attempt.c.quiet_at.type),
        "outcome": sa.literal(str(Outcome.OPEN)),
        "hold_micros": _job.c.hold_micros,
    }
    await tx.execute(_attempt.insert().from_select(list(supposed), sa.select(*supposed.values()).where(waiting)))
    of_restore = sa.select(_attempt.c.job_id).where(
        _attempt.c.job_id == _job.c.id,
        _attempt.c.number == _job.c.attempt,
        _attempt.c.outcome == Outcome.OPEN,
        _attempt.c.claim == RESTORE,
    )
    moved = await tx.execute(
        _job.update()
        .where(_job.c.state == State.QUEUED, of_restore.exists())
        .values(state=State.SUBMITTING, submitted_at=now)
    )
    return moved.rowcount


async def _doubt_open(tx: AsyncConnection, lost: Lost | None) -> None:
    quiet = {} if lost is None else {"quiet_at": lost.until + outcomes.QUIET}
    await tx.execute(
        _attempt.update()
        .where(_attempt.c.outcome == Outcome.OPEN)
        .values(outcome=Outcome.UNKNOWN, reason=attempts.RESTORED, **quiet)
    )
    await tx.execute(_job.update().where(_job.c.state == State.SUBMITTING).values(state=State.SUBMISSION_UNKNOWN))


async def _doubt_longer(tx: AsyncConnection, lost: Lost) -> None:
    """What was unknown may have been found absent and sent again since: a job of the whole lost time may be its own."""
    current = sa.select(_job.c.id).where(
        _job.c.id == _attempt.c.job_id,
        _job.c.attempt == _attempt.c.number,
        _job.c.state == State.SUBMISSION_UNKNOWN,
    )
    await tx.execute(
        _attempt.update()
        .where(_attempt.c.outcome == Outcome.UNKNOWN, current.exists())
        .values(reason=attempts.RESTORED, quiet_at=lost.until + outcomes.QUIET, looked_at=None, absent_at=None)
    )


async def _no_evidence_by_balance(tx: AsyncConnection, now: datetime) -> None:
    """The balance fell by what the record does not know; a topup of nothing keeps it from being weighed across that."""
    await account.book_topup(tx, 0, RESTORE, now)
