"""The ledger, usage and the audit log on the admin surface, as an operator reads and corrects them over TCP."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.ledger import book, proof
from gateway.reuse import hits
from gateway.reuse.hits import Saved
from gateway.storage import tables
from tests.api.door import ADMIN_TOKEN, Door

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


async def charged(door: Door, headers: dict[str, str], **body: object) -> str:
    """Order a job and charge it as a worker would have; its id."""
    job_id: str = (await door.run(headers, {"prompt": "a gate", **body})).json()["jobId"]
    async with door.database.write() as tx:
        held = await book.find(tx, job_id, 1)
        await book.charge(tx, held, held.amount_micros, datetime.now(UTC))
    return job_id


async def get(door: Door, path: str, **query: str | int) -> Any:
    """Read from the admin surface."""
    answer = await door.client.get(f"/admin/v1/{path}", headers=ADMIN, params=dict(query))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def post(door: Door, path: str, **body: object) -> Any:
    """Ask the admin surface for a deed."""
    return await door.client.post(f"/admin/v1/{path}", headers=ADMIN, json=body)


async def test_the_ledger_is_listed_by_filters_and_pages(any_door: Door) -> None:
    """Entries come newest first, each once over all pages, and each filter narrows them."""
    drawing, other = await any_door.caller("drawing"), await any_door.caller("other")
    jobs = [await charged(any_door, drawing), await charged(any_door, drawing), await charged(any_door, other)]
    seen: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = await get(any_door, "ledger", limit=4, **({} if cursor is None else {"cursor": cursor}))
        seen += page["entries"]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert len({entry["id"] for entry in seen}) == len(seen) == 9
    assert [entry["createdAt"] for entry in seen] == sorted((entry["createdAt"] for entry in seen), reverse=True)
    assert {entry["team"] for entry in (await get(any_door, "ledger", team="drawing"))["entries"]} == {"drawing"}
    of_job = (await get(any_door, "ledger", job=jobs[0], kind="charge"))["entries"]
    assert [(entry["jobId"], entry["kind"], entry["credits"]) for entry in of_job] == [(jobs[0], "charge", 2)]
    soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    assert (await get(any_door, "ledger", since=soon))["entries"] == []
    assert len((await get(any_door, "ledger", until=soon))["entries"]) == 9


@pytest.mark.parametrize("query", ["kind=gift", "since=yesterday", "since=2026-11-23T12:00:00", "key=%00", "job="])
async def test_a_filter_that_cannot_be_is_refused(door: Door, query: str) -> None:
    """A filter's value that cannot be is a 400 that names the filter, never an empty list."""
    refused = await door.client.get(f"/admin/v1/ledger?{query}", headers=ADMIN)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, query.partition("=")[0])


async def test_a_job_is_refunded_once(any_door: Door) -> None:
    """A refund gives back what the job cost and no more; its reference makes a repetition a conflict."""
    headers = await any_door.caller("drawing")
    job_id = await charged(any_door, headers)
    done = await post(any_door, "ledger/refund", job=job_id, credits=0.5, reference="ticket-1", note="blurred")
    assert (done.status_code, done.json()["credits"], done.json()["jobId"]) == (201, 0.5, job_id)
    again = await post(any_door, "ledger/refund", job=job_id, credits=0.5, reference="ticket-1")
    assert (again.status_code, again.json()["error"]["param"]) == (409, "reference")
    assert (await post(any_door, "ledger/refund", job=job_id, credits=1.6, reference="ticket-2")).status_code == 409
    rest = await post(any_door, "ledger/refund", job=job_id, reference="ticket-3")
    assert rest.json()["credits"] == 1.5
    assert (await post(any_door, "ledger/refund", job=job_id, reference="ticket-4")).status_code == 400
    (line,) = (await get(any_door, "usage", team="drawing"))["usage"]
    assert (line["charged"], line["refunded"], line["spent"], line["held"]) == (2, 2, 0, 0)
    async with any_door.database.read() as connection:
        assert await proof.differences(connection) == []
    actions = [(row["action"], row["subject"]) for row in await any_door.rows(tables.audit)]
    assert actions == [("ledger.refund", job_id)] * 2


