"""Webhooks over HTTP: naming a URL, the team's own, secrets, the log, and replays."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.jobs.announce import Status
from gateway.storage import outbox, tables
from gateway.tenancy.scopes import Scope
from tests.api.door import ADMIN_TOKEN, GOOD, Door

URL = "https://hooks.example/torii?token=abc"
OPERATOR = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


async def ended(door: Door, headers: dict[str, str], url: str | None = URL) -> str:
    """A job that ended; its id."""
    body: dict[str, Any] = {**GOOD, "webhook_url": url} if url else dict(GOOD)
    job_id: str = (await door.run(headers, body)).json()["jobId"]
    assert (await door.client.post(f"/api/v1/jobs/{job_id}/cancel", headers=headers)).status_code == 200
    return job_id


async def replay(door: Door, headers: dict[str, str], job_id: str) -> Any:
    """Ask for the job's webhook once more."""
    return await door.client.post(f"/api/v1/jobs/{job_id}/webhook/replay", headers=headers)


async def test_an_order_names_its_url(door: Door) -> None:
    """A good URL is taken and kept, also as null; the job's answer does not repeat it."""
    headers = await door.caller()
    for url in (URL, None):
        answer = await door.run(headers, {**GOOD, "webhook_url": url})
        assert answer.status_code == 202
        assert "hooks.example" not in answer.text
    assert {row["webhook_url"] for row in await door.rows(tables.jobs)} == {URL, None}


@pytest.mark.parametrize("url", ["http://hooks.example/", "https://127.0.0.1/", "https://169.254.169.254/", 7, ""])
async def test_a_bad_url_is_named(door: Door, url: object) -> None:
    """A URL that may not be called is a 400 that names the field, for a run and for a quote."""
    headers = await door.caller()
    for what in ("run", "quote"):
        body = {**GOOD, "webhook_url": url}
        answer = await door.client.post(f"/api/v1/models/flux-2-max/{what}", headers=headers, json=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "webhook_url"


async def test_a_replay(door: Door) -> None:
    """An ended job's webhook is sent again under one id; the record says who asked."""
    key, headers = await door.key(await door.team("caller"))
    job_id = await ended(door, headers)
    first, second = await replay(door, headers, job_id), await replay(door, headers, job_id)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] == second.json()["id"]
    assert (first.json()["type"], first.json()["state"], first.json()["jobId"]) == ("job.cancelled", "pending", job_id)
    assert len(await door.rows(outbox.deliveries)) == 1
    notes = [row for row in await door.rows(tables.audit) if row["action"] == "webhook.replay"]
    assert [(note["actor"], note["subject"]) for note in notes] == [(f"key {key.id}", first.json()["id"])] * 2


async def test_nothing_to_replay(door: Door) -> None:
    """A job that has not ended and one without any URL are conflicts that say so."""
    headers = await door.caller()
    queued = (await door.run(headers, {**GOOD, "webhook_url": URL})).json()["jobId"]
    silent = await ended(door, headers, None)
    for job_id, says in ((queued, "queued"), (silent, "webhook URL")):
        answer = await replay(door, headers, job_id)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
        assert says in answer.json()["error"]["message"]


async def test_a_url_that_came_later(door: Door) -> None:
    """An end that nobody was told of is told by a replay once the team has a URL."""
    headers = await door.caller("late")
    job_id = await ended(door, headers, None)
    put = await door.client.put("/admin/v1/webhooks/late", headers=OPERATOR, json={"url": URL})
    assert (put.status_code, put.json()["url"]) == (200, URL)
    answer = await replay(door, headers, job_id)
    assert (answer.status_code, answer.json()["url"]) == (202, "https://hooks.example/")


async def test_who_is_told_the_whole_url(door: Door) -> None:
    """What stands behind the host may be a secret of the receiver's: a replay tells it to keys with `manage` alone."""
    team = await door.team("own")
    _, caller = await door.key(team)
    _, manager = await door.key(team, frozenset({Scope.MANAGE}))
    put = await door.client.put("/admin/v1/webhooks/own", headers=manager, json={"url": URL.replace("/t", ":444/t")})
    assert put.status_code == 200
    job_id = await ended(door, caller, None)
    told = [(await replay(door, headers, job_id)).json()["url"] for headers in (caller, manager)]
    assert told == ["https://hooks.example:444/", URL.replace("/t", ":444/t")]


