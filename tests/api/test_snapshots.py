"""Reading an ended job again: from Redis, with everything that could make that wrong."""

from typing import Any

import sqlalchemy as sa
from redis.asyncio import Redis

from gateway.clock import SystemClock
from gateway.jobs import lookup
from gateway.jobs.errands import Errands
from gateway.jobs.snapshots import Snapshot, Snapshots
from gateway.storage import keyspace, tables
from gateway.tenancy.scopes import Scope
from tests.api.door import Door
from tests.api.test_images import picture
from tests.support import wait

MANY = (Scope.GENERATE, Scope.READ, Scope.MANAGE)


async def kept(door: Door, redis_url: str, headers: dict[str, str]) -> tuple[str, str]:
    """A completed job that was read once, so that Redis has it: its id and its key there."""
    job_id = str((await door.run(headers)).json()["jobId"])
    await door.finish(job_id, picture())
    (row,) = [row for row in await door.rows(tables.jobs) if row["id"] == job_id]
    name = keyspace.snapshot(row["team_id"], job_id)
    async with Redis.from_url(redis_url) as redis:

        async def there() -> bool:
            assert (await door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)).status_code == 200
            return bool(await redis.hexists(name, "b"))

        await wait.until(there, timeout_s=20, what="the job is kept")
    return job_id, name


async def test_a_snapshot_says_what_sql_says_and_signs_anew(door: Door, redis_url: str) -> None:
    """With the row changed behind its back the answer is the kept one, in each member; its links work."""
    headers = await door.caller()
    job_id, _ = await kept(door, redis_url, headers)
    place = f"/api/v1/jobs/{job_id}"
    async with door.database.write() as tx:
        await tx.execute(tables.jobs.update().where(tables.jobs.c.id == job_id).values(partial=True))
    again = (await door.client.get(place, headers=headers)).json()
    assert "partial" not in again, "it was not read from Redis"
    assert (again["status"], len(again["assets"]), again["cached"]) == ("completed", 1, False)
    assert (await door.client.get(again["output"]["images"][0])).status_code == 200


async def test_the_prompt_and_links_are_not_kept(door: Door, redis_url: str) -> None:
    """Nothing of what was asked for, and no signature, lies in Redis; it lives a minute at most."""
    headers = await door.caller()
    _, name = await kept(door, redis_url, headers)
    async with Redis.from_url(redis_url) as redis:
        body = await redis.hget(name, "b")
        left_ms = await redis.pttl(name)
    (row,) = await door.rows(tables.jobs)
    assert row["parameters"]["prompt"].encode() not in body
    assert b"sig=" not in body
    assert 0 < left_ms <= 60_000


async def test_another_team_is_never_shown_it(door: Door, redis_url: str) -> None:
    """A kept job of another team is a 404, also where it lies under that team's own key by mistake."""
    headers = await door.caller()
    job_id, name = await kept(door, redis_url, headers)
    stranger = await door.team("stranger")
    _, others = await door.key(stranger)
    assert (await door.client.get(f"/api/v1/jobs/{job_id}", headers=others)).status_code == 404
    async with Redis.from_url(redis_url) as redis:
        await redis.hset(keyspace.snapshot(stranger.id, job_id), "b", await redis.hget(name, "b"))
    assert (await door.client.get(f"/api/v1/jobs/{job_id}", headers=others)).status_code == 404


async def test_a_key_without_read_asks_sql_for_its_own(door: Door, redis_url: str) -> None:
    """A key that may see its own jobs alone is not shown another key's, though Redis has it."""
    team = await door.team("caller")
    _, reads = await door.key(team)
    job_id, _ = await kept(door, redis_url, reads)
    _, generates = await door.key(team, frozenset({Scope.GENERATE}))
    assert (await door.client.get(f"/api/v1/jobs/{job_id}", headers=generates)).status_code == 404


async def test_an_erased_job_is_erased_at_the_next_reading(door: Door, redis_url: str) -> None:
    """From its erasure on no reading shows a picture, nor does a reader that asked before it and keeps it after."""
    headers = await door.caller("caller", *MANY)
    job_id, name = await kept(door, redis_url, headers)
    (row,) = await door.rows(tables.jobs)
    async with door.database.read() as connection:
        job = await lookup.find(connection, row["team_id"], job_id)
        images = await lookup.images(connection, row["team_id"], job_id)
    async with Redis.from_url(redis_url) as redis:
        snapshots = Snapshots(redis, SystemClock(), Errands(), answer_within_s=20)
        await redis.delete(name)
        looked = await snapshots.look(row["team_id"], job_id)
        assert isinstance(looked, int)
        assert (await door.client.delete(f"/api/v1/jobs/{job_id}", headers=headers)).status_code == 200
        late = snapshots.keep(job, images, looked)
        assert late is not None
        await late
        assert not isinstance(await snapshots.look(row["team_id"], job_id), Snapshot)
        await snapshots.close()
    read = (await door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)).json()
    assert (read["assets"], "erasedAt" in read) == ([], True)


async def test_what_may_end_otherwise_is_not_kept(door: Door, redis_url: str) -> None:
    """A job on its way, and one that failed as unknown, are read from SQL each time."""
    headers = await door.caller()
    job_id = str((await door.run(headers)).json()["jobId"])
    place = f"/api/v1/jobs/{job_id}"
    assert (await door.client.get(place, headers=headers)).json()["status"] == "pending"
    jobs = tables.jobs
    async with door.database.write() as tx:
        at = sa.func.coalesce(jobs.c.ended_at, jobs.c.created_at)
        values: dict[str, Any] = {
            "state": "failed",
            "error_code": "submission_unknown",
            "error_message": "lost",
            "ended_at": at,
        }
        await tx.execute(jobs.update().where(jobs.c.id == job_id).values(**values))
    assert (await door.client.get(place, headers=headers)).json()["status"] == "failed"
    async with door.database.write() as tx:
        values = {"state": "running", "error_code": None, "error_message": None, "ended_at": None}
        await tx.execute(jobs.update().where(jobs.c.id == job_id).values(**values))
    assert (await door.client.get(place, headers=headers)).json()["status"] == "processing"
    async with Redis.from_url(redis_url) as redis:
        assert await redis.keys(f"{keyspace.PREFIX}job:*") == []


async def test_a_flush_and_nonsense_cost_a_question_to_sql(door: Door, redis_url: str) -> None:
    """After FLUSHALL, and with bytes that nobody can read, a job is read as ever."""
    headers = await door.caller()
    job_id, name = await kept(door, redis_url, headers)
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
        assert len((await door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)).json()["assets"]) == 1
        await redis.delete(name)
        await redis.hset(name, mapping={"v": 99, "b": b"\xff nonsense"})
        assert len((await door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)).json()["assets"]) == 1
        await redis.delete(name)
        await redis.set(name, "of another type")
        assert len((await door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)).json()["assets"]) == 1
