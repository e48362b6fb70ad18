"""Which of the jobs that are due is looked at next: a nudge says only that there is work. Claims and polls nothing.

The nearest to its possible end first: pictures live an hour upstream, so one whose job was last seen unfinished an hour
ago may die now. Jobs that hang are apart: they were looked at lately, still unfinished long after their acceptance,
and share a tenth of the request budget. Early looks, at models nobody knows yet, go when nothing else is due.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import record, schedule
from gateway.jobs.expect import Forecast
from gateway.jobs.parts import Shop
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.storage import tables
from gateway.upstream import pacer

#: Seen unfinished after this long upstream, a job is looked at slowly.
STALLED_AFTER: Final = timedelta(minutes=15)
#: The upstream may keep results for an hour only (pixeldojo.md 2.9), whatever its answer says.
RESULT_LIFE: Final = timedelta(hours=1)
#: One that nobody has looked at for this long is no longer a stalled job, but one whose picture may be dying.
_UNSEEN: Final = RESULT_LIFE / 2
_LONGEST: Final = 20

_job = tables.jobs


@dataclass(frozen=True)
class Turn:
    """The jobs of one kind that are due, the most urgent first, and what of the budget they may use."""

    job_ids: tuple[str, ...]
    reserve: float = pacer.POLL_RESERVE
    stalled: bool = False


async def turns(connection: AsyncConnection, shop: Shop, now: datetime) -> list[Turn]:
    """Whose turn it may be, in the order in which to ask the budget; empty when nothing is due."""
    stalled = _stalled(connection, now)
    due = await _due(connection, sa.not_(stalled), now)
    expected = {(job.model, job.resolution): job for job in due}
    forecasts = {kind: await schedule.forecast(connection, shop, job) for kind, job in expected.items()}
    probes = {job.id for job in due if _probing(forecasts[job.model, job.resolution], job, now)}
    plain = tuple(job.id for job in due if job.id not in probes)
    found = [
        # Theirs is a bucket of their own besides: asked first they get their tenth, and no more.
        Turn(tuple(job.id for job in await _due(connection, stalled, now)), stalled=True),
        Turn(plain) if plain else Turn(tuple(job.id for job in due), reserve=pacer.PROBE_RESERVE),
    ]
    return [turn for turn in found if turn.job_ids]


async def _due(connection: AsyncConnection, kind: sa.ColumnElement[bool], now: datetime) -> list[Job]:
    rows = await connection.execute(
        sa.select(_job)
        .where(_job.c.state == State.RUNNING, _job.c.claim.is_(None), _job.c.due_at <= now, kind)
        .order_by(sa.func.coalesce(_job.c.last_unfinished_at, _job.c.accepted_at), _job.c.due_at)
        .limit(_LONGEST)
    )
    return [record.job(row) for row in rows]


def _stalled(connection: AsyncConnection, now: datetime) -> sa.ColumnElement[bool]:
    """Whether the job of the row hangs; never null."""
    seen, accepted = _job.c.last_unfinished_at, _job.c.accepted_at
    seconds: sa.ColumnElement[Any]
    if connection.dialect.name == "postgresql":
        seconds = sa.extract("epoch", seen.op("-")(accepted))
    else:
        seconds = (sa.func.julianday(seen) - sa.func.julianday(accepted)) * 86_400
    hangs = sa.and_(seen > now - _UNSEEN, seconds > STALLED_AFTER.total_seconds())
    return sa.func.coalesce(hangs, sa.false())


def _probing(expected: Forecast, job: Job, now: datetime) -> bool:
    return expected.guessed and schedule.elapsed_s(job, now) < expected.latest_s
