"""Jobs, the upstream's account, pauses and prices on the admin surface, as an operator uses them over TCP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway import ids
from gateway.jobs import account
from gateway.jobs.outcomes import Outcome
from gateway.jobs.states import State
from gateway.ledger import proof
from gateway.storage import tables
from tests.api.door import ADMIN_TOKEN, Door

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


async def get(door: Door, path: str, **query: str | int) -> Any:
    """Read from the admin surface."""
    answer = await door.client.get(f"/admin/v1/{path}", headers=ADMIN, params=dict(query))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def post(door: Door, path: str, **body: object) -> Any:
    """Ask the admin surface for a deed."""
    return await door.client.post(f"/admin/v1/{path}", headers=ADMIN, json=body)


async def unknown(door: Door, headers: dict[str, str]) -> str:
    """Order a job and leave it as a worker does whose POST's answer was lost an hour ago; its id."""
    job_id: str = (await door.run(headers)).json()["jobId"]
    then = datetime.now(UTC) - timedelta(hours=1)
    async with door.database.write() as tx:
        await tx.execute(
            tables.attempts.insert().values(
                job_id=job_id,
                number=1,
                claim=ids.claim(),
                worker_id=ids.worker(),
                opened_at=then,
                quiet_at=then,
                outcome=Outcome.UNKNOWN,
                hold_micros=2_000_000,
            )
        )
        await tx.execute(
            tables.jobs.update()
            .where(tables.jobs.c.id == job_id)
            .values(state=State.SUBMISSION_UNKNOWN, submitted_at=then)
        )
    return job_id


async def actions(door: Door) -> list[str]:
    """What the audit log says was done, in order."""
    return [row["action"] for row in sorted(await door.rows(tables.audit), key=lambda row: row["created_at"])]


async def test_jobs_are_listed_by_filters_and_pages(any_door: Door) -> None:
    """Jobs of all teams come newest first, each once over all pages, and each filter narrows them."""
    drawing, other = await any_door.caller("drawing"), await any_door.caller("other")
    made = [(await any_door.run(headers)).json()["jobId"] for headers in (drawing, other, drawing)]
    first = await get(any_door, "jobs", limit=2)
    rest = await get(any_door, "jobs", limit=2, cursor=first["nextCursor"])
    assert [job["id"] for job in first["jobs"] + rest["jobs"]] == made[::-1]
    assert rest["nextCursor"] is None
    assert [job["team"] for job in (await get(any_door, "jobs", team="other"))["jobs"]] == ["other"]
    assert len((await get(any_door, "jobs", state="queued", model="flux-2-max"))["jobs"]) == 3
    assert (await get(any_door, "jobs", model="no-such"))["jobs"] == []
    assert (await get(any_door, "jobs", since=(datetime.now(UTC) + timedelta(minutes=1)).isoformat()))["jobs"] == []
    for query in ("state=done", "since=x"):
        assert (await any_door.client.get(f"/admin/v1/jobs?{query}", headers=ADMIN)).status_code == 400


async def test_a_job_is_shown_nudged_and_cancelled(any_door: Door) -> None:
    """An operator sees all of a job, and takes a queued one back once; its credits are free again."""
    job_id = (await any_door.run(await any_door.caller("drawing"))).json()["jobId"]
    shown = await get(any_door, f"jobs/{job_id}")
    assert (shown["team"], shown["parameters"]["prompt"], shown["attempt"]) == ("drawing", "a torii gate in rain", 1)
    assert (await post(any_door, f"jobs/{job_id}/requeue")).json()["state"] == "queued"
    assert (await post(any_door, f"jobs/{job_id}/cancel")).json()["state"] == "cancelled"
    assert (await post(any_door, f"jobs/{job_id}/requeue")).status_code == 409
    assert (await post(any_door, "jobs/job_none/cancel")).status_code == 404
    assert await actions(any_door) == ["job.requeue", "job.cancel"]
    async with any_door.database.read() as connection:
        assert await proof.differences(connection) == []


@pytest.mark.parametrize(("verdict", "spent"), [("charged", 2), ("not_charged", 0)])
async def test_a_doubt_is_settled(any_door: Door, verdict: str, spent: int) -> None:
    """An unknown submission is settled once, by a verdict, and never sent again; the audit log says how."""
    job_id = await unknown(any_door, await any_door.caller("drawing"))
    assert (await post(any_door, f"jobs/{job_id}/requeue")).status_code == 409
    for wrong in ({}, {"verdict": "perhaps"}, {"verdict": verdict, "upstreamJobId": "x"}, {"upstreamJobId": "\u0000"}):
        assert (await post(any_door, f"jobs/{job_id}/settle", **wrong)).status_code == 400
    settled = (await post(any_door, f"jobs/{job_id}/settle", verdict=verdict)).json()
    assert (settled["state"], settled["error"], settled["credits"]) == ("failed", "submission_unknown", spent)
    assert (await post(any_door, f"jobs/{job_id}/settle", verdict=verdict)).status_code == 409
    assert await actions(any_door) == ["job.settle"]
    assert (await get(any_door, "usage"))["total"]["spent"] == spent


