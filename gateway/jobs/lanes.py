"""The queue as an operator sees it: what each team has waiting and under way, and who carries it. Reads alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs.states import ENDED, State
from gateway.storage import tables

_job = tables.jobs
_worker = tables.workers
_IN_FLIGHT: Final = frozenset({State.SUBMITTING, State.RUNNING, State.ARCHIVING})


@dataclass(frozen=True)
class Lane:
    """One team's jobs that have not ended; amounts in micro-credits."""

    team_id: str
    queued: int = 0
    in_flight: int = 0
    unknown: int = 0
    #: What its waiting jobs would cost.
    waiting_micros: int = 0
    oldest_queued_at: datetime | None = None


async def lanes(connection: AsyncConnection) -> list[Lane]:
    """The lane of each team that has unfinished jobs, the longest line first."""
    rows = await connection.execute(
        sa.select(
            _job.c.team_id,
            _job.c.state,
            sa.func.count().label("jobs"),
            sa.func.min(_job.c.created_at).label("oldest_at"),
            sa.func.sum(_job.c.hold_micros).label("micros"),
        )
        .where(_job.c.state.in_(sorted(set(State) - ENDED)))
        .group_by(_job.c.team_id, _job.c.state)
    )
    states: dict[str, dict[State, sa.Row[Any]]] = {}
    for row in rows:
        states.setdefault(row.team_id, {})[State(row.state)] = row
    found = [_lane(team_id, of_team) for team_id, of_team in states.items()]
    return sorted(found, key=lambda lane: (-lane.queued, -lane.in_flight, lane.team_id))


async def crew(connection: AsyncConnection) -> Sequence[sa.Row[Any]]:
    """Each worker process that has not been struck off, the longest-serving first."""
    return (await connection.execute(sa.select(_worker).order_by(_worker.c.started_at, _worker.c.id))).all()


def _lane(team_id: str, of_team: dict[State, sa.Row[Any]]) -> Lane:
    queued = of_team.get(State.QUEUED)
    unknown = of_team.get(State.SUBMISSION_UNKNOWN)
    return Lane(
        team_id=team_id,
        queued=0 if queued is None else int(queued.jobs),
        in_flight=sum(int(row.jobs) for state, row in of_team.items() if state in _IN_FLIGHT),
        unknown=0 if unknown is None else int(unknown.jobs),
        waiting_micros=0 if queued is None else int(queued.micros or 0),
        oldest_queued_at=None if queued is None else queued.oldest_at,
    )
