"""Waiting for a job in the request that ordered or reads it: `Prefer: wait`, and what ends the wait."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from gateway.jobs import waiting_room
from gateway.jobs.states import State
from gateway.storage import keyspace, tables
from gateway.tenancy.scopes import Scope
from tests.api.door import GOOD, Door
from tests.api.test_images import picture
from tests.api.test_jobs import update
from tests.support import wait
from tests.support.valkey import Valkey

RUN = "/api/v1/models/flux-2-max/run"


async def run(door: Door, headers: dict[str, str], prefer: str, **more: str) -> httpx.Response:
    """Order pictures and prefer something."""
    return await door.client.post(RUN, headers={**headers, "Prefer": prefer, **more}, json=GOOD)


async def only_job(door: Door) -> str:
    """The id of the one job, once it is there."""
    rows = await wait.until(lambda: door.rows(tables.jobs), timeout_s=10, what="a job")
    assert len(rows) == 1
    return str(rows[0]["id"])


async def seated(door: Door, number: int) -> None:
    """Return once so many wait."""
    await wait.until(lambda: door.waiting == number, timeout_s=60, what=f"{number} waiting")


async def test_who_waits_gets_the_finished_job(any_door: Door) -> None:
    """`Prefer: wait` is a 200 with the pictures as soon as the job is done, and says that it was applied."""
    asked = asyncio.create_task(run(any_door, await any_door.caller(), "wait=30"))
    job_id = await only_job(any_door)
    await seated(any_door, 1)
    began = time.monotonic()
    await any_door.finish(job_id, picture())
    answer = await asked
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert answer.headers["Preference-Applied"] == "wait=30"
    assert len(answer.json()["output"]["images"]) == 1
    assert "Retry-After" not in answer.headers
    # Nobody sent a message: the next reading of all waited jobs found it.
    assert time.monotonic() - began < waiting_room.ROUND_S + 2
    await seated(any_door, 0)


async def test_a_message_spares_the_round(door: Door, valkey: Valkey) -> None:
    """A change that is told over Redis is answered at once, not at the next reading of all waited jobs."""
    headers, took_s = await door.caller(), []
    for _ in range(3):
        job_id = (await door.run(headers)).json()["jobId"]
        asked = asyncio.create_task(door.client.get(f"/api/v1/jobs/{job_id}", headers={**headers, "Prefer": "wait=30"}))
        await seated(door, 1)
        await door.finish(job_id, picture())
        began = time.monotonic()
        while not asked.done():
            async with valkey.async_client() as redis:
                await redis.publish(keyspace.CHANGED, job_id)
            await asyncio.wait({asked}, timeout=0.1)
        took_s.append(time.monotonic() - began)
        assert asked.result().json()["status"] == "completed"
    assert min(took_s) < 0.5


async def test_a_wait_that_was_too_short_is_a_202(door: Door) -> None:
    """A job that is not done in time is a 202 after as long as was preferred, not before."""
    began = time.monotonic()
    answer = await run(door, await door.caller(), "wait=1")
    # How long it took beyond that is the machine's affair; a wait that did not end at all is not a 202.
    assert time.monotonic() - began >= 1
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "wait=1")
    assert answer.headers["Retry-After"]
    assert door.waiting == 0


PREFERENCES: list[tuple[str, str | None]] = [
    ("wait=0", "wait=0"),
    ("wait=-1", None),
    ("wait=abc", None),
    ("wait=", None),
    ("wait", None),
    ("wait=1.5", None),
    ("wait=99999999999", None),
    ("wait=٣", None),
    ("respond-async", None),
    ('respond-async, WAIT="0"', "wait=0"),
    ("handling=lenient; x=y, wait=0", "wait=0"),
    ('handling="a, wait=9", wait=0', "wait=0"),
    ("wait=0, wait=50", "wait=0"),
    ("wait=abc, wait=50", None),
    (",,,", None),
]


@pytest.mark.parametrize(("prefer", "applied"), PREFERENCES)
async def test_a_preference_that_makes_no_sense_is_ignored(door: Door, prefer: str, applied: str | None) -> None:
    """What is no number of seconds is ignored as RFC 7240 asks, and of several waits the first one counts."""
    headers = [(name.encode(), text.encode()) for name, text in (await door.caller()).items()]
    answer = await door.client.post(RUN, headers=[*headers, (b"Prefer", prefer.encode())], json=GOOD)
    assert answer.status_code == 202
    assert answer.headers.get("Preference-Applied") == applied


async def test_the_first_of_two_headers_counts(door: Door) -> None:
    """Two `Prefer` headers are one list, whose first wait counts."""
    headers = [*(await door.caller()).items(), ("Prefer", "wait=0"), ("Prefer", "wait=60")]
    answer = await door.client.post(RUN, headers=headers, json=GOOD)
    assert answer.headers["Preference-Applied"] == "wait=0"


async def test_a_long_wait_is_clamped(door: Door) -> None:
    """Whoever prefers more than 120 s is told that 120 s were the most."""
    headers = await door.caller()
    job_id = (await door.run(headers)).json()["jobId"]
    await door.finish(job_id, picture())
    answer = await door.client.get(f"/api/v1/jobs/{job_id}", headers={**headers, "Prefer": "wait=100000"})
    assert answer.headers["Preference-Applied"] == "wait=120"


async def test_a_replay_waits_as_well(door: Door) -> None:
    """A repeat under an `Idempotency-Key` waits for the first request's job, and creates none."""
    headers = {**await door.caller(), "Idempotency-Key": "one"}
    job_id = (await door.run(headers)).json()["jobId"]
    asked = asyncio.create_task(run(door, headers, "wait=30"))
    await seated(door, 1)
    await door.finish(job_id, picture())
    answer = await asked
    assert (answer.status_code, answer.json()["jobId"]) == (200, job_id)
    assert answer.headers["Idempotent-Replayed"] == "true"
    assert len(await door.rows(tables.jobs)) == 1


