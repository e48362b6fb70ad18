"""The books: what SQL says at this moment about jobs and credits, for one scrape. Reads; counts nothing itself.

The counters are rows that grew in the transactions of what they count, so a crash neither loses nor doubles a credit
and the answer is the same whichever process gives it.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import erasing, lookup
from gateway.jobs.states import ENDED, State
from gateway.ledger import budgets, entries
from gateway.ledger.budgets import Standing
from gateway.reuse import hits
from gateway.storage import tables
from gateway.telemetry.books import Books

_job = tables.jobs
_account = tables.upstream_account
_IN_FLIGHT = (State.SUBMITTING, State.SUBMISSION_UNKNOWN, State.RUNNING)


async def snapshot(connection: AsyncConnection, now: datetime) -> Books:
    """The books now. Ended jobs are counted from the counters, not from their rows, which grow for ever."""
    states = {state.value: 0 for state in State if state not in ENDED}
    living = await connection.execute(
        sa.select(_job.c.state, sa.func.count()).where(_job.c.state.in_(list(states))).group_by(_job.c.state)
    )
    states |= {row[0]: row[1] for row in living}
    queued = await connection.execute(
        sa.select(_job.c.team_id, sa.func.min(_job.c.created_at))
        # Who follows another job waits for that one's end, however short the line is.
        .where(_job.c.state == State.QUEUED, _job.c.follows.is_(None))
        .group_by(_job.c.team_id)
    )
    outcomes = (await connection.execute(sa.select(tables.outcomes))).all()
    spending = (await connection.execute(sa.select(tables.spending))).all()
    spent = {(row.team_id, row.model): row.charged_micros for row in spending}
    saved = await hits.sums(connection)
    standings = await budgets.everyone(connection, now)
    return Books(
        jobs_in_state=states,
        oldest_queued_s={row[0]: max((now - row[1]).total_seconds(), 0.0) for row in queued},
        upstream_jobs_in_flight=sum(states[state] for state in _IN_FLIGHT),
        submission_unknown_jobs=states[State.SUBMISSION_UNKNOWN],
        upstream_credits_remaining_micros=await lookup.balance_seen(connection),
        credits_held_micros=await _held(connection, now),
        upstream_drift_micros=(await connection.execute(sa.select(_account.c.drift_micros))).scalar_one(),
        credits_spent_micros=spent,
        credits_refunded_micros={(row.team_id, row.model): row.refunded_micros for row in spending},
        # There at 0 from the first hold on, so that the first saving is seen as a rise.
        credits_saved_micros=dict.fromkeys(spent, 0) | {who: micros for who, (_, micros) in saved.items()},
        budget_limit_micros={_window(each): each.budget.limit_micros for each in standings},
        budget_used_micros={_window(each): each.spent_micros + each.held_micros for each in standings},
        erasures_pending=await erasing.pending(connection),
        nearest_expiry_s=await _nearest_expiry_s(connection, now),
        images_lost=sum(row.images_lost for row in outcomes),
        jobs={(row.team_id, row.model, row.outcome): row.jobs for row in outcomes},
    )


async def _nearest_expiry_s(connection: AsyncConnection, now: datetime) -> float | None:
    expiry = sa.select(sa.func.min(_job.c.results_expire_at)).where(_job.c.state == State.ARCHIVING)
    nearest_at: datetime | None = (await connection.execute(expiry)).scalar_one()
    return None if nearest_at is None else (nearest_at - now).total_seconds()


async def _held(connection: AsyncConnection, now: datetime) -> dict[tuple[str, str], int]:
    windows = entries.windows(now)
    names = {"total": "total", windows.month: "month", windows.day: "day"}
    balance = tables.balances
    rows = await connection.execute(
        sa.select(balance.c.team_id, balance.c.period, balance.c.held_micros).where(
            balance.c.key_id == "", balance.c.period.in_(list(names))
        )
    )
    return {(row.team_id, names[row.period]): row.held_micros for row in rows}


def _window(standing: Standing) -> tuple[str, str]:
    return (standing.budget.team_id, standing.budget.window.value)
