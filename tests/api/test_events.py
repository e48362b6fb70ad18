"""A job's events: what comes, in which order, from where on, and when the stream ends."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from gateway.jobs.states import State
from gateway.storage import tables
from gateway.tenancy.scopes import Scope
from service import events
from tests.api.door import Door
from tests.api.test_images import picture
from tests.api.test_jobs import update
from tests.support import wait

PATIENCE_S = 30


@dataclass(frozen=True)
class Event:
    """One event as it came."""

    name: str
    id: str
    job: dict[str, Any]


class Stream:
    """What is heard of a job."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def block(self) -> list[str] | None:
        """The lines up to the next empty one; none at the end of the stream."""
        lines: list[str] = []
        async with asyncio.timeout(PATIENCE_S):
            async for line in self._lines:
                if not line and lines:
                    return lines
                lines += [line] if line else []
        return None

    async def event(self) -> Event | None:
        """The next event; none at the end of the stream."""
        while lines := await self.block():
            fields = dict(line.split(": ", 1) for line in lines)
            if "data" in fields:
                return Event(fields["event"], fields["id"], json.loads(fields["data"]))
        return None


@asynccontextmanager
async def listening(door: Door, headers: dict[str, str], job_id: str, last: str | None = None) -> AsyncIterator[Stream]:
    """Listen to a job."""
    more = {} if last is None else {"Last-Event-ID": last}
    async with (
        httpx.AsyncClient(base_url=door.base_url, trust_env=False, timeout=PATIENCE_S) as client,
        client.stream("GET", f"/api/v1/jobs/{job_id}/events", headers={**headers, **more}) as answer,
    ):
        yield Stream(answer)


async def test_each_change_comes_and_then_the_result(any_door: Door) -> None:
    """The present state comes at once, then each change, then the result with its pictures, and then the end."""
    headers = await any_door.caller()
    job_id = (await any_door.run(headers)).json()["jobId"]
    async with listening(any_door, headers, job_id) as stream:
        assert stream.answer.headers["X-Accel-Buffering"] == "no"
        assert stream.answer.headers["Content-Type"].startswith("text/event-stream")
        heard = [await stream.event()]
        for state, version in ((State.SUBMITTING, 2), (State.RUNNING, 3)):
            now = datetime.now(UTC)
            await update(any_door, job_id, state=state, version=version, submitted_at=now, accepted_at=now)
            heard.append(await stream.event())
        await update(any_door, job_id, version=4)
        await any_door.finish(job_id, picture())
        last = await stream.event()
        while last is not None and last.name == "state":
            last = await stream.event()
        assert await stream.event() is None
    assert [(event.name, event.id, event.job["state"]) for event in heard if event] == [
        ("state", "1", "queued"),
        ("state", "2", "submitting"),
        ("state", "3", "running"),
    ]
    assert last is not None
    assert (last.name, last.job["status"], len(last.job["output"]["images"])) == ("result", "completed", 1)
    read = (await any_door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)).json()
    assert last.job.keys() == read.keys()
    assert any_door.waiting == 0


async def test_who_comes_back_hears_what_is_new(door: Door) -> None:
    """After `Last-Event-ID` nothing is told twice; the last event of all is answered with 204 and no stream."""
    headers = await door.caller()
    job_id = (await door.run(headers)).json()["jobId"]
    async with listening(door, headers, job_id, last="1") as stream:
        await wait.until(lambda: door.waiting == 1, timeout_s=10, what="the stream waits")
        await update(door, job_id, state=State.RUNNING, version=3)
        heard = await stream.event()
        assert heard is not None
        assert heard.id == "3"
    await door.client.post(f"/api/v1/jobs/{job_id}/cancel", headers=headers)
    await update(door, job_id, state=State.CANCELLED, version=4, ended_at=datetime.now(UTC), error_code="cancelled")
    for last in ("3", None, "x", "4.1", "99999999999", ""):
        async with listening(door, headers, job_id, last) as stream:
            heard = await stream.event()
            assert heard is not None
            assert (heard.name, heard.id, heard.job["error"]["code"]) == ("result", "4", "cancelled")
    finished = await door.client.get(f"/api/v1/jobs/{job_id}/events", headers={**headers, "Last-Event-ID": "4"})
    assert (finished.status_code, finished.content) == (204, b"")


