"""Batches that exist: read, shown, taken back, and brought to their end. The team comes first in what a caller can ask.

A batch has no state of its own but two moments: since when nothing of it is sent any more, and when its last job had
ended. All else is counted from its jobs. Its end is written by whoever sees it first, a sweep as a rule, in one
transaction with the message about it, and once: jobs end in many places, each with locks of its own, and none of them
has to know of batches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, money
from gateway.clock import Clock, rfc3339_ms
from gateway.jobs import announce, desk, lookup, record, roster, states
from gateway.jobs.record import Image, Job
from gateway.jobs.states import ENDED, State
from gateway.storage import batch_tables, pages, tables
from gateway.storage.database import Database
from gateway.storage.pages import Slice
from gateway.tenancy import keys

#: One call, or one sweep, takes back so many jobs; a sweep goes on with the rest.
CANCELLED_AT_ONCE: Final = 100

_batch = batch_tables.batches
_job = tables.jobs

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Batch:
    """One row of ``batches``; see ``gateway.storage.batch_tables`` for the meaning of each column."""

    id: str
    team_id: str
    key_id: str
    items: int
    concurrency: int
    details: Mapping[str, Any] | None
    webhook_url: str | None
    created_at: datetime
    cancelled_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class Count:
    """How many jobs of a batch stand how, by the word on the wire, and what they cost together."""

    jobs: Mapping[str, int] = field(default_factory=dict)
    cancelled: int = 0
    cost_micros: int = 0


def read(row: sa.Row[Any]) -> Batch:
    """The batch of a whole row."""
    return Batch(**{name: getattr(row, name) for name in Batch.__dataclass_fields__})


async def find(connection: AsyncConnection, team_id: str, batch_id: str, key_id: str | None = None) -> Batch:
    """The team's batch; with a key, only if that key or one of its chain made it. ``BatchNotFound``."""
    question = sa.select(_batch).where(_batch.c.team_id == team_id, _batch.c.id == batch_id)
    if key_id is not None:
        question = question.where(_batch.c.key_id.in_(keys.kin(team_id, key_id)))
    row = (await connection.execute(question)).first()
    if row is None:
        raise errors.BatchNotFound(f"there is no batch {batch_id[:80]!r}", param="batchId")
    return read(row)


async def any_team(connection: AsyncConnection, batch_id: str) -> Batch:
    """A batch that is known to be there, whoever owns it."""
    return read((await connection.execute(sa.select(_batch).where(_batch.c.id == batch_id))).one())


async def page(
    connection: AsyncConnection, team_id: str, key_id: str | None, asked: Slice
) -> tuple[list[Batch], str | None]:
    """A slice of the team's batches, or of a key's, newest first, and the cursor of the next."""
    question = sa.select(_batch).where(_batch.c.team_id == team_id)
    if key_id is not None:
        question = question.where(_batch.c.key_id.in_(keys.kin(team_id, key_id)))
    order = (_batch.c.created_at, _batch.c.id)
    found = await pages.page(connection, question, order, asked, newest_first=True)
    return [read(row) for row in found.rows], found.next_cursor


async def items(
    connection: AsyncConnection, batch: Batch, limit: int, after: int
) -> tuple[list[tuple[Job, list[Image]]], int | None]:
    """So many of its jobs as they were given, from that place on, and the place of the next; none at the end."""
    question = sa.select(_job).where(_job.c.batch_id == batch.id, _job.c.batch_index >= after)
    rows = (await connection.execute(question.order_by(_job.c.batch_index).limit(limit + 1))).all()
    jobs = [record.job(row) for row in rows[:limit]]
    done = [job.id for job in jobs if job.state is State.COMPLETED]
    pictures = await roster.pictures(connection, batch.team_id, done)
    return [(job, pictures.get(job.id, [])) for job in jobs], after + limit if len(rows) > limit else None


async def count(connection: AsyncConnection, batch_ids: Sequence[str]) -> dict[str, Count]:
    """How the jobs of those batches stand."""
    ended = _job.c.state.in_(sorted(ENDED))
    cost = sa.func.coalesce(_job.c.cost_micros, sa.case((ended, 0), else_=_job.c.hold_micros))
    rows = await connection.execute(
        sa.select(_job.c.batch_id, _job.c.state, sa.func.count().label("jobs"), sa.func.sum(cost).label("micros"))
        .where(_job.c.batch_id.in_(list(batch_ids)))
        .group_by(_job.c.batch_id, _job.c.state)
    )
    counted: dict[str, Count] = {each: Count() for each in batch_ids}
    for row in rows:
        before, state = counted[row.batch_id], State(row.state)
        word = states.wire(state)
        counted[row.batch_id] = Count(
            jobs={**before.jobs, word: before.jobs.get(word, 0) + row.jobs},
            cancelled=before.cancelled + (row.jobs if state is State.CANCELLED else 0),
            cost_micros=before.cost_micros + int(row.micros),
        )
    return counted