async def test_who_hangs_up_cancels_nothing_and_frees_the_seat(door: Door) -> None:
    """A caller that disconnects while it waits leaves the job as it is, and nobody waits any more."""
    headers = await door.caller()
    async with httpx.AsyncClient(base_url=door.base_url, trust_env=False) as client:
        asked = asyncio.create_task(client.post(RUN, headers={**headers, "Prefer": "wait=100"}, json=GOOD))
        job_id = await only_job(door)
        await seated(door, 1)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
    await seated(door, 0)
    assert (await door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)).json()["state"] == "queued"


async def test_who_is_one_too_many_is_answered_at_once(door: Door) -> None:
    """Beyond the waiters of a key `Prefer` is not followed and not said to be; another key's waits are."""
    team = await door.team("one")
    _, headers = await door.key(team)
    _, others = await door.key(team)
    async with (
        httpx.AsyncClient(
            base_url=door.base_url, trust_env=False, timeout=100, limits=httpx.Limits(max_connections=None)
        ) as client,
        asyncio.TaskGroup() as group,
    ):
        job_id = (await door.run(headers)).json()["jobId"]
        asked = {**headers, "Prefer": "wait=100"}
        waits = [
            group.create_task(client.get(f"/api/v1/jobs/{job_id}", headers=asked))
            for _ in range(waiting_room.MOST_OF_A_KEY)
        ]
        await seated(door, waiting_room.MOST_OF_A_KEY)
        answer = await run(door, headers, "wait=100")
        assert (answer.status_code, "Preference-Applied" in answer.headers) == (202, False)
        events = await door.client.get(f"/api/v1/jobs/{job_id}/events", headers=headers)
        assert (events.status_code, events.json()["error"]["code"]) == (429, "rate_limited")
        assert events.headers["Retry-After"] == "1"
        assert (await run(door, others, "wait=1")).headers["Preference-Applied"] == "wait=1"
        await door.client.post(f"/api/v1/jobs/{job_id}/cancel", headers=headers)
    assert {wait.result().json()["state"] for wait in waits} == {"cancelled"}
    assert door.waiting == 0


