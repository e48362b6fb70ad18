"""What single pages of the console show and do: batches, erasing, the cache, the ledger, and following a job."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx
import pytest

from gateway.jobs.states import State
from gateway.storage import batch_tables, reuse_tables, session_tables, tables
from tests.api.door import ADMIN_TOKEN, Door
from tests.api.test_console_routes import World
from tests.api.test_console_sessions import COOKIE, own, sign_in, token
from tests.api.test_images import picture
from tests.api.test_jobs import update
from tests.support import wait

PATIENCE_S = 30


@pytest.fixture
async def world(door: Door) -> World:
    """Give two teams and what they have."""
    made = World(door)
    await made.prepare()
    return made


async def send(world: World, path: str, **form: str) -> httpx.Response:
    """Send a form of our own pages."""
    sent = {**form, "csrf": await token(world.door)}
    return await world.door.client.post(path, data=sent, headers=own(world.door))


@asynccontextmanager
async def listening(door: Door, job_id: str) -> AsyncIterator[AsyncIterator[str]]:
    """Listen to a job as the browser does that is signed in: what is said, line by line."""
    async with (
        httpx.AsyncClient(base_url=door.base_url, trust_env=False, timeout=PATIENCE_S) as client,
        client.stream(
            "GET",
            f"/console/jobs/{job_id}/events",
            headers={"Accept": "text/event-stream", "Cookie": f"{COOKIE}={door.client.cookies[COOKIE]}"},
        ) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["x-accel-buffering"] == "no"
        yield answer.aiter_lines()


async def said(lines: AsyncIterator[str]) -> str | None:
    """The next thing that is said; none at the end."""
    async with asyncio.timeout(PATIENCE_S):
        async for line in lines:
            if line.startswith("data: "):
                return line.removeprefix("data: ")
    return None


async def test_a_page_is_told_of_each_change(world: World) -> None:
    """Whoever follows a job is told at once, at each change, and of its end; then the stream ends, and stays ended."""
    job = world.own["job"]
    await sign_in(world.door, world.keys["everything"])
    async with listening(world.door, job) as lines:
        assert await said(lines) == "changed"
        now = datetime.now(UTC)
        await update(world.door, job, state=State.RUNNING, version=3, submitted_at=now, accepted_at=now)
        assert await said(lines) == "changed"
        await update(world.door, job, version=4)
        await world.door.finish(job, picture())
        heard = [each async for each in lines if each.startswith("data: ")]
        assert heard
        assert set(heard) == {"data: changed"}
    assert (await world.door.client.get(f"/console/jobs/{job}/events")).status_code == 204
    assert world.door.waiting == 0


async def test_a_stream_keeps_no_session_awake_and_ends_with_it(world: World) -> None:
    """A page that listens is no use of its session, and hears nothing more once that is over."""
    await sign_in(world.door, world.keys["everything"])
    async with world.door.database.write() as tx:
        await tx.execute(session_tables.sessions.update().values(seen_at=datetime(2026, 1, 1, tzinfo=UTC)))
    refused = await world.door.client.get(
        f"/console/jobs/{world.own['job']}/events", headers={"Accept": "text/event-stream"}
    )
    assert refused.status_code == 303
    await sign_in(world.door, world.keys["everything"])
    before = [row["seen_at"] for row in await world.door.rows(session_tables.sessions)]
    async with listening(world.door, world.own["job"]) as lines:
        assert await said(lines) == "changed"
        assert [row["seen_at"] for row in await world.door.rows(session_tables.sessions)] == before
        async with world.door.database.write() as tx:
            await tx.execute(session_tables.sessions.delete())
        assert await said(lines) is None
    await wait.until(lambda: world.door.waiting == 0, timeout_s=10, what="nobody waits")


async def test_a_batch_is_shown_and_taken_back(world: World) -> None:
    """The pages say how its jobs stand, an item leads to its job and back, and taking it back takes all of it back."""
    batch = world.own["batch"]
    await sign_in(world.door, world.keys["generate"])
    listed = (await world.door.client.get("/console/batches")).text
    assert (batch in listed, world.foreign["batch"] in listed, "0 of 2" in listed) == (True, False, True)
    page = (await world.door.client.get(f"/console/batches/{batch}")).text
    assert "2 waiting" in page
    assert "a torii gate at night" in page
    items = [row for row in await world.door.rows(tables.jobs) if row["batch_id"] == batch]
    assert all(f"/console/jobs/{row['id']}" in page for row in items)
    assert f"/console/batches/{batch}" in (await world.door.client.get(f"/console/jobs/{items[0]['id']}")).text
    done = await send(world, f"/console/batches/{batch}/cancel")
    assert (done.status_code, done.headers["location"]) == (303, f"/console/batches/{batch}?done=batch-cancelled")
    page = (await world.door.client.get(f"/console/batches/{batch}")).text
    assert "2 taken back" in page
    assert "Take it back" not in page
    rows = {row["id"]: row for row in await world.door.rows(batch_tables.batches)}
    assert rows[batch]["finished_at"] is not None
    assert rows[world.foreign["batch"]]["cancelled_at"] is None


async def test_a_key_sees_its_own_batches_alone_without_read(world: World) -> None:
    """A key with `generate` alone finds the batches that it made, and neither sees nor takes back another key's."""
    everything = {"Authorization": f"Bearer {world.keys['everything']}"}
    body = {"model": "flux-2-max", "items": [{"prompt": "another key's"}]}
    other = (await world.door.client.post("/api/v1/batches", headers=everything, json=body)).json()["batchId"]
    await sign_in(world.door, world.keys["generate"])
    assert other not in (await world.door.client.get("/console/batches")).text
    assert (await world.door.client.get(f"/console/batches/{other}")).status_code == 404
    assert (await send(world, f"/console/batches/{other}/cancel")).status_code == 404
    for strange in ("bat_none", "x y", "%00", "<b>"):
        assert (await world.door.client.get(f"/console/batches/{strange}")).status_code == 404, strange
    await sign_in(world.door, world.keys["read"])
    assert other in (await world.door.client.get("/console/batches")).text


