"""Taking work: the claim in SQL is the only lock. Guards who works on a job, never the booking of an answer.

A claim is a token in the job's row. It ends with the step, or when a sweep finds its worker dead. A statement that
acts on a claim names its token, so that a worker which lost its claim without knowing does nothing.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
import stamina
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, ids
from gateway.jobs import record
from gateway.jobs.parts import Shop
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.storage import schema, tables

#: After this long a job upstream no longer counts against the concurrency: it may never end.
SLOT_LIFE = timedelta(minutes=15)

_job = tables.jobs


@dataclass(frozen=True)
class Outlook:
    """Whether asking for a queued job makes sense now."""

    #: Some queued job could be taken, and submitting does not rest.
    open: bool
    #: The breaker's rest is over, and nobody has tried the upstream since.
    trial: bool


async def outlook(connection: AsyncConnection, now: datetime) -> Outlook:
    """A look before the leap: no lock is taken and nothing is promised."""
    account = (await connection.execute(sa.select(tables.upstream_account))).one()
    free = sa.select(_job.c.id).where(_job.c.state == State.QUEUED, _job.c.claim.is_(None), _job.c.due_at <= now)
    waiting = (await connection.execute(free.limit(1))).first() is not None
    return Outlook(open=waiting and not _resting(account, now), trial=account.breaker_failures > 0)


async def take_queued(shop: Shop, now: datetime) -> Job | None:
    """Claim the next queued job, if the upstream has a slot free and submitting does not rest.

    The account's row is locked first, so that two workers cannot take the same last slot.
    """
    async with shop.database.write() as tx:
        account = await schema.lock_account(tx)
        if _resting(account, now) or await _slots_taken(tx, account, now) >= shop.concurrency:
            return None
        next_one = (
            sa.select(_job.c.id)
            .where(_job.c.state == State.QUEUED, _job.c.claim.is_(None), _job.c.due_at <= now)
            .order_by(_job.c.created_at, _job.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        job_id = (await tx.execute(next_one)).scalar_one_or_none()
        return None if job_id is None else await _mark(tx, shop, job_id, now)


def _resting(account: sa.Row[tuple[object, ...]], now: datetime) -> bool:
    return any(until is not None and until > now for until in (account.paused_until, account.breaker_until))


async def _slots_taken(tx: AsyncConnection, account: sa.Row[tuple[object, ...]], now: datetime) -> int:
    """Jobs in flight upstream. While the breaker has not closed, one on its way takes every slot: it is the trial."""
    in_flight = sa.or_(
        sa.and_(_job.c.state == State.QUEUED, _job.c.claim.is_not(None)),
        _job.c.state == State.SUBMITTING,
        sa.and_(_job.c.state == State.SUBMISSION_UNKNOWN, _job.c.submitted_at > now - SLOT_LIFE),
        sa.and_(_job.c.state == State.RUNNING, _job.c.accepted_at > now - SLOT_LIFE),
    )
    on_their_way = sa.or_(
        sa.and_(_job.c.state == State.QUEUED, _job.c.claim.is_not(None)), _job.c.state == State.SUBMITTING
    )
    if account.breaker_failures:
        trial = await tx.execute(sa.select(_job.c.id).where(on_their_way).limit(1))
        if trial.first() is not None:
            return 1 << 31
    return (await tx.execute(sa.select(sa.func.count()).select_from(_job).where(in_flight))).scalar_one()


async def take(shop: Shop, job_id: str, state: State, now: datetime) -> Job | None:
    """Claim one job for its next step; none if it is not in that state, not due, or someone else's."""
    async with shop.database.write() as tx:
        free = (
            sa.select(_job.c.id)
            .where(_job.c.id == job_id, _job.c.state == state, _job.c.claim.is_(None), _job.c.due_at <= now)
            .with_for_update(skip_locked=True)
        )
        if (await tx.execute(free)).first() is None:
            return None
        return await _mark(tx, shop, job_id, now)


async def _mark(tx: AsyncConnection, shop: Shop, job_id: str, now: datetime) -> Job:
    row = await tx.execute(
        _job.update()
        .where(_job.c.id == job_id)
        .values(claim=ids.claim(), claimed_by=shop.worker_id, claimed_at=now)
        .returning(_job)
    )
    return record.job(row.one())


@asynccontextmanager
async def held(shop: Shop, job: Job) -> AsyncIterator[None]:
    """Give the claim back, until that is written, when the step breaks off before its own last statement."""
    try:
        yield
    except Exception:
        async for attempt in stamina.retry_context(
            on=errors.StoreUnavailable, attempts=None, timeout=None, wait_initial=0.1, wait_max=5.0
        ):
            with attempt:
                await give_back(shop, job)
        raise


async def give_back(shop: Shop, job: Job) -> None:
    """End a claim whose step did not come to its end, so that the job can be taken at once."""
    async with shop.database.write() as tx:
        await tx.execute(
            _job.update()
            .where(_job.c.id == job.id, _job.c.claim == job.claim, _job.c.state == job.state)
            .values(claim=None, claimed_by=None, claimed_at=None)
        )
