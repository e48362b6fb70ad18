"""The attempts of which nobody knows whether the upstream took them, as evidence sees them. Decides nothing."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import attempts, outcomes
from gateway.jobs.matching import Doubt
from gateway.jobs.outcomes import Evidence, Outcome
from gateway.storage import tables
from gateway.upstream import answers

#: Settled attempts near those in doubt may be whose job a list shows, too.
_NEARBY = timedelta(minutes=10)
#: One settled as charged by the balance alone is looked for this long: its picture is paid.
_PAID_FOR = timedelta(hours=2)
#: A dead worker's POST may be answered until its deadline, by a worker that was only taken for dead.
_ANSWERED_BY = timedelta(seconds=answers.SUBMIT_DEADLINE_S + 5)
#: More than this many at once are beyond one-to-one evidence.
MOST = 1_000
_TAKEN_FOR_DEAD = frozenset({"worker_died", "no_answer_booked"})

_job = tables.jobs
_attempt = tables.attempts
_SETTLED = (Outcome.SETTLED_CHARGED, Outcome.SETTLED_FREE)


@dataclass(frozen=True)
class Known:
    """An attempt whose upstream job we know."""

    upstream_job_id: str
    opened_at: datetime
    answered_at: datetime
    looked_up: bool


async def bounds(connection: AsyncConnection, now: datetime) -> tuple[datetime, datetime] | None:
    """From when and until when the attempts in doubt can have been sent; none without any."""
    unknown = _attempt.c.outcome == Outcome.UNKNOWN
    paid = sa.and_(
        _attempt.c.outcome == Outcome.SETTLED_CHARGED,
        _attempt.c.opened_at > now - _PAID_FOR,
        _attempt.c.evidence == Evidence.BALANCE,
    )
    # Two questions: asked each second, and one with an "or" in it walks through all attempts.
    columns = (_attempt.c.opened_at, _attempt.c.quiet_at)
    found = sa.union_all(*(sa.select(*columns).where(kind) for kind in (unknown, paid))).subquery()
    row = (await connection.execute(sa.select(sa.func.min(found.c.opened_at), sa.func.max(found.c.quiet_at)))).one()
    return None if row[0] is None else (row[0], row[1] - outcomes.QUIET)


async def rivals(connection: AsyncConnection, since: datetime, now: datetime) -> list[Doubt]:
    """All attempts whose job a list may show without our knowing: unknown, under way, or settled without one."""
    # One question an outcome: an "or" between them walks through all attempts.
    kinds = [_attempt.c.outcome == outcome for outcome in (Outcome.OPEN, Outcome.UNKNOWN)]
    kinds += [sa.and_(_attempt.c.outcome == outcome, _attempt.c.opened_at >= since - _NEARBY) for outcome in _SETTLED]
    found = sa.union_all(*(sa.select(_attempt.c.job_id, _attempt.c.number).where(kind) for kind in kinds)).subquery()
    same = sa.and_(_attempt.c.job_id == found.c.job_id, _attempt.c.number == found.c.number)
    columns: tuple[sa.ColumnElement[Any], ...] = (
        *(_attempt.c[name] for name in ("job_id", "number", "outcome", "reason", "opened_at", "quiet_at")),
        *(_job.c[name] for name in ("team_id", "key_id", "model", "parameters")),
    )
    rows = await connection.execute(
        sa.select(*columns)
        .join_from(found, _attempt, same)
        .join(_job, _job.c.id == _attempt.c.job_id)
        .order_by(_attempt.c.opened_at.desc())
        .limit(MOST + 1)
    )
    return [_doubt(row, now) for row in rows]


def _doubt(row: sa.Row[Any], now: datetime) -> Doubt:
    prompt = row.parameters.get("prompt")
    order = json.dumps([row.team_id, row.key_id, row.model, row.parameters], sort_keys=True)
    still = row.outcome == Outcome.OPEN or (row.reason in _TAKEN_FOR_DEAD and now < row.opened_at + _ANSWERED_BY)
    return Doubt(
        job_id=row.job_id,
        number=row.number,
        model=row.model,
        prompt=prompt if isinstance(prompt, str) else None,
        kind=hashlib.sha256(order.encode()).hexdigest(),
        opened_at=row.opened_at,
        quiet_at=row.quiet_at,
        unknown=row.outcome == Outcome.UNKNOWN,
        ready=not still,
        by_prompt=row.reason == attempts.RESTORED and not row.parameters.get("prompt_upsampling"),
    )


async def known_since(connection: AsyncConnection, since: datetime, limit: int) -> list[Known]:
    """The attempts that the upstream took since then, newest first."""
    rows = await connection.execute(
        sa.select(_attempt.c.upstream_job_id, _attempt.c.opened_at, _attempt.c.answered_at, _attempt.c.status_code)
        .where(
            _attempt.c.outcome.in_([Outcome.ACCEPTED, Outcome.ORPHANED]),
            _attempt.c.opened_at >= since,
            _attempt.c.upstream_job_id.is_not(None),
            _attempt.c.answered_at.is_not(None),
        )
        .order_by(_attempt.c.opened_at.desc())
        .limit(limit)
    )
    return [Known(row.upstream_job_id, row.opened_at, row.answered_at, row.status_code == 0) for row in rows]


async def prompts(connection: AsyncConnection, upstream_job_ids: Sequence[str]) -> dict[str, str]:
    """The prompts that were sent for these upstream jobs, as far as they are ours and were not to be reworded."""
    found: dict[str, str] = {}
    for start in range(0, len(upstream_job_ids), 500):
        some = upstream_job_ids[start : start + 500]
        asked = sa.select(_job.c.upstream_job_id, _job.c.parameters).where(_job.c.upstream_job_id.in_(some))
        for row in await connection.execute(asked):
            prompt = row.parameters.get("prompt")
            if isinstance(prompt, str) and not row.parameters.get("prompt_upsampling"):
                found[row.upstream_job_id] = prompt
    return found


async def ours(connection: AsyncConnection, upstream_job_ids: Sequence[str]) -> set[str]:
    """Which of these upstream jobs an attempt of ours has already."""
    found: set[str] = set()
    for start in range(0, len(upstream_job_ids), 500):
        some = upstream_job_ids[start : start + 500]
        asked = sa.select(_attempt.c.upstream_job_id).where(_attempt.c.upstream_job_id.in_(some))
        found |= set((await connection.execute(asked)).scalars())
    return found