async def test_a_job_is_erased_by_who_says_so_twice(world: World) -> None:
    """Erasing asks for a tick, leaves no prompt and no picture on any page, and is in the audit log with who did it."""
    everything = {"Authorization": f"Bearer {world.keys['everything']}"}
    prompt = "a very private torii gate"
    job = (await world.door.run(everything, {"prompt": prompt})).json()["jobId"]
    image = await world.door.finish(job, picture())
    await sign_in(world.door, world.keys["everything"])
    assert prompt in (await world.door.client.get(f"/console/jobs/{job}")).text
    assert (await send(world, f"/console/jobs/{job}/erase")).status_code == 400
    assert prompt in (await world.door.client.get(f"/console/jobs/{job}")).text
    assert (await send(world, f"/console/jobs/{job}/erase", sure="yes")).status_code == 303
    for path in (f"/console/jobs/{job}", "/console/jobs", "/console/gallery", "/console"):
        page = (await world.door.client.get(path)).text
        assert (prompt in page, image in page) == (False, False), path
    page = (await world.door.client.get(f"/console/jobs/{job}")).text
    assert "are not kept any more" in page
    assert "Erase it" not in page
    assert (await world.door.client.get(f"/console/pictures/{image}")).status_code == 404
    (noted,) = [row for row in await world.door.rows(tables.audit) if row["action"] == "job.erase"]
    assert noted["actor"].startswith("key ")
    await update(world.door, world.own["job"], state=State.RUNNING, version=3)
    refused = await send(world, f"/console/jobs/{world.own['job']}/erase", sure="yes")
    assert (refused.status_code, "can be erased once it has ended" in refused.text) == (409, True)
    await sign_in(world.door, world.keys["read"])
    assert "Erase it" not in (await world.door.client.get(f"/console/jobs/{world.own['job']}")).text


async def keep(world: World, team: str, model: str) -> str:
    """Have an answer in the cache, for a job of that team; the job."""
    named = {"own": world.own, "foreign": world.foreign}[team]
    image = next(row for row in await world.door.rows(tables.images) if row["id"] == named["image"])
    now = datetime.now(UTC)
    entry = reuse_tables.cache_entries
    async with world.door.database.write() as tx:
        await tx.execute(
            entry.insert().values(
                scope=image["team_id"],
                fingerprint=hashlib.sha256(f"{team} {model}".encode()).hexdigest(),
                team_id=image["team_id"],
                model=model,
                job_id=image["job_id"],
                version=1,
                cost_micros=2_000_000,
                created_at=now,
                checked_at=now,
            )
        )
    return str(image["job_id"])


async def test_a_team_takes_out_of_its_own_cache_alone(world: World) -> None:
    """A key with `manage` sees what its team keeps and takes it out, and no other team's; an operator takes any."""
    job = await keep(world, "own", "flux-2-max")
    await keep(world, "own", "flux-2-dev")
    await keep(world, "foreign", "flux-2-max")
    await sign_in(world.door, world.keys["manage"])
    page = (await world.door.client.get("/console/cache")).text
    assert ("flux-2-dev" in page, "foreign" in page) == (True, False)
    done = await send(world, "/console/cache/purge", model="flux-2-dev", owner="foreign", team="foreign", all="yes")
    assert done.headers["location"] == "/console/cache?purged=1&left=all"
    assert "1 answer taken out" in (await world.door.client.get(done.headers["location"])).text
    assert (await send(world, "/console/caches/purge", all="yes")).status_code == 403
    await sign_in(world.door, ADMIN_TOKEN)
    page = (await world.door.client.get("/console/caches")).text
    assert ("foreign" in page, "own" in page) == (True, True)
    assert (await send(world, "/console/caches/purge")).status_code == 400
    assert (await send(world, "/console/caches/purge", job=job)).headers["location"].endswith("purged=1&left=all")
    left = {row["team_id"] for row in await world.door.rows(reuse_tables.cache_entries)}
    assert len(left) == 1
    assert (await send(world, "/console/caches/purge", owner="foreign")).headers["location"].endswith("1&left=all")
    assert await world.door.rows(reuse_tables.cache_entries) == []


async def test_the_ledger_says_where_each_credit_went(world: World) -> None:
    """An operator reads the entries of all, of a team, a job and a kind; amounts that came back stand with a minus."""
    await sign_in(world.door, ADMIN_TOKEN)
    whole = (await world.door.client.get("/console/ledger")).text
    assert world.own["job"] in whole
    assert world.foreign["job"] in whole
    of_team = (await world.door.client.get("/console/ledger?team=own")).text
    assert (world.own["job"] in of_team, world.foreign["job"] in of_team) == (True, False)
    released = (await world.door.client.get("/console/ledger?team=own&kind=release")).text
    assert "&minus;2" in released
    assert world.own["job"] not in released
    of_job = (await world.door.client.get("/console/ledger", params={"job": world.own["job"]})).text
    assert of_job.count('data-label="Kind"') == 1
    assert "No entry" in (await world.door.client.get("/console/ledger?job=job_none")).text
