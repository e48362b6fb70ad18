"""What the sweeps ask each second is found by an index, however many jobs there are."""

from datetime import timedelta

import sqlalchemy as sa

from gateway import ids
from gateway.jobs import sweep
from gateway.jobs.states import State
from gateway.storage import tables
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
