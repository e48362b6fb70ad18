"""Which of the jobs that are due is looked at next: a nudge says only that there is work. Claims and polls nothing.

The nearest to its possible end first: pictures live an hour upstream, so one whose job was last seen unfinished an hour
ago may die now. Jobs that hang are apart: they were looked at lately, still unfinished long after their acceptance,
and share a tenth of the request budget. Early looks, at models nobody knows yet, go when nothing else is due.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import schedule
from gateway.jobs.expect import Forecast
from gateway.jobs.parts import Shop
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
    due = await _due(connection, now, stalled=False)
    expected = {(job.model, job.resolution): job for job in due}
    forecasts = {kind: await schedule.forecast(connection, shop, job) for kind, job in expected.items()}
    probes = {job.id for job in due if _probing(forecasts[job.model, job.resolution], job, now)}
    plain = tuple(job.id for job in due if job.id not in probes)
    found = [
        # Theirs is a bucket of their own besides: asked first they get their tenth, and no more.
        Turn(tuple(job.id for job in await _due(connection, now, stalled=True)), stalled=True),
        Turn(plain) if plain else Turn(tuple(job.id for job in due), reserve=pacer.PROBE_RESERVE),
    ]
    return [turn for turn in found if turn.job_ids]


@dataclass(frozen=True)
class _Due:
    """As much of a job as says when to look at it."""

    id: str
    model: str
    resolution: str
    accepted_at: datetime | None


async def _due(connection: AsyncConnection, now: datetime, *, stalled: bool) -> list[_Due]:
    question = _waiting(connection.dialect.name, stalled=stalled)
    rows = await connection.execute(question, {"now": now, "unseen_since": now - _UNSEEN})
    return [_Due(row.id, row.model, row.resolution, row.accepted_at) for row in rows]


# Made once, as those of the claims are.
@lru_cache
def _waiting(dialect: str, *, stalled: bool) -> sa.Select[Any]:
    hangs = _stalled(dialect)
    now = sa.bindparam("now", type_=_job.c.due_at.type)
    return (
        sa.select(_job.c.id, _job.c.model, _job.c.resolution, _job.c.accepted_at)
        .where(
            _job.c.state == State.RUNNING,
            _job.c.claim.is_(None),
            _job.c.due_at <= now,
            hangs if stalled else sa.not_(hangs),
        )
        .order_by(sa.func.coalesce(_job.c.last_unfinished_at, _job.c.accepted_at), _job.c.due_at)
        .limit(_LONGEST)
    )


def _stalled(dialect: str) -> sa.ColumnElement[bool]:
    """Whether the job of the row hangs; never null."""
    seen, accepted = _job.c.last_unfinished_at, _job.c.accepted_at
    seconds: sa.ColumnElement[Any]
    if dialect == "postgresql":
        seconds = sa.extract("epoch", seen.op("-")(accepted))
    else:
        seconds = (sa.func.julianday(seen) - sa.func.julianday(accepted)) * 86_400
    unseen_since = sa.bindparam("unseen_since", type_=seen.type)
    hangs = sa.and_(seen > unseen_since, seconds > STALLED_AFTER.total_seconds())
    return sa.func.coalesce(hangs, sa.false())


def _probing(expected: Forecast, job: _Due, now: datetime) -> bool:
    return expected.guessed and schedule.elapsed_s(job, now) < expected.latest_s
