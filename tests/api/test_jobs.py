"""Reading jobs and taking them back: who may, what they see, and when to look again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway import ids
from gateway.jobs.states import Failure, State
from gateway.storage import tables
from gateway.tenancy.scopes import Scope
from tests.api.door import Door


async def update(door: Door, job_id: str, **values: Any) -> None:
    """Bring a job into a state, as a worker would have."""
    async with door.database.write() as tx:
        await tx.execute(tables.jobs.update().where(tables.jobs.c.id == job_id).values(**values))


async def test_a_job_reads_as_its_202_said(any_door: Door) -> None:
    """Reading a new job gives the body of its 202; HEAD gives the same headers without a body."""
    headers = await any_door.caller()
    ordered = (await any_door.run(headers)).json()
    path = f"/api/v1/jobs/{ordered['jobId']}"
    read = await any_door.client.get(path, headers=headers)
    head = await any_door.client.head(path, headers=headers)
    assert read.status_code == head.status_code == 200
    assert read.json() == {**ordered, "expiresAt": read.json()["expiresAt"]}
    assert head.content == b""
    assert head.headers["Content-Length"] == read.headers["Content-Length"]
    assert head.headers["Retry-After"] == read.headers["Retry-After"] == "2"


async def test_another_teams_job_is_not_there(any_door: Door) -> None:
    """Another team's job is answered exactly like one that does not exist, in reading and in cancelling."""
    job_id = (await any_door.run(await any_door.caller("one"))).json()["jobId"]
    stranger = await any_door.caller("two", *Scope)
    for method, tail in (("GET", ""), ("POST", "/cancel")):
        for there in (job_id, ids.job()):
            answer = await any_door.client.request(method, f"/api/v1/jobs/{there}{tail}", headers=stranger)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "job_not_found")
            assert answer.json()["error"]["param"] == "jobId"
    assert [row["state"] for row in await any_door.rows(tables.jobs)] == ["queued"]


NO_IDS = ("job_", "job_%00", "%00", "job_" + "x" * 5000, "job_%F0%9F%8C%8A", "job_%FF", "1", "job_'--", "%2e%2e")


async def test_an_id_that_is_none_is_not_found(any_door: Door) -> None:
    """Whatever stands in an id's place is a 404, on each database, and never reaches a statement."""
    headers = await any_door.caller()
    for job_id in NO_IDS:
        request = any_door.client.build_request("GET", "/", headers=headers)
        request.url = request.url.copy_with(raw_path=f"/api/v1/jobs/{job_id}".encode())
        assert (await any_door.client.send(request)).status_code == 404, job_id


async def test_a_scope_grants_what_its_sentence_says(any_door: Door) -> None:
    """`generate` orders and sees its own key's jobs, `read` sees the team's, and neither is a 403."""
    team = await any_door.team("one")
    writer = (await any_door.key(team, frozenset({Scope.GENERATE})))[1]
    other = (await any_door.key(team, frozenset({Scope.GENERATE})))[1]
    reader = (await any_door.key(team, frozenset({Scope.READ})))[1]
    manager = (await any_door.key(team, frozenset({Scope.MANAGE})))[1]
    path = f"/api/v1/jobs/{(await any_door.run(writer)).json()['jobId']}"
    seen = [(await any_door.client.get(path, headers=key)).status_code for key in (writer, other, reader, manager)]
    assert seen == [200, 404, 200, 403]
    for key in (reader, manager):
        for refused in (await any_door.run(key), await any_door.client.post(f"{path}/cancel", headers=key)):
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "missing_scope")
            assert "`generate`" in refused.json()["error"]["message"]
    assert (await any_door.client.post(f"{path}/cancel", headers=other)).status_code == 404
    assert len(await any_door.rows(tables.jobs)) == 1