async def test_a_doubt_that_is_told_ends_the_wait(door: Door) -> None:
    """Once a job's submission was unknown for `TORII_UNKNOWN_WAIT_S`, whoever waits is told so, provisionally."""
    headers = await door.caller()
    job_id = (await door.run(headers)).json()["jobId"]
    almost = datetime.now(UTC) - timedelta(seconds=door.settings.unknown_wait_s - 1)
    await update(door, job_id, state=State.SUBMISSION_UNKNOWN, submitted_at=almost, version=3)
    answer = await door.client.get(f"/api/v1/jobs/{job_id}", headers={**headers, "Prefer": "wait=30"})
    assert answer.json()["error"]["provisional"] is True


async def test_a_key_that_is_revoked_meanwhile_gets_nothing(door: Door) -> None:
    """A wait whose key was revoked ends without the job: 401."""
    key, headers = await door.key(await door.team("one"))
    job_id = (await door.run(headers)).json()["jobId"]
    asked = asyncio.create_task(door.client.get(f"/api/v1/jobs/{job_id}", headers={**headers, "Prefer": "wait=30"}))
    await seated(door, 1)
    async with door.database.write() as tx:
        await tx.execute(
            tables.api_keys.update().where(tables.api_keys.c.id == key.id).values(revoked_at=datetime.now(UTC))
        )
    await wait.until(lambda: _refused(door, headers), timeout_s=5, what="the revocation is known")
    await door.finish(job_id, picture())
    assert (await asked).status_code == 401


async def _refused(door: Door, headers: dict[str, str]) -> bool:
    return (await door.client.get("/api/v1/account", headers=headers)).status_code == 401


async def test_waits_are_counted_apart(door: Door) -> None:
    """The time of a request that was asked to wait is in a series of its own, so that it spoils no latency."""
    headers = await door.caller()
    await run(door, headers, "wait=1")
    await door.run(headers)
    page = (await door.client.get("/metrics")).text
    for route in ("/api/v1/models/{apiId}/run", "/api/v1/models/{apiId}/run wait"):
        assert f'torii_http_request_duration_seconds_count{{method="POST",route="{route}",status="202"}} 1.0' in page


async def test_redis_may_go_while_callers_wait(door: Door, valkey: Valkey) -> None:
    """With Redis stopped, stalled or flushed while callers wait, each gets its job within a reading or two."""
    headers = await door.caller()
    job_ids = [(await door.run(headers)).json()["jobId"] for _ in range(3)]
    for job_id, fault in zip(job_ids, ("flush", "stall", "stop"), strict=True):
        asked = asyncio.create_task(door.client.get(f"/api/v1/jobs/{job_id}", headers={**headers, "Prefer": "wait=60"}))
        await seated(door, 1)
        try:
            _break(valkey, fault)
            began = time.monotonic()
            await door.finish(job_id, picture())
            answer = await asked
        finally:
            _mend(valkey, fault)
        assert (answer.status_code, answer.json()["status"]) == (200, "completed"), fault
        assert time.monotonic() - began < 2 * waiting_room.ROUND_S + 2, fault


def _break(valkey: Valkey, fault: str) -> None:
    {"flush": valkey.flush, "stall": valkey.pause, "stop": valkey.stop}[fault]()


def _mend(valkey: Valkey, fault: str) -> None:
    {"flush": lambda: None, "stall": valkey.resume, "stop": valkey.start}[fault]()


async def test_the_same_answer_is_not_sent_twice(any_door: Door) -> None:
    """A job that was read is a 304 to its tag until something a caller can see is otherwise."""
    headers = await any_door.caller("one", Scope.GENERATE, Scope.READ)
    path = f"/api/v1/jobs/{(await any_door.run(headers)).json()['jobId']}"
    first = await any_door.client.get(path, headers=headers)
    tagged = {**headers, "If-None-Match": first.headers["ETag"]}
    again = await any_door.client.get(path, headers=tagged)
    assert first.headers["ETag"].startswith('W/"')
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert again.headers["Retry-After"]
    await any_door.finish(path.rpartition("/")[2], picture())
    done = await any_door.client.get(path, headers=tagged)
    assert (done.status_code, done.json()["status"]) == (200, "completed")
    same: dict[str, Any] = {**headers, "If-None-Match": f'"other", {done.headers["ETag"]}'}
    assert (await any_door.client.get(path, headers=same)).status_code == 304