async def test_a_doubt_is_an_event_of_its_own(door: Door) -> None:
    """What is told provisionally is a result with an id of its own; who comes back waits for how it is settled."""
    headers = await door.caller()
    job_id = (await door.run(headers)).json()["jobId"]
    almost = datetime.now(UTC) - timedelta(seconds=door.settings.unknown_wait_s - 2)
    await update(door, job_id, state=State.SUBMISSION_UNKNOWN, submitted_at=almost, version=3)
    async with listening(door, headers, job_id) as stream:
        first, second = await stream.event(), await stream.event()
        assert first is not None
        assert second is not None
        assert (first.name, first.id, first.job["status"]) == ("state", "3", "processing")
        assert (second.name, second.id, second.job["error"]["provisional"]) == ("result", "3.1", True)
        assert await stream.event() is None
    async with listening(door, headers, job_id, last="3.1") as stream:
        await wait.until(lambda: door.waiting == 1, timeout_s=10, what="the stream waits")
        await update(door, job_id, state=State.RUNNING, version=4)
        found = await stream.event()
        assert found is not None
        assert (found.id, found.job["state"]) == ("4", "running")


async def test_nobody_elses_job_is_heard(any_door: Door) -> None:
    """Another team's job is a 404 before any stream, and so is another key's to a key without `read`."""
    team = await any_door.team("one")
    _, headers = await any_door.key(team)
    job_id = (await any_door.run(headers)).json()["jobId"]
    stranger = await any_door.caller("two", *Scope)
    _, writer = await any_door.key(team, frozenset({Scope.GENERATE}))
    for other in (stranger, writer):
        answer = await any_door.client.get(f"/api/v1/jobs/{job_id}/events", headers=other)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "job_not_found")
    head = await any_door.client.head(f"/api/v1/jobs/{job_id}/events", headers=headers)
    assert (head.status_code, head.content) == (200, b"")


async def test_a_revoked_key_hears_nothing_more(door: Door) -> None:
    """Of a revoked key's stream nothing is told of the job any more, and it ends."""
    key, headers = await door.key(await door.team("one"))
    job_id = (await door.run(headers)).json()["jobId"]
    async with listening(door, headers, job_id) as stream:
        assert await stream.event() is not None
        async with door.database.write() as tx:
            mine = tables.api_keys.c.id == key.id
            await tx.execute(tables.api_keys.update().where(mine).values(revoked_at=datetime.now(UTC)))

        async def refused() -> bool:
            return (await door.client.get("/api/v1/account", headers=headers)).status_code == 401

        await wait.until(refused, timeout_s=5, what="the revocation is known")
        await update(door, job_id, state=State.RUNNING, version=3)
        assert await stream.event() is None
    await wait.until(lambda: door.waiting == 0, timeout_s=5, what="nobody waits")


async def test_a_silent_stream_says_that_it_lives(door: Door) -> None:
    """A stream on which nothing happens sends a comment every 15 s, and ends with its key all the same."""
    key, headers = await door.key(await door.team("one"))
    job_id = (await door.run(headers)).json()["jobId"]
    async with listening(door, headers, job_id) as stream:
        assert await stream.event() is not None
        began = time.monotonic()
        assert await stream.block() == [": waiting"]
        assert events.COMMENT_S - 1 < time.monotonic() - began < events.COMMENT_S + 5
        async with door.database.write() as tx:
            mine = tables.api_keys.c.id == key.id
            await tx.execute(tables.api_keys.update().where(mine).values(revoked_at=datetime.now(UTC)))
        assert await stream.block() is None


async def test_who_hangs_up_leaves_nothing_behind(door: Door) -> None:
    """A listener that goes away frees its seat at once."""
    headers = await door.caller()
    job_id = (await door.run(headers)).json()["jobId"]
    async with listening(door, headers, job_id) as stream:
        assert await stream.event() is not None
        assert door.waiting == 1
    await wait.until(lambda: door.waiting == 0, timeout_s=10, what="nobody waits")