async def test_a_queued_job_is_taken_back_for_free(any_door: Door) -> None:
    """Cancelling a queued job ends it at no cost, releases its hold, and may be repeated."""
    headers = await any_door.caller()
    path = f"/api/v1/jobs/{(await any_door.run(headers)).json()['jobId']}"
    for _ in range(2):
        answer = await any_door.client.post(f"{path}/cancel", headers=headers)
        body = answer.json()
        assert (answer.status_code, body["status"], body["state"], body["creditCost"]) == (
            200,
            "failed",
            "cancelled",
            0,
        )
        assert (body["error"]["code"], body["error"]["retrySafe"]) == ("cancelled", True)
        assert "Retry-After" not in answer.headers
    entries = sorted((row["kind"], row["amount_micros"]) for row in await any_door.rows(tables.ledger_entries))
    assert entries == [("hold", 2_000_000), ("release", 2_000_000)]


@pytest.mark.parametrize("state", [State.SUBMITTING, State.RUNNING, State.ARCHIVING, State.COMPLETED, State.FAILED])
async def test_a_job_that_was_sent_cannot_be_taken_back(door: Door, state: State) -> None:
    """Cancelling a job in any other state is a 409 that says which."""
    headers = await door.caller()
    job_id = (await door.run(headers)).json()["jobId"]
    await update(door, job_id, state=state)
    answer = await door.client.post(f"/api/v1/jobs/{job_id}/cancel", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert state in answer.json()["error"]["message"]
    assert [row["kind"] for row in await door.rows(tables.ledger_entries)] == ["hold"]


@pytest.mark.parametrize(("due_s", "least", "most"), [(-5.0, 1, 1), (0.3, 1, 1), (20.0, 18, 20), (900.0, 60, 60)])
async def test_a_running_job_says_when_to_look_again(door: Door, due_s: float, least: int, most: int) -> None:
    """`Retry-After` of a running job is the time until Torii itself looks, within 1 and 60 s."""
    headers = await door.caller()
    job_id = (await door.run(headers)).json()["jobId"]
    await update(door, job_id, state=State.RUNNING, due_at=datetime.now(UTC) + timedelta(seconds=due_s))
    answer = await door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)
    assert answer.json()["status"] == "processing"
    assert least <= int(answer.headers["Retry-After"]) <= most


@pytest.mark.parametrize("failure", list(Failure))
async def test_a_failed_job_says_why(door: Door, failure: Failure) -> None:
    """A failed job shows its code, its message and whether ordering again is safe, and asks nobody to look again."""
    headers = await door.caller()
    job_id = (await door.run(headers)).json()["jobId"]
    await update(door, job_id, state=State.FAILED, error_code=failure, error_message="why", ended_at=datetime.now(UTC))
    answer = await door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)
    assert (answer.json()["status"], answer.json()["error"]["code"]) == ("failed", failure)
    assert "Retry-After" not in answer.headers


async def test_an_unknown_submission_reads_as_provisional(door: Door) -> None:
    """A submission nobody knows of reads `processing`, and after a minute `failed`: provisional, not retry-safe."""
    headers = await door.caller()
    job_id = (await door.run(headers)).json()["jobId"]
    seen = []
    for age_s in (5, 65):
        submitted_at = datetime.now(UTC) - timedelta(seconds=age_s)
        await update(door, job_id, state=State.SUBMISSION_UNKNOWN, submitted_at=submitted_at)
        seen.append((await door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)).json())
    assert [body["status"] for body in seen] == ["processing", "failed"]
    assert seen[1]["error"]["code"] == "submission_unknown"
    assert (seen[1]["error"]["provisional"], seen[1]["error"]["retrySafe"]) == (True, False)


async def test_a_job_that_is_not_sent_comes_when_its_like_did(any_door: Door) -> None:
    """Once enough was seen of a model, `Retry-After` of what waits is what it took; before that, soon."""
    headers = await any_door.caller()
    for model, seen, told in (("flux-2-max", 3, "41"), ("flux-2-flex", 2, "2")):
        async with any_door.database.write() as tx:
            for _ in range(seen):
                await tx.execute(
                    tables.durations.insert().values(
                        job_id=ids.job(),
                        model=model,
                        resolution="1 MP",
                        low_s=40.0,
                        high_s=40.5,
                        recorded_at=datetime.now(UTC),
                    )
                )
        answer = await any_door.run(headers, model=model)
        assert answer.headers["Retry-After"] == told
