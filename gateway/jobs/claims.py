"""Taking work: the claim in SQL is the only lock. Guards who works on a job, never the booking of an answer.

A claim is a token in the job's row. It ends with the step, or when a sweep finds its worker dead. A statement that
acts on a claim names its token, so that a worker which lost its claim without knowing does nothing.

Which queued job is next: of the team whose turn it is (``turns``), the one of the highest priority that was accepted
first. Teams, keys, models and batches that may not send now are passed over; theirs wait.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
import stamina
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, ids
from gateway.jobs import pauses, record, turns
from gateway.jobs.parts import Shop
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.jobs.turns import Contender
from gateway.storage import batch_tables, schema, tables

#: After this long a job upstream no longer counts against the concurrency: it may never end.
SLOT_LIFE = timedelta(minutes=15)
#: So many POSTs may wait for their answers at once, more only with very many slots: an outage that begins cannot make
#: more doubts than that before it is noticed.
MOST_UNANSWERED = 5
_SLOTS_FOR_ONE_UNANSWERED = 100
#: A job whose step broke off for no reason that is known would break off again, and is first in its line: the others
#: go before it for this long.
SET_ASIDE = timedelta(minutes=1)
#: So long the claim of a step that was cancelled is tried to be given back.
_LAST_WORD_S = 1.0

_job = tables.jobs
_team = tables.teams
_batch = batch_tables.batches
_key = tables.api_keys


@dataclass(frozen=True)
class Outlook:
    """Whether asking for a queued job makes sense now."""

    #: Some queued job could be taken, a slot is free, and submitting does not rest.
    open: bool
    #: The breaker's rest is over, and nobody has tried the upstream since.
    trial: bool


@dataclass(frozen=True)
class _Flights:
    """The jobs that take a slot, counted; ``of`` has each team's, each batch's, and each key's by its chain's first."""

    total: int
    on_their_way: int
    of: Mapping[str, int]


async def outlook(connection: AsyncConnection, slots: int, now: datetime) -> Outlook:
    """A look before the leap: no lock is taken and nothing is promised."""
    account = (await connection.execute(_account_and_line(), {"now": now})).one()
    # Most looks come when the line is empty: then nothing else is asked.
    contenders = await _contenders(connection, account, slots, now, at_most=1) if account.waits else []
    return Outlook(open=bool(contenders), trial=account.breaker_failures > 0)


async def call_next(shop: Shop, hint: str) -> None:
    """Nudge for the next queued job, if any may be taken; to be called when what made room for it is committed.

    One that is queued later has a nudge of its own, whose look sees the room.
    """
    try:
        async with shop.database.read() as connection:
            waits = (await connection.execute(sa.select(_waits()), {"now": shop.clock.now()})).scalar_one()
    except errors.StoreUnavailable:
        waits = True
    if waits:
        await shop.queue.submit(hint=hint)


@lru_cache
def _waits() -> sa.Exists:
    """Whether any queued job is due and free."""
    now = sa.bindparam("now", type_=_job.c.due_at.type)
    return sa.exists().where(_job.c.state == State.QUEUED, _job.c.claim.is_(None), _job.c.due_at <= now)


@lru_cache
def _account_and_line() -> sa.Select[Any]:
    return sa.select(tables.upstream_account, _waits().label("waits"))


async def take_queued(shop: Shop, now: datetime) -> Job | None:
    """Claim the queued job whose turn it is, if a slot is free and submitting does not rest.

    The account's row is locked first, so that two workers cannot take the same last slot or the same turn.
    """
    async with shop.database.write() as tx:
        account = await schema.lock_account(tx)
        for contender in turns.line(await _contenders(tx, account, shop.concurrency, now)):
            # One that is being cancelled this very moment is locked: then it is the next team's turn.
            job = await _mark(tx, shop, contender.job_id, State.QUEUED, now)
            if job is not None:
                await _take_turn(tx, contender)
                return job
        return None


async def _contenders(
    connection: AsyncConnection,
    account: sa.Row[tuple[object, ...]],
    slots: int,
    now: datetime,
    at_most: int | None = None,
) -> list[Contender]:
    """The teams that may send now, each by its next job; at most so many of them, in no order."""
    if _resting(account, now):
        return []
    flights = await _in_flight(connection, now)
    # While the breaker has not closed, or the account was refused, one on its way is the trial, and takes every slot.
    trying = account.breaker_failures or account.pause_reason
    at_once = 1 if trying else max(MOST_UNANSWERED, slots // _SLOTS_FOR_ONE_UNANSWERED)
    if flights.total >= slots or flights.on_their_way >= at_once:
        return []
    paused = await pauses.standing(connection)
    if paused.everything:
        return []
    full, batches = await _full(connection, flights)
    shut = {
        "teams": sorted(paused.teams | full),
        "keys": sorted(full),
        "models": sorted(paused.models),
        "batches": sorted(batches),
    }
    rows = await connection.execute(_next_jobs(at_most), {**shut, "now": now})
    return [
        Contender(
            team_id=row.team_id,
            owed_micros=row.turn_micros,
            cost_micros=turns.cost(row.hold_micros, row.attempt),
            job_id=row.id,
            since=row.created_at,
        )
        for row in rows
    ]


def _resting(account: sa.Row[tuple[object, ...]], now: datetime) -> bool:
    return any(until is not None and until > now for until in (account.paused_until, account.breaker_until))


async def _in_flight(connection: AsyncConnection, now: datetime) -> _Flights:
    """What takes a slot: jobs upstream, on their way there, or claimed to be sent. Never looks at all queued jobs."""
    total, on_their_way, of = 0, 0, Counter[str]()
    for row in await connection.execute(_taking_slots(), {"since": now - SLOT_LIFE}):
        total += row.jobs
        on_their_way += row.jobs if row.state in (State.QUEUED, State.SUBMITTING) else 0
        of.update({row.team_id: row.jobs, row.key_id: row.jobs})
        if row.batch_id is not None:
            of[row.batch_id] += row.jobs
    return _Flights(total, on_their_way, of)


# Statements of every claim are made once: building one costs SQLAlchemy more than PostgreSQL takes to answer it.
@lru_cache
def _taking_slots() -> sa.CompoundSelect[Any]:
    since = sa.bindparam("since", type_=_job.c.accepted_at.type)
    sent = sa.or_(
        _job.c.state == State.SUBMITTING,
        sa.and_(_job.c.state == State.SUBMISSION_UNKNOWN, _job.c.submitted_at > since),
        sa.and_(_job.c.state == State.RUNNING, _job.c.accepted_at > since),
    )
    first = sa.func.coalesce(_key.c.lineage, _key.c.id)
    owner = (_job.c.team_id, first.label("key_id"), _job.c.batch_id, _job.c.state)
    job_with_key = _job.join(_key, _key.c.id == _job.c.key_id)
    states = [State.SUBMITTING, State.SUBMISSION_UNKNOWN, State.RUNNING]
    upstream = (
        sa.select(*owner, sa.func.count().label("jobs"))
        .select_from(job_with_key)
        .where(_job.c.state.in_(states), sent)
        .group_by(_job.c.team_id, first, _job.c.batch_id, _job.c.state)
    )
    # Asked by the claim alone: with a condition on the state SQLite would walk through the whole queue.
    queued = sa.case((_job.c.state == State.QUEUED, 1), else_=0)
    claimed = sa.select(*owner, queued.label("jobs")).select_from(job_with_key).where(_job.c.claimed_by > "")
    return sa.union_all(upstream, claimed)


async def _full(connection: AsyncConnection, flights: _Flights) -> tuple[frozenset[str], frozenset[str]]:
    """The teams and keys that have as many jobs in flight as they may, and the batches, by id; one question for all.

    Of a batch that was taken back none may be.
    """
    full = [row for row in await connection.execute(_limits()) if flights.of.get(row.counted, 0) >= row.concurrency]
    return frozenset(row.id for row in full if not row.batch), frozenset(row.id for row in full if row.batch)


@lru_cache
def _limits() -> sa.CompoundSelect[Any]:
    first = sa.func.coalesce(_key.c.lineage, _key.c.id)
    at_most = sa.case((_batch.c.cancelled_at.is_(None), _batch.c.concurrency), else_=0)
    return sa.union_all(
        sa.select(_team.c.id, _team.c.id.label("counted"), _team.c.concurrency, sa.false().label("batch")).where(
            _team.c.concurrency.is_not(None)
        ),
        sa.select(_key.c.id, first, _key.c.concurrency, sa.false()).where(_key.c.concurrency.is_not(None)),
        sa.select(_batch.c.id, _batch.c.id, at_most, sa.true()).where(_batch.c.finished_at.is_(None)),
    )


@lru_cache
def _next_jobs(at_most: int | None) -> sa.Select[Any]:
    """Each team's next job, but of those who are passed over, by two looks into ``ix_jobs_team_state``.

    One is for its highest priority, one for the oldest of that: the index cannot give both at once, since one goes
    down and the other up.
    """
    highest, oldest = _job.alias(), _job.alias()

    def free(job: sa.FromClause) -> sa.ColumnElement[bool]:
        of_none = job.c.batch_id.is_(None)
        return sa.and_(
            sa.or_(of_none, job.c.batch_id.not_in(_any_of("batches"))),
            job.c.team_id == _team.c.id,
            job.c.state == State.QUEUED,
            job.c.claim.is_(None),
            job.c.due_at <= sa.bindparam("now"),
            job.c.key_id.not_in(_any_of("keys")),
            job.c.model.not_in(_any_of("models")),
        )

    priority = (
        sa.select(highest.c.priority)
        .where(free(highest))
        .order_by(highest.c.priority.desc(), highest.c.created_at.desc())
        .limit(1)
        .correlate(_team)
        .scalar_subquery()
    )
    job_id = (
        sa.select(oldest.c.id)
        # None is above the highest. Said so, the order is the index's, and no planner walks through the team's history.
        .where(free(oldest), oldest.c.priority >= priority)
        .order_by(oldest.c.priority, oldest.c.created_at, oldest.c.id)
        .limit(1)
        .correlate(_team)
        .scalar_subquery()
    )
    teams = sa.select(_team.c.turn_micros, job_id.label("job_id")).where(_team.c.id.not_in(_any_of("teams")))
    following = teams.cte("following").prefix_with("MATERIALIZED")
    columns = (_job.c.team_id, _job.c.id, _job.c.hold_micros, _job.c.attempt, _job.c.created_at)
    found = sa.select(following.c.turn_micros, *columns).join_from(following, _job, _job.c.id == following.c.job_id)
    return found.limit(at_most)


def _any_of(name: str) -> sa.BindParameter[Any]:
    return sa.bindparam(name, expanding=True)


async def _take_turn(tx: AsyncConnection, taken: Contender) -> None:
    """Write what every team owes now; rows are locked by id, and only after the job's."""
    rows = await tx.execute(_owing(), {"taken_id": taken.team_id})
    owed = {row.id: row.turn_micros for row in rows}
    for team_id, micros in turns.debts(owed, taken).items():
        if micros != owed[team_id]:
            await _owe(tx, team_id, micros)