def render(batch: Batch, counted: Count, remaining_micros: int | None, public_url: str) -> dict[str, Any]:
    """The batch's JSON members, without its items."""
    ending = batch.cancelled_at is not None
    body: dict[str, Any] = {
        "batchId": batch.id,
        "status": "finished" if batch.finished_at is not None else "cancelling" if ending else "running",
        "statusUrl": f"{public_url}/api/v1/batches/{batch.id}",
        "createdAt": rfc3339_ms(batch.created_at),
        "concurrency": batch.concurrency,
        "total": batch.items,
        "counts": {
            **{word: counted.jobs.get(word, 0) for word in ("pending", "processing", "completed", "failed")},
            "cancelled": counted.cancelled,
        },
        "creditCost": money.credits(counted.cost_micros),
        "creditsRemaining": money.credits(remaining_micros or 0),
    }
    for name, at in (("cancelledAt", batch.cancelled_at), ("finishedAt", batch.finished_at)):
        if at is not None:
            body[name] = rfc3339_ms(at)
    if batch.details is not None:
        body["torii"] = {"metadata": batch.details}
    return body


async def cancel(database: Database, clock: Clock, team_id: str, batch_id: str, key_id: str | None) -> Batch:
    """Send nothing more of the batch and take back what waits; what was sent goes on to its end.

    Most is taken back before this returns, and a sweep goes on with the rest. Once more changes nothing.
    ``BatchNotFound``, or ``Conflict`` for one that has finished by itself.
    """
    async with database.write() as tx:
        found = await find(tx, team_id, batch_id, key_id)
        await tx.execute(
            _batch.update()
            .where(_batch.c.id == found.id, _batch.c.finished_at.is_(None), _batch.c.cancelled_at.is_(None))
            .values(cancelled_at=clock.now())
        )
        after = await any_team(tx, found.id)
    if after.cancelled_at is None:
        raise errors.Conflict("the batch has finished; there is nothing left to take back", param="batchId")
    await take_back(database, clock, after.id)
    await settle(database, clock, after.id)
    async with database.read() as connection:
        return await any_team(connection, after.id)


async def take_back(database: Database, clock: Clock, batch_id: str) -> int:
    """Cancel a portion of the jobs of a cancelled batch that wait, each by itself; how many."""
    waiting = sa.select(_job.c.id, _job.c.team_id).where(_job.c.batch_id == batch_id, _job.c.state == State.QUEUED)
    async with database.read() as connection:
        rows = (await connection.execute(waiting.order_by(_job.c.batch_index).limit(CANCELLED_AT_ONCE))).all()
    taken = 0
    for row in rows:
        try:
            async with database.write() as tx:
                await desk.cancel_in(tx, await lookup.find(tx, row.team_id, row.id), clock.now())
        except errors.Conflict:
            # It was sent this very moment, and goes on to its end.
            continue
        taken += 1
    return taken


async def settle(database: Database, clock: Clock, batch_id: str) -> bool:
    """Finish the batch if all its jobs have ended, and say so to its caller; whether that was done now."""
    async with database.write() as tx:
        return await settle_in(tx, batch_id, clock.now())


async def settle_in(tx: AsyncConnection, batch_id: str, now: datetime) -> bool:
    """As ``settle``, in the caller's own transaction, which locks nothing afterwards."""
    living = sa.select(_batch).where(_batch.c.id == batch_id, _batch.c.finished_at.is_(None)).with_for_update()
    row = (await tx.execute(living)).first()
    if row is None:
        return False
    # Asked once the batch is locked: whoever finished it before has committed.
    still_open = sa.select(_job.c.id).where(_job.c.batch_id == batch_id, _job.c.ended_at.is_(None)).limit(1)
    if (await tx.execute(still_open)).first() is not None:
        return False
    batch = read(row)
    await tx.execute(_batch.update().where(_batch.c.id == batch.id).values(finished_at=now))
    await announce.batch_finished(tx, batch.id, batch.team_id, batch.webhook_url, now)
    log.info("batch_finished", batch_id=batch.id, team_id=batch.team_id, items=batch.items)
    return True


async def unsettled(connection: AsyncConnection, at_most: int) -> list[sa.Row[Any]]:
    """Batches of which something is to be done: whose jobs have all ended, and those that were taken back."""
    # Said twice over, the partial index serves however the planner turns this.
    living = sa.exists().where(_job.c.batch_id == _batch.c.id, _job.c.batch_id.is_not(None), _job.c.ended_at.is_(None))
    # One that was taken back and has nothing left to take back waits like any other, out of the way of younger ones.
    waits = sa.exists().where(
        _job.c.batch_id == _batch.c.id,
        _job.c.batch_id.is_not(None),
        _job.c.ended_at.is_(None),
        _job.c.state == State.QUEUED,
    )
    rows: sa.Result[Any] = await connection.execute(
        sa.select(_batch.c.id, _batch.c.cancelled_at)
        .where(_batch.c.finished_at.is_(None), sa.or_(~living, sa.and_(_batch.c.cancelled_at.is_not(None), waits)))
        .order_by(_batch.c.created_at)
        .limit(at_most)
    )
    return list(rows.all())
