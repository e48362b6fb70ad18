"""How long a team keeps the pictures of its ended jobs, and what they were made from; and what is over that by now.

Days are counted from a job's end. Decides what is to be erased and erases nothing: ``erasure_sweep`` does.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.jobs.outcomes import Outcome
from gateway.storage import erasure_tables, statements, tables
from gateway.storage.erasure_tables import Kind

#: Ten years; who wants more wants none.
DAYS_MAX: Final = 3660

_job = tables.jobs
_image = tables.images
_attempt = tables.attempts
_retention = erasure_tables.retention


@dataclass(frozen=True, slots=True)
class Retention:
    """What a team has chosen; none for ever."""

    pictures_days: int | None = None
    prompts_days: int | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """What is over its time at a moment."""

    #: Jobs with pictures, and those pictures and their bytes; an object that several jobs show counts with each.
    picture_jobs: int
    pictures: int
    picture_bytes: int
    #: Jobs whose prompts are kept.
    prompts: int
    #: The end of the first job among them.
    oldest_at: datetime | None


async def of(connection: AsyncConnection, team_id: str) -> Retention:
    """What the team has chosen."""
    row = (await connection.execute(sa.select(_retention).where(_retention.c.team_id == team_id))).first()
    return Retention() if row is None else Retention(row.pictures_days, row.prompts_days)


async def of_all(connection: AsyncConnection, team_ids: Iterable[str]) -> dict[str, Retention]:
    """What those teams have chosen that chose anything."""
    rows = await connection.execute(sa.select(_retention).where(_retention.c.team_id.in_(sorted(team_ids))))
    return {row.team_id: Retention(row.pictures_days, row.prompts_days) for row in rows}


async def put(tx: AsyncConnection, team_id: str, chosen: Retention) -> None:
    """Set what the team keeps; ``InvalidParameter`` for a number of days that is none."""
    require(chosen)
    values = {"team_id": team_id, "pictures_days": chosen.pictures_days, "prompts_days": chosen.prompts_days}
    await statements.upsert(tx, _retention, [values], replace=("pictures_days", "prompts_days"))


def require(chosen: Retention) -> None:
    """``InvalidParameter`` for a number of days that is none."""
    for name, days in (("picturesDays", chosen.pictures_days), ("promptsDays", chosen.prompts_days)):
        if days is not None and not 1 <= days <= DAYS_MAX:
            raise errors.InvalidParameter(
                f"retention.{name}: use 1 to {DAYS_MAX} days, or none", param=f"retention.{name}"
            )


async def due(connection: AsyncConnection, team_id: str, chosen: Retention, now: datetime) -> Due:
    """What would be erased of the team's with such a choice; nothing is."""
    pictures = await _sum(connection, team_id, Kind.PICTURE, chosen.pictures_days, now)
    prompts = await _sum(connection, team_id, Kind.SIDECAR, chosen.prompts_days, now)
    ends = [row.oldest for row in (pictures, prompts) if row is not None and row.oldest is not None]
    return Due(
        picture_jobs=0 if pictures is None else pictures.jobs,
        pictures=0 if pictures is None else pictures.images or 0,
        picture_bytes=0 if pictures is None else int(pictures.size or 0),
        prompts=0 if prompts is None else prompts.jobs,
        oldest_at=min(ends, default=None),
    )


async def _sum(
    connection: AsyncConnection, team_id: str, kind: Kind, days: int | None, now: datetime
) -> sa.Row[Any] | None:
    if days is None:
        return None
    over = sa.and_(_job.c.team_id == team_id, is_over(kind, now - timedelta(days=days)))
    columns = [
        sa.func.count(_job.c.id.distinct()).label("jobs"),
        sa.type_coerce(sa.func.min(_job.c.ended_at), _job.c.ended_at.type).label("oldest"),
    ]
    if kind is not Kind.PICTURE:
        return (await connection.execute(sa.select(*columns).where(over))).one()
    columns += [sa.func.count(_image.c.id).label("images"), sa.func.sum(_image.c.size_bytes).label("size")]
    return (await connection.execute(sa.select(*columns).join(_image, _image.c.job_id == _job.c.id).where(over))).one()


async def oldest(connection: AsyncConnection, kind: Kind, now: datetime, at_most: int) -> list[str]:
    """The jobs whose pictures, or whose prompts, are over their team's time: those that ended first come first."""
    column = _retention.c.pictures_days if kind is Kind.PICTURE else _retention.c.prompts_days
    chosen = (await connection.execute(sa.select(column).distinct().where(column.is_not(None)))).scalars().all()
    found: list[tuple[datetime, str]] = []
    for days in sorted(chosen):
        over = is_over(kind, now - timedelta(days=days))
        late = sa.exists().where(_job.c.team_id == _retention.c.team_id, over)
        # Which teams, by a look into the index for each; then each team's first in the index's own order.
        teams = (await connection.execute(sa.select(_retention.c.team_id).where(column == days, late))).scalars().all()
        for team_id in teams:
            first = sa.select(_job.c.ended_at, _job.c.id).where(_job.c.team_id == team_id, over)
            rows = await connection.execute(first.order_by(_job.c.ended_at).limit(at_most))
            found += [(row.ended_at, row.id) for row in rows]
    return [job_id for _, job_id in sorted(found)[:at_most]]


def is_over(kind: Kind, before: datetime) -> sa.ColumnElement[bool]:
    """Whether a job ended by then and still has it, and nobody is in doubt about one of its attempts."""
    erased_at = _job.c.pictures_erased_at if kind is Kind.PICTURE else _job.c.prompt_erased_at
    doubt = sa.exists().where(_attempt.c.job_id == _job.c.id, _attempt.c.outcome.in_([Outcome.OPEN, Outcome.UNKNOWN]))
    return sa.and_(erased_at.is_(None), _job.c.ended_at.is_not(None), _job.c.ended_at <= before, ~doubt)
