"""What the sweeps ask each second is found by an index, however many jobs there are."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from gateway import ids
from gateway.jobs import evidence, keeping, liveness, polling, sweep
from gateway.jobs.outcomes import Outcome
from gateway.jobs.states import State
from gateway.storage import outbox, tables
from tests.support.rig import MODEL, Rig

JOBS = 4_000


async def test_deadlines_are_found_by_their_index(rig: Rig) -> None:
    """Among thousands of jobs, ended and queued, the late ones are looked up in the index of deadlines."""
    now = rig.house.clock.now()
    rows = [
        {
            "id": ids.job(),
            "team_id": rig.caller.team_id,
            "key_id": rig.caller.key_id,
            "model": MODEL,
            "model_version": "1",
            "parameters": {},
            "state": State.QUEUED if number % 2 else State.COMPLETED,
            "hold_micros": 0,
            "created_at": now - timedelta(seconds=number),
            "due_at": now,
            # Three of those that are queued are late.
            "queue_deadline_at": now + timedelta(seconds=number - 6),
        }
        for number in range(JOBS)
    ]
    async with rig.house.database.write() as tx:
        await tx.execute(tables.jobs.insert(), rows)
        await tx.execute(sa.text("ANALYZE"))
    explain = "EXPLAIN QUERY PLAN " if rig.house.database.dialect == "sqlite" else "EXPLAIN "
    async with rig.house.database.read() as connection:
        asked = sweep.past_deadline(now)
        late = (await connection.execute(asked)).all()
        spelled = str(asked.compile(connection.sync_engine, compile_kwargs={"literal_binds": True}))
        plan = "\n".join(str(row) for row in await connection.exec_driver_sql(explain + spelled.replace("%", "%%")))
    assert len(late) == 3
    assert "ix_jobs_state_deadline" in plan, plan


@contextmanager
def overheard() -> Iterator[dict[str, Any]]:
    """Each statement that asks or changes something, with the last values it had."""
    asked: dict[str, Any] = {}

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, _context: Any, _many: Any) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            asked[statement] = values

    event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(sa.Engine, "before_cursor_execute", note)


async def fill(rig: Rig) -> None:
    """A long history of finished jobs and told webhooks, and one job in each of the states that sweeps care for."""
    now = rig.house.clock.now()
    jobs, tries, told = [], [], []
    for number in range(JOBS):
        at = now - timedelta(days=2, seconds=number)
        job = {"id": ids.job(), "team_id": rig.caller.team_id, "key_id": rig.caller.key_id, "model": MODEL}
        state = {1: State.FAILED, 2: State.CANCELLED}.get(number % 50, State.COMPLETED)
        rest = {"model_version": "1", "parameters": {}, "state": state, "hold_micros": 0, "ended_at": at}
        jobs.append({**job, **rest, "created_at": at, "due_at": at, "queue_deadline_at": at})
        known = {"upstream_job_id": job["id"], "answered_at": at, "hold_micros": 0, "quiet_at": at, "opened_at": at}
        tries.append({"job_id": job["id"], "number": 1, "claim": "c", "worker_id": "w", "outcome": "accepted", **known})
        row = {"id": ids.message(), "team_id": job["team_id"], "job_id": job["id"], "version": 1, "url": "https://t"}
        when = {"created_at": at, "due_at": at, "round_at": at, "ended_at": at}
        told.append({**row, "type": "job.completed", "state": "delivered", **when})
    for table, rows in ((tables.jobs, jobs), (tables.attempts, tries), (outbox.deliveries, told)):
        for start in range(0, JOBS, 1000):
            async with rig.house.database.write() as tx:
                await tx.execute(table.insert(), rows[start : start + 1000])
    early = now - timedelta(minutes=5)
    async with rig.house.database.write() as tx:
        living = {State.RUNNING: "accepted_at", State.ARCHIVING: "finished_upstream_at", State.SUBMISSION_UNKNOWN: ""}
        for (state, moment), row in zip(living.items(), jobs, strict=False):
            values = {"state": state, "ended_at": None, **({moment: early} if moment else {"submitted_at": early})}
            await tx.execute(tables.jobs.update().where(tables.jobs.c.id == row["id"]).values(**values))
        unknown = tables.attempts.update().where(tables.attempts.c.job_id == jobs[2]["id"])
        late = {"quiet_at": now + timedelta(minutes=5), "upstream_job_id": None, "answered_at": None}
        await tx.execute(unknown.values(outcome=Outcome.UNKNOWN, opened_at=early, **late))
    async with rig.house.database.write() as tx:
        await tx.execute(sa.text("ANALYZE"))


async def test_no_sweep_walks_through_the_history(rig: Rig) -> None:
    """Whatever a worker asks each second is found by indexes, though everything that ever ended is still there."""
    await fill(rig)
    await rig.order()
    with overheard() as asked:
        for each in (*sweep.ALL.values(), sweep.dead_workers(liveness.Watch(rig.shop.clock))):
            await each(rig.shop)
        await evidence.look(rig.shop)
        await polling.poll(rig.shop, "")
        await keeping.keep(rig.shop, "")
    lite = rig.house.database.dialect == "sqlite"
    walk = re.compile(r"(SCAN|Seq Scan on) (jobs|attempts|deliveries)\b")
    plans: dict[str, str] = {}
    async with rig.house.database.write() as tx:
        for statement, values in asked.items():
            explained = await tx.exec_driver_sql(("EXPLAIN QUERY PLAN " if lite else "EXPLAIN ") + statement, values)
            plans[statement] = "\n".join(str(tuple(row)) for row in explained)
    assert len(plans) > 30
    assert {statement: plan for statement, plan in plans.items() if walk.search(plan)} == {}