async def test_whose_job_is_replayed(door: Door) -> None:
    """With `generate` the key's own jobs alone, with `manage` any of the team's, never another team's."""
    team = await door.team("own")
    _, own = await door.key(team, frozenset({Scope.GENERATE}))
    _, sister = await door.key(team, frozenset({Scope.GENERATE}))
    _, manager = await door.key(team, frozenset({Scope.MANAGE}))
    stranger = await door.caller("stranger", Scope.GENERATE, Scope.MANAGE)
    job_id = await ended(door, own)
    statuses = [(await replay(door, headers, job_id)).status_code for headers in (own, sister, manager, stranger)]
    assert statuses == [202, 404, 202, 404]


async def test_a_secret_is_shown_once(door: Door) -> None:
    """A rotation shows the new text in its one answer; afterwards only ids and times, and no record has it."""
    await door.caller("own")
    first = await door.client.post("/admin/v1/webhooks/own/rotate-secret", headers=OPERATOR, json={"graceS": 0})
    second = await door.client.post("/admin/v1/webhooks/own/rotate-secret", headers=OPERATOR)
    assert (first.status_code, second.status_code) == (201, 201)
    text = second.json()["secret"]
    assert text.startswith("whsec_")
    shown = await door.client.get("/admin/v1/webhooks/own", headers=OPERATOR)
    assert [each["id"] for each in shown.json()["secrets"]] == [second.json()["id"], first.json()["id"]]
    until = datetime.fromisoformat(shown.json()["secrets"][1]["expiresAt"])
    assert timedelta(hours=23) < until - datetime.now(UTC) <= timedelta(hours=24)
    assert text not in shown.text
    assert text not in str(await door.rows(tables.audit))
    actions = [row["action"] for row in await door.rows(tables.audit)]
    assert actions.count("webhook.rotate_secret") == 2


@pytest.mark.parametrize("body", [{"graceS": -1}, {"graceS": 31 * 86_400}, {"grace": 5}, {"graceS": "1h"}])
async def test_a_bad_grace_is_named(door: Door, body: dict[str, Any]) -> None:
    """A grace is from 0 seconds to 30 days."""
    await door.caller("own")
    answer = await door.client.post("/admin/v1/webhooks/own/rotate-secret", headers=OPERATOR, json=body)
    assert answer.status_code == 400


async def test_a_teams_url_is_judged_too(door: Door) -> None:
    """A team's own URL obeys the same rules on each way to set it, and its change is on record."""
    await door.caller("own")
    for method, path, member in (
        ("PUT", "/admin/v1/webhooks/own", "url"),
        ("PATCH", "/admin/v1/teams/own", "webhookUrl"),
    ):
        bad = await door.client.request(method, path, headers=OPERATOR, json={member: "https://10.0.0.1/"})
        assert (bad.status_code, bad.json()["error"]["param"]) == (400, member)
        good = await door.client.request(method, path, headers=OPERATOR, json={member: URL})
        assert (good.status_code, good.json()[member]) == (200, URL)
        away = await door.client.request(method, path, headers=OPERATOR, json={member: None})
        assert (away.status_code, away.json()[member]) == (200, None)
    made = await door.client.post("/admin/v1/teams", headers=OPERATOR, json={"name": "made", "webhookUrl": URL})
    assert (made.status_code, made.json()["webhookUrl"]) == (201, URL)
    notes = [row for row in await door.rows(tables.audit) if row["action"] == "webhook.put"]
    assert [note["after"] for note in notes] == [{"url": URL}, {"url": None}]


