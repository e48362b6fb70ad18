"""``POST /hooks/upstream/{token}``: the token is the key, the answer tells nothing, no log or metric has the token."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.jobs import hooks, states
from gateway.jobs.states import State
from gateway.storage import tables
from tests.api.door import ADMIN_TOKEN, Door


async def attempted(door: Door, state: State, outcome: str = "unknown") -> tuple[str, str]:
    """A job in that state with one attempt; its id, and the attempt's token."""
    job_id: str = (await door.run(await door.caller(f"team-{state}"))).json()["jobId"]
    token, now = hooks.token(), datetime.now(UTC)
    async with door.database.write() as tx:
        await tx.execute(tables.jobs.update().where(tables.jobs.c.id == job_id).values(state=state, submitted_at=now))
        await tx.execute(
            tables.attempts.insert().values(
                job_id=job_id,
                number=1,
                claim="clm_test",
                worker_id="wrk_test",
                opened_at=now,
                quiet_at=now + timedelta(seconds=80),
                outcome=outcome,
                hold_micros=2_000_000,
                hook_digest=token.digest,
            )
        )
    return job_id, token.text


async def test_the_answer_is_the_same_whatever_became_of_the_job(door: Door) -> None:
    """204 to a known token in every state, as often as it is called."""
    for state in State:
        _, token = await attempted(door, state)
        for _ in range(2):
            answer = await door.client.post(f"/hooks/upstream/{token}", json={"jobId": "job_u", "event": "x"})
            assert (answer.status_code, answer.content) == (204, b""), state


async def test_a_call_leaves_a_hint_and_moves_nothing(door: Door) -> None:
    """What it says is written beside the attempt; the job, its cost and its state stay as they were."""
    job_id, token = await attempted(door, State.SUBMISSION_UNKNOWN)
    before = next(row for row in await door.rows(tables.jobs) if row["id"] == job_id)
    body = {"event": "job.completed", "job": {"id": "job_u"}, "creditCost": 0}
    assert (await door.client.post(f"/hooks/upstream/{token}", json=body)).status_code == 204
    (attempt,) = await door.rows(tables.attempts)
    assert (attempt["hinted_upstream_job_id"], attempt["outcome"]) == ("job_u", "unknown")
    assert attempt["hint_due_at"] is not None
    assert next(row for row in await door.rows(tables.jobs) if row["id"] == job_id) == before


@pytest.mark.parametrize("token", ["none", "a" * 43, "%00", "%ff", "x" * 500])
async def test_an_unknown_token_is_not_found(door: Door, token: str) -> None:
    """404, whatever the body is."""
    answer = await door.client.post(f"/hooks/upstream/{token}", content=b"not json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"", 400), (b"[]", 400), (b"{", 400), (b"\xff", 400), (b'{"a": "' + b"x" * 70_000 + b'"}', 413)],
    ids=["empty", "a list", "cut", "no text", "too large"],
)
async def test_a_bad_body_changes_nothing(door: Door, content: bytes, status: int) -> None:
    """What is no JSON object of at most 64 KiB is refused, and leaves no hint."""
    _, token = await attempted(door, State.SUBMISSION_UNKNOWN)
    assert (await door.client.post(f"/hooks/upstream/{token}", content=content)).status_code == status
    (attempt,) = await door.rows(tables.attempts)
    assert attempt["hint_due_at"] is None


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_only_a_post_is_a_call(door: Door, method: str) -> None:
    """Nobody finds out by another method whether a token is known."""
    _, token = await attempted(door, State.RUNNING)
    assert (await door.client.request(method, f"/hooks/upstream/{token}")).status_code == 405


async def test_the_token_is_told_nowhere(door: Door, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither the log of the door nor its metrics nor the operator's view of the job has it."""
    job_id, token = await attempted(door, State.RUNNING)
    for path in (f"/hooks/upstream/{token}", f"/hooks/upstream/{token}/", f"/hooks/upstream/{token}/more"):
        await door.client.post(path, json={"jobId": "job_u"})
        await door.client.get(path)
    metrics = (await door.client.get("/metrics")).text
    shown = await door.client.get(f"/admin/v1/jobs/{job_id}", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    told = capfd.readouterr()
    assert "/hooks/upstream/{token}" in metrics
    assert token not in metrics + shown.text + told.out + told.err


async def test_the_operator_sees_each_attempt(door: Door) -> None:
    """An unknown job shows its attempts with their age and the moment of their settlement, in the list too."""
    job_id, _ = await attempted(door, State.SUBMISSION_UNKNOWN)
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    page: dict[str, Any] = (await door.client.get(f"/admin/v1/jobs/{job_id}", headers=headers)).json()
    (attempt,) = page["attempts"]
    assert (attempt["number"], attempt["outcome"], attempt["evidence"]) == (1, "unknown", None)
    assert attempt["ageS"] >= 0
    asked = {"state": "submission_unknown"}
    (line,) = (await door.client.get("/admin/v1/jobs", headers=headers, params=asked)).json()["jobs"]
    assert line["settlesAt"] == attempt["settlesAt"] is not None
    assert line["state"] in set(states.State)