@lru_cache
def _owing() -> sa.Select[Any]:
    owing = sa.or_(_team.c.turn_micros > 0, _team.c.id == sa.bindparam("taken_id"))
    return sa.select(_team.c.id, _team.c.turn_micros).where(owing).order_by(_team.c.id).with_for_update(key_share=True)


async def give_turn_back(tx: AsyncConnection, job: Job) -> None:
    """Take back what a claim's turn cost: nothing was sent. The job is as it was claimed."""
    owed = (
        await tx.execute(
            sa.select(_team.c.turn_micros).where(_team.c.id == job.team_id).with_for_update(key_share=True)
        )
    ).scalar_one()
    await _owe(tx, job.team_id, turns.less(owed, turns.cost(job.hold_micros, job.attempt)))


async def _owe(tx: AsyncConnection, team_id: str, micros: int) -> None:
    await tx.execute(_team.update().where(_team.c.id == team_id).values(turn_micros=micros))


async def take_first(shop: Shop, job_ids: Sequence[str], state: State, now: datetime) -> Job | None:
    """Claim the first of these jobs that can still be taken."""
    async with shop.database.write() as tx:
        for job_id in job_ids:
            job = await _mark(tx, shop, job_id, state, now)
            if job is not None:
                return job
    return None


async def _mark(tx: AsyncConnection, shop: Shop, job_id: str, state: State, now: datetime) -> Job | None:
    values = {"job_id": job_id, "in_state": state, "now": now, "token": ids.claim(), "worker_id": shop.worker_id}
    row = (await tx.execute(_marking(), values)).first()
    return None if row is None else record.job(row)


