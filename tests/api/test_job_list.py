"""The list of a caller's jobs: its order, its pages, its filters, and whose jobs are in it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.jobs.states import State
from gateway.tenancy.scopes import Scope
from tests.api.door import Door
from tests.api.test_images import picture
from tests.api.test_jobs import update


async def listed(door: Door, headers: dict[str, str], **query: Any) -> list[str]:
    """The ids of the jobs that are listed."""
    answer = await door.client.get("/api/v1/jobs", headers=headers, params=query)
    assert answer.status_code == 200, answer.text
    return [job["jobId"] for job in answer.json()["jobs"]]


async def ordered(door: Door, headers: dict[str, str], number: int) -> list[str]:
    """The ids of so many new jobs, the newest first."""
    return [(await door.run(headers)).json()["jobId"] for _ in range(number)][::-1]


async def test_pages_tell_each_job_once_newest_first(any_door: Door) -> None:
    """Pages follow each other from the newest to the oldest, and jobs that come meanwhile disturb nothing."""
    headers = await any_door.caller()
    job_ids = await ordered(any_door, headers, 5)
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await any_door.client.get("/api/v1/jobs", headers=headers, params={"limit": "2", **cursor})).json()
        found += [job["jobId"] for job in page["jobs"]]
        await any_door.run(headers)
        if page["nextCursor"] is None:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert found == job_ids


async def test_each_job_reads_as_by_itself(any_door: Door) -> None:
    """A listed job has the members that reading it alone has, its pictures with working links too."""
    headers = await any_door.caller()
    job_id = (await ordered(any_door, headers, 1))[0]
    await any_door.finish(job_id, picture())
    shown = (await any_door.client.get("/api/v1/jobs", headers=headers)).json()["jobs"][0]
    alone = (await any_door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)).json()
    assert shown.keys() == alone.keys()
    assert shown["assets"][0]["sha256"] == alone["assets"][0]["sha256"]
    assert (await any_door.client.get(shown["output"]["images"][0])).status_code == 200


async def test_a_status_is_what_a_reader_is_told(any_door: Door) -> None:
    """Filtered by each status, the list holds just the jobs that are read with it; a doubt that is told is failed."""
    headers = await any_door.caller()
    states = [State.QUEUED, State.SUBMITTING, State.RUNNING, State.ARCHIVING, State.CANCELLED, State.FAILED]
    job_ids = await ordered(any_door, headers, len(states) + 2)
    now = datetime.now(UTC)
    for job_id, state in zip(job_ids, states, strict=False):
        ended = {"ended_at": now, "error_code": "upstream_failed"} if state in (State.CANCELLED, State.FAILED) else {}
        await update(any_door, job_id, state=state, **ended)
    for job_id, age_s in zip(job_ids[-2:], (1, 3600), strict=True):
        submitted_at = now - timedelta(seconds=age_s)
        await update(any_door, job_id, state=State.SUBMISSION_UNKNOWN, submitted_at=submitted_at)
    read = {
        job_id: (await any_door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)).json()["status"]
        for job_id in job_ids
    }
    for status in ("pending", "processing", "completed", "failed"):
        assert await listed(any_door, headers, status=status) == [
            job_id for job_id in job_ids if read[job_id] == status
        ]
    assert sorted(read.values()) == ["failed"] * 3 + ["pending"] * 2 + ["processing"] * 3


async def test_a_follower_is_listed_with_its_leaders_status(any_door: Door) -> None:
    """A job that follows another is found under the status that it shows, which is its leader's."""
    headers = await any_door.caller()
    leader, follower = await ordered(any_door, headers, 2)
    await update(any_door, leader, state=State.RUNNING)
    await update(any_door, follower, follows=leader)
    assert await listed(any_door, headers, status="processing") == [leader, follower]
    assert await listed(any_door, headers, status="pending") == []


async def test_filters_narrow_the_list(any_door: Door) -> None:
    """`model` and `since` leave out what is of another model, and what is older."""
    headers = await any_door.caller()
    old = (await ordered(any_door, headers, 1))[0]
    await update(any_door, old, created_at=datetime.now(UTC) - timedelta(hours=2))
    flex = (await any_door.run(headers, model="flux-2-flex")).json()["jobId"]
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    assert await listed(any_door, headers, model="flux-2-flex") == [flex]
    assert await listed(any_door, headers, model="none") == []
    assert await listed(any_door, headers, since=since) == [flex]


async def test_a_key_sees_what_its_scopes_say(any_door: Door) -> None:
    """With `read` the team's jobs are listed, with `generate` the key's own, another team's never; else it is a 403."""
    team = await any_door.team("one")
    _, writer = await any_door.key(team, frozenset({Scope.GENERATE}))
    _, other = await any_door.key(team, frozenset({Scope.GENERATE}))
    _, reader = await any_door.key(team, frozenset({Scope.READ}))
    _, manager = await any_door.key(team, frozenset({Scope.MANAGE}))
    stranger = await any_door.caller("two", *Scope)
    mine, theirs = (await ordered(any_door, writer, 1))[0], (await ordered(any_door, other, 1))[0]
    assert await listed(any_door, writer) == [mine]
    assert await listed(any_door, reader) == [theirs, mine]
    assert await listed(any_door, stranger) == []
    assert (await any_door.client.get("/api/v1/jobs", headers=manager)).status_code == 403


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"status": "done"}, "status"),
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"since": "yesterday"}, "since"),
        ({"cursor": "x"}, "cursor"),
        ({"model": ""}, "model"),
        ({"state": "queued"}, "state"),
        ({"status": ["pending", "failed"]}, "status"),
    ],
)
async def test_a_wrong_question_is_named(door: Door, query: dict[str, Any], param: str) -> None:
    """What makes no sense is a 400 that names it."""
    answer = await door.client.get("/api/v1/jobs", headers=await door.caller(), params=query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
