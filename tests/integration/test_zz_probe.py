from datetime import timedelta
import sqlalchemy as sa
from sqlalchemy import event
from gateway import ids
from gateway.jobs import sweep, liveness, polling, keeping, evidence, books, delivery
from gateway.jobs.states import State
from gateway.storage import tables, outbox
from tests.support.rig import MODEL, Rig
from tests.integration.conftest import rig  # noqa

async def test_probe(rig: Rig) -> None:
    now = rig.house.clock.now()
    N=20000
    rows=[{"id": ids.job(),"team_id": rig.caller.team_id,"key_id": rig.caller.key_id,"model": MODEL,"model_version": "1","parameters": {},
     "state": State.COMPLETED if n%50 else (State.QUEUED if n%100 else State.FAILED), "error_code": None if n%50 or n%100 else "upstream_failed","hold_micros":0,"created_at": now-timedelta(seconds=n),"due_at": now,"queue_deadline_at": now+timedelta(seconds=n+60),"ended_at": now-timedelta(seconds=n),
     "claim":None,"claimed_by":None} for n in range(N)]
    atts=[{"job_id": r["id"],"number":1,"claim":"c","worker_id":"w","opened_at":r["created_at"],"quiet_at":now,"outcome":"accepted","hold_micros":0,"upstream_job_id":r["id"],"answered_at":now} for r in rows]
    dels=[{"id": ids.message(),"team_id":rig.caller.team_id,"job_id":r["id"],"version":1,"type":"job.completed","url":"u","state":"delivered","created_at":now,"due_at":now,"round_at":now,"ended_at":now,"provisional":False} for r in rows]
    for s in range(0,N,500):
        async with rig.house.database.write() as tx:
            await tx.execute(tables.jobs.insert(), rows[s:s+500])
            await tx.execute(tables.attempts.insert(), atts[s:s+500])
            await tx.execute(outbox.deliveries.insert(), dels[s:s+500])
    async with rig.house.database.write() as tx:
        await tx.execute(tables.jobs.update().where(tables.jobs.c.id==rows[1]["id"]).values(state=State.RUNNING, upstream_job_id="x", accepted_at=now, due_at=now))
        await tx.execute(tables.attempts.update().where(tables.attempts.c.job_id==rows[3]["id"]).values(outcome="unknown", opened_at=now-timedelta(minutes=5)))
        await tx.execute(tables.jobs.update().where(tables.jobs.c.id==rows[3]["id"]).values(state=State.SUBMISSION_UNKNOWN, submitted_at=now))
    async with rig.house.database.write() as tx:
        await tx.execute(sa.text("ANALYZE"))
    seen=[]
    db=rig.house.database
    def note(conn,cursor,statement,parameters,context,executemany):
        if not executemany and not statement.startswith("EXPLAIN"): seen.append((name,statement,parameters))
    engs={id(e.sync_engine):e.sync_engine for e in (db._reader,db._writer)}
    for e in engs.values(): event.listen(e,"before_cursor_execute",note)
    for name,each in {**sweep.ALL,"dead":sweep.dead_workers(liveness.Watch(rig.shop.clock))}.items():
        await each(rig.shop)
    name="poll"; await polling.poll(rig.shop,"x")
    name="keep"; await keeping.keep(rig.shop,"x")
    name="evidence"; await evidence.look(rig.shop)
    name="books"
    async with db.read() as c: await books.snapshot(c, now)
    for e in engs.values(): event.remove(e,"before_cursor_execute",note)
    pg=db.dialect=="postgresql"; done=set()
    for nm,st,pa in seen:
        if st in done or st.split()[0] not in ("SELECT","UPDATE","WITH","DELETE"): continue
        done.add(st)
        async with db.write() as c:
            try:
                plan="\n".join(str(tuple(r)) if not pg else r[0] for r in await c.exec_driver_sql(("EXPLAIN " if pg else "EXPLAIN QUERY PLAN ")+st,pa))
            except Exception as e:
                print("??",nm,type(e).__name__,st[:100]); continue
        import re
        bad = re.search(r"Seq Scan on (jobs|attempts|deliveries|images|ledger_entries)",plan) if pg else re.search(r"SCAN (jobs|attempts|deliveries|images|ledger_entries)(?! USING (COVERING )?INDEX)",plan)
        idx = None if pg else re.search(r"SCAN (jobs|attempts|deliveries)",plan)
        if bad or idx: print("####",db.dialect,nm,"\n",st[:600],"\n",plan)