@lru_cache
def _marking() -> Any:  # noqa: ANN401  SQLAlchemy does not hand out its type
    now = sa.bindparam("now", type_=_job.c.due_at.type)
    free = (
        sa.select(_job.c.id)
        .where(
            _job.c.id == sa.bindparam("job_id"),
            _job.c.state == sa.bindparam("in_state"),
            _job.c.claim.is_(None),
            _job.c.due_at <= now,
        )
        .with_for_update(skip_locked=True)
    )
    return (
        _job.update()
        .where(_job.c.id.in_(free))
        .values(claim=sa.bindparam("token"), claimed_by=sa.bindparam("worker_id"), claimed_at=now)
        .returning(_job)
    )


@asynccontextmanager
async def held(shop: Shop, job: Job) -> AsyncIterator[None]:
    """Give the claim back, until that is written, when the step breaks off before its own last statement.

    What the store broke off, or was cancelled, can be taken at once, anything else only after ``SET_ASIDE``.
    """
    try:
        yield
    except asyncio.CancelledError:
        # The process is ending and waits for nobody: what cannot be written in a moment a sweep will free.
        with contextlib.suppress(errors.StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_LAST_WORD_S):
                await give_back(shop, job)
        raise
    except Exception as error:
        due_at = None if isinstance(error, errors.StoreUnavailable) else shop.clock.now() + SET_ASIDE
        async for attempt in stamina.retry_context(
            on=errors.StoreUnavailable, attempts=None, timeout=None, wait_initial=0.1, wait_max=5.0
        ):
            with attempt:
                await give_back(shop, job, due_at)
        raise


async def give_back(shop: Shop, job: Job, due_at: datetime | None = None) -> None:
    """End a claim whose step did not come to its end, so that the job can be taken at once, or when it is due."""
    async with shop.database.write() as tx:
        freed = await tx.execute(
            _job.update()
            .where(_job.c.id == job.id, _job.c.claim == job.claim, _job.c.state == job.state)
            .values(claim=None, claimed_by=None, claimed_at=None, due_at=job.due_at if due_at is None else due_at)
        )
        if freed.rowcount and job.state is State.QUEUED:
            await give_turn_back(tx, job)