async def test_a_team_is_adjusted(any_door: Door) -> None:
    """An adjustment moves a team's or a job's balance either way, in the budget too, and the book stays right."""
    headers = await any_door.caller("drawing")
    job_id = await charged(any_door, headers)
    await any_door.client.put("/admin/v1/teams/drawing/budgets/total", headers=ADMIN, json={"limit": 10})
    assert (await post(any_door, "ledger/adjust", team="drawing", credits=3, reference="a")).status_code == 201
    assert (await post(any_door, "ledger/adjust", team="drawing", credits=-1.25, reference="b")).status_code == 201
    assert (await post(any_door, "ledger/adjust", job=job_id, credits=-0.5, reference="c")).status_code == 201
    (budget,) = (await get(any_door, "teams/drawing/budgets"))["budgets"]
    assert (budget["spent"], budget["left"]) == (3.25, 6.75)
    async with any_door.database.read() as connection:
        assert await proof.differences(connection) == []
    by_model = {line["model"]: line["adjusted"] for line in (await get(any_door, "usage", by="model"))["usage"]}
    assert by_model == {None: 1.75, "flux-2-max": -0.5}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("adjust", {"credits": 1, "reference": "a"}, 400),
        ("adjust", {"credits": 1, "reference": "a", "team": "drawing", "job": "job_1"}, 400),
        ("adjust", {"credits": 0, "reference": "a", "team": "drawing"}, 400),
        ("adjust", {"credits": 0.0000001, "reference": "a", "team": "drawing"}, 400),
        ("adjust", {"credits": 1, "reference": "", "team": "drawing"}, 400),
        ("adjust", {"credits": 1, "reference": "a\u0000", "team": "drawing"}, 400),
        ("adjust", {"credits": 1, "reference": "a", "team": "nobody"}, 404),
        ("refund", {"credits": 1, "reference": "a", "job": "job_1"}, 404),
        ("refund", {"credits": -1, "reference": "a", "team": "drawing"}, 400),
        ("refund", {"reference": "a", "team": "drawing"}, 400),
    ],
)
async def test_a_wrong_correction_is_refused(door: Door, path: str, body: dict[str, Any], status: int) -> None:
    """An entry that is for nobody, of nothing, or without a reference is refused, and nothing is booked."""
    await door.team("drawing")
    assert (await post(door, f"ledger/{path}", **body)).status_code == status
    assert await door.rows(tables.ledger_entries) == []
    assert await door.rows(tables.audit) == []


async def test_usage_by_each_group(any_door: Door) -> None:
    """Usage by team, model, key and day each sums the same credits, jobs and pictures, as the ledger has them."""
    drawing, other = await any_door.caller("drawing"), await any_door.caller("other")
    await charged(any_door, drawing)
    await charged(any_door, other, num_outputs=2)
    await any_door.run(other)
    today = datetime.now(UTC).date()
    for by in ("team", "model", "key", "day"):
        report = await get(any_door, "usage", by=by)
        assert (report["total"]["charged"], report["total"]["held"], report["total"]["jobs"]) == (6, 2, 3), by
        assert sum(line["charged"] for line in report["usage"]) == 6
    by_team = {
        line["team"]: (line["jobs"], line["charged"], line["held"]) for line in (await get(any_door, "usage"))["usage"]
    }
    assert by_team == {"drawing": (1, 2, 0), "other": (2, 4, 2)}
    assert [line["day"] for line in (await get(any_door, "usage", by="day"))["usage"]] == [today.isoformat()]
    assert (await get(any_door, "usage", until=today.isoformat()))["usage"] == []
    assert (await get(any_door, "usage", since=(today + timedelta(days=1)).isoformat()))["usage"] == []
    assert (await get(any_door, "usage", team="drawing"))["total"]["charged"] == 2