async def test_a_doubt_is_settled_by_the_upstreams_job(any_door: Door) -> None:
    """An operator who found the upstream's job lets ours run on as that one; no two of ours can."""
    headers = await any_door.caller("drawing")
    first, second = await unknown(any_door, headers), await unknown(any_door, headers)
    found = (await post(any_door, f"jobs/{first}/settle", upstreamJobId="up_1")).json()
    assert (found["state"], found["credits"]) == ("running", 2)
    assert (await post(any_door, f"jobs/{second}/settle", upstreamJobId="up_1")).status_code == 409
    assert (await get(any_door, f"jobs/{first}"))["upstreamJobId"] == "up_1"


async def test_the_account_is_shown_resumed_and_topped_up(any_door: Door) -> None:
    """The account's rest is ended by an operator, and a topup is noted once by its reference."""
    until = datetime.now(UTC) + account.PAUSE
    async with any_door.database.write() as tx:
        await tx.execute(
            tables.upstream_account.update().values(
                remaining_micros=5_500_000, expected_micros=5_500_000, paused_until=until, pause_reason="no_credits"
            )
        )
    seen = await get(any_door, "upstream")
    assert (seen["balance"], seen["drift"], seen["pauseReason"]) == (5.5, 0, "no_credits")
    resumed = (await post(any_door, "upstream/resume")).json()
    assert (resumed["pausedUntil"], resumed["pauseReason"]) == (None, None)
    topped = await post(any_door, "upstream/topup", credits=100, reference="invoice-7")
    assert (topped.status_code, topped.json()["expected"], topped.json()["balance"]) == (201, 105.5, 105.5)
    assert (await post(any_door, "upstream/topup", credits=100, reference="invoice-7")).status_code == 409
    assert (await post(any_door, "upstream/topup", credits=0)).status_code == 400
    assert (await get(any_door, "upstream"))["expected"] == 105.5
    assert await actions(any_door) == ["upstream.resume", "upstream.topup"]


async def test_pauses_begin_and_end(any_door: Door) -> None:
    """Everything, a team or a model is paused and resumed; doing it twice changes nothing and says so."""
    team = await any_door.team("drawing")
    for about, subject in (
        ({"all": True}, None),
        ({"team": "drawing"}, team.id),
        ({"model": "flux-2-max"}, "flux-2-max"),
    ):
        assert (await post(any_door, "pauses", **about)).json()["changed"] is True
        again = (await post(any_door, "pauses", **about)).json()
        assert (again["subject"], again["changed"]) == (subject, False)
    listed = (await get(any_door, "pauses"))["pauses"]
    assert {(each["scope"], each["subject"]) for each in listed} == {
        ("all", None),
        ("team", team.id),
        ("model", "flux-2-max"),
    }
    assert (await post(any_door, "pauses/resume", all=True)).json()["changed"] is True
    assert (await post(any_door, "pauses/resume", all=True)).json()["changed"] is False
    assert len((await get(any_door, "pauses"))["pauses"]) == 2
    for wrong, status in (
        ({}, 400),
        ({"all": True, "team": "drawing"}, 400),
        ({"team": "x"}, 404),
        ({"model": "x"}, 404),
    ):
        assert (await post(any_door, "pauses", **wrong)).status_code == status


async def test_a_price_is_set_and_lifts_a_block(any_door: Door) -> None:
    """An operator's price takes the catalogue's place for new orders, and lifts the block of the pair."""
    headers = await any_door.caller("drawing")
    url = "/admin/v1/models/flux-2-max/prices/1 MP"
    assert (await any_door.client.put(url, headers=ADMIN, json={"credits": 2.5})).status_code == 200
    assert (await any_door.run(headers, {"prompt": "a gate", "resolution": "1 MP"})).json()["creditCost"] == 2.5
    async with any_door.database.write() as tx:
        await tx.execute(tables.prices.update().values(blocked_at=datetime.now(UTC)))
    assert (await any_door.run(headers, {"prompt": "a gate", "resolution": "1 MP"})).status_code == 403
    models = {model["apiId"]: model for model in (await get(any_door, "models"))["models"]}
    line = next(line for line in models["flux-2-max"]["prices"] if line["resolution"] == "1 MP")
    assert (line["credits"], line["byOperator"], line["blockedAt"] is None) == (2.5, True, False)
    assert (await any_door.client.put(url, headers=ADMIN, json={"credits": 3})).status_code == 200
    assert (await any_door.run(headers, {"prompt": "a gate", "resolution": "1 MP"})).json()["creditCost"] == 3
    for path, status in (("flux-2-max/prices/9 MP", 400), ("no-such/prices/1 MP", 404)):
        answer = await any_door.client.put(f"/admin/v1/models/{path}", headers=ADMIN, json={"credits": 1})
        assert answer.status_code == status
    assert await actions(any_door) == ["model.price", "model.price"]