async def test_a_manager_sees_its_own_team(door: Door) -> None:
    """With `manage` the log, the URL and the secret of the own team are in reach, and no other's is there."""
    team = await door.team("own")
    _, caller = await door.key(team)
    _, manager = await door.key(team, frozenset({Scope.MANAGE}))
    foreign = await door.caller("foreign")
    mine, theirs = await ended(door, caller), await ended(door, foreign)
    listed = await door.client.get("/admin/v1/deliveries", headers=manager)
    assert [each["jobId"] for each in listed.json()["deliveries"]] == [mine]
    every = await door.client.get("/admin/v1/deliveries", headers=OPERATOR)
    assert {each["jobId"] for each in every.json()["deliveries"]} == {mine, theirs}
    assert (await door.client.get("/admin/v1/deliveries?team=foreign", headers=manager)).status_code == 404
    by_job = await door.client.get(f"/admin/v1/deliveries?job={theirs}", headers=manager)
    assert by_job.json()["deliveries"] == []
    (other,) = (await door.client.get("/admin/v1/deliveries?team=foreign", headers=OPERATOR)).json()["deliveries"]
    for method, path in (
        ("GET", f"/admin/v1/deliveries/{other['id']}"),
        ("POST", f"/admin/v1/deliveries/{other['id']}/replay"),
        ("GET", "/admin/v1/webhooks/foreign"),
        ("POST", "/admin/v1/webhooks/foreign/rotate-secret"),
    ):
        assert (await door.client.request(method, path, headers=manager)).status_code == 404, path
    assert (await door.client.get("/admin/v1/webhooks/own", headers=manager)).status_code == 200
    assert (await door.client.post("/admin/v1/webhooks/own/rotate-secret", headers=manager)).status_code == 201


async def test_the_log_by_pages_and_filters(door: Door) -> None:
    """The log comes newest first, page by page, by state and by what the last try came to."""
    headers = await door.caller()
    jobs = [await ended(door, headers) for _ in range(3)]
    first = (await door.client.get("/admin/v1/deliveries?limit=2", headers=OPERATOR)).json()
    rest = (
        await door.client.get(f"/admin/v1/deliveries?limit=2&cursor={first['nextCursor']}", headers=OPERATOR)
    ).json()
    found = [each["jobId"] for each in (*first["deliveries"], *rest["deliveries"])]
    assert (found, rest["nextCursor"]) == (jobs[::-1], None)
    one = first["deliveries"][0]["id"]
    async with door.database.write() as tx:
        table = outbox.deliveries
        dead = {"state": Status.DEAD, "outcome": "timeout", "tries": 11, "ended_at": datetime.now(UTC)}
        await tx.execute(sa.update(table).where(table.c.id == one).values(dead))
    for query, number in (("state=dead", 1), ("state=pending", 2), ("outcome=timeout", 1), ("outcome=gone", 0)):
        answer = await door.client.get(f"/admin/v1/deliveries?{query}", headers=OPERATOR)
        assert len(answer.json()["deliveries"]) == number, query
    assert (await door.client.get("/admin/v1/deliveries?state=lost", headers=OPERATOR)).status_code == 400
    page = (await door.client.get(f"/admin/v1/deliveries/{one}", headers=OPERATOR)).json()
    assert (page["state"], page["outcome"], page["log"], page["dueAt"]) == ("dead", "timeout", [], None)
    revived = await door.client.post(f"/admin/v1/deliveries/{one}/replay", headers=OPERATOR)
    assert (revived.status_code, revived.json()["id"], revived.json()["state"]) == (202, one, "pending")


async def test_what_is_superseded_is_not_replayed(door: Door) -> None:
    """An event that a later one replaced is a conflict, an unknown one a 404."""
    headers = await door.caller()
    await ended(door, headers)
    (row,) = await door.rows(outbox.deliveries)
    async with door.database.write() as tx:
        await tx.execute(sa.update(outbox.deliveries).values(state=Status.SUPERSEDED))
    answer = await door.client.post(f"/admin/v1/deliveries/{row['id']}/replay", headers=OPERATOR)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    missing = await door.client.get("/admin/v1/deliveries/msg_none", headers=OPERATOR)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "delivery_not_found")