async def test_usage_has_what_was_saved(any_door: Door) -> None:
    """Each report but that by key has the answers that cost nothing, also where nothing was spent, and their sum."""
    await charged(any_door, await any_door.caller("drawing"))
    idle = await any_door.team("idle")
    (job,) = await any_door.rows(tables.jobs)
    today = job["created_at"].date()
    saved = [
        Saved(job["team_id"], "flux-2-max", today.isoformat(), 3, 6_000_000),
        Saved(job["team_id"], "flux-2-pro", today.isoformat(), 1, 1_250_000),
        Saved(idle.id, "flux-2-max", (today - timedelta(days=1)).isoformat(), 1, 2_000_000),
    ]
    async with any_door.database.write() as tx:
        await hits.count(tx, saved)

    async def lines(name: str, **query: str) -> list[tuple[Any, ...]]:
        report = await get(any_door, "usage", **query)
        assert sum(line["saved"] or 0 for line in report["usage"]) in (0, report["total"]["saved"])
        return [(line[name], line["charged"], line["reused"], line["saved"]) for line in report["usage"]]

    assert sorted(await lines("team")) == [("drawing", 2, 4, 7.25), ("idle", 0, 1, 2)]
    assert await lines("model", by="model") == [("flux-2-max", 2, 4, 8), ("flux-2-pro", 0, 1, 1.25)]
    assert [line[1:] for line in await lines("day", by="day")] == [(0, 1, 2), (2, 4, 7.25)]
    assert [line[1:] for line in await lines("keyId", by="key")] == [(2, None, None)]
    assert (await get(any_door, "usage", by="key"))["total"]["saved"] == 9.25
    assert await lines("team", team="idle") == [("idle", 0, 1, 2)]
    assert await lines("team", since=today.isoformat()) == [("drawing", 2, 4, 7.25)]
    assert await lines("team", until=today.isoformat()) == [("idle", 0, 1, 2)]
    sheet = (await any_door.client.get("/admin/v1/usage?by=key&format=csv", headers=ADMIN)).text
    assert [(line["charged"], line["reused"], line["saved"]) for line in csv.DictReader(io.StringIO(sheet))] == [
        ("2", "", "")
    ]


async def test_usage_as_a_sheet(door: Door) -> None:
    """Usage as CSV, by format or by Accept, has the same sums, and no cell that a spreadsheet would carry out."""
    await charged(door, await door.caller("drawing"))
    team = next(row for row in await door.rows(tables.teams))
    async with door.database.write() as tx:
        await tx.execute(tables.api_keys.update().values(name="=cmd()"))
    asked = await door.client.get("/admin/v1/usage", headers=ADMIN, params={"by": "key", "format": "csv"})
    accepted = await door.client.get("/admin/v1/usage?by=key", headers={**ADMIN, "Accept": "text/csv"})
    assert asked.text == accepted.text
    assert asked.headers["Content-Type"].startswith("text/csv")
    (line,) = csv.DictReader(io.StringIO(asked.text))
    assert (line["teamId"], line["key"], line["charged"], line["jobs"]) == (team["id"], "'=cmd()", "2", "1")
    for query in ("format=xml", "by=week", "since=2026-13-01"):
        assert (await door.client.get(f"/admin/v1/usage?{query}", headers=ADMIN)).status_code == 400


async def test_the_audit_log_is_listed_by_filters(any_door: Door) -> None:
    """Records come newest first, over pages, and each filter narrows them."""
    for name in ("drawing", "other", "third"):
        await post(any_door, "teams", name=name)
    await post(any_door, "teams/drawing/drain")
    page = await get(any_door, "audit", limit=3)
    rest = await get(any_door, "audit", limit=3, cursor=page["nextCursor"])
    assert [len(page["records"]), len(rest["records"]), rest["nextCursor"]] == [3, 1, None]
    assert page["records"][0]["action"] == "team.drain"
    drained = page["records"][0]
    assert (drained["before"]["drainedAt"], drained["actor"]) == (None, "admin token")
    assert len((await get(any_door, "audit", team="drawing"))["records"]) == 2
    assert len((await get(any_door, "audit", action="team.create"))["records"]) == 3
    assert (await get(any_door, "audit", actor="nobody"))["records"] == []
    assert len((await get(any_door, "audit", subject=drained["subject"]))["records"]) == 2
