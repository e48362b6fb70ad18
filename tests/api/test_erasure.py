"""Erasing jobs and keeping things for a while, as callers and operators see it over TCP."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.storage import erasure_tables, tables
from gateway.tenancy.scopes import Scope
from tests.api.door import ADMIN_TOKEN, GOOD, Door
from tests.api.test_images import picture

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
MANY = (Scope.GENERATE, Scope.READ, Scope.MANAGE)


async def finished(door: Door, headers: dict[str, str]) -> str:
    """A completed job; its id."""
    job_id = str((await door.run(headers)).json()["jobId"])
    await door.finish(job_id, picture())
    return job_id


async def test_an_erased_job_shows_that_it_is(any_door: Door) -> None:
    """Its answer and each later reading have `erasedAt` and no pictures, its links are a 410, and again is the same."""
    headers = await any_door.caller("caller", *MANY)
    job_id = await finished(any_door, headers)
    place = f"/api/v1/jobs/{job_id}"
    link = (await any_door.client.get(place, headers=headers)).json()["output"]["images"][0]
    assert (await any_door.client.get(link)).status_code == 200
    erased = await any_door.client.delete(place, headers=headers)
    assert (erased.status_code, erased.json()["status"]) == (200, "completed")
    assert (erased.json()["output"], erased.json()["assets"]) == ({"images": []}, [])
    read = (await any_door.client.get(place, headers=headers)).json()
    assert read["erasedAt"] == erased.json()["erasedAt"]
    assert read["creditCost"] == 2
    gone = await any_door.client.get(link)
    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "image_gone")
    again = await any_door.client.delete(place, headers=headers)
    assert (again.status_code, again.json()["erasedAt"]) == (200, read["erasedAt"])
    (row,) = await any_door.rows(tables.jobs)
    assert GOOD["prompt"] not in str(row)
    replay = await any_door.client.post(f"{place}/webhook/replay", headers=headers)
    assert replay.status_code == 409


async def test_a_waiting_job_is_taken_back(door: Door) -> None:
    """Erasing what waits cancels it; what was sent is a 409 that says so."""
    headers = await door.caller("caller", *MANY)
    waiting, sent = [(await door.run(headers)).json()["jobId"] for _ in range(2)]
    done = await door.client.delete(f"/api/v1/jobs/{waiting}", headers=headers)
    assert (done.status_code, done.json()["state"], done.json()["creditCost"]) == (200, "cancelled", 0)
    async with door.database.write() as tx:
        await tx.execute(tables.jobs.update().where(tables.jobs.c.id == sent).values(state="running"))
    refused = await door.client.delete(f"/api/v1/jobs/{sent}", headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    assert "running" in refused.json()["detail"]


async def test_only_who_manages_erases(door: Door) -> None:
    """A key that orders and reads may not erase, its own job or another's; nor may another team's manager."""
    team = await door.team("caller")
    _, orders = await door.key(team)
    job_id = await finished(door, orders)
    refused = await door.client.delete(f"/api/v1/jobs/{job_id}", headers=orders)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "missing_scope")
    stranger = await door.caller("stranger", *MANY)
    assert (await door.client.delete(f"/api/v1/jobs/{job_id}", headers=stranger)).status_code == 404
    assert (await door.client.get(f"/api/v1/jobs/{job_id}", headers=orders)).json()["assets"] != []


async def test_an_operator_erases_any_job(door: Door) -> None:
    """By the admin token, noted in the audit log, with what is to go from the archive written down."""
    job_id = await finished(door, await door.caller())
    erased = await door.client.delete(f"/admin/v1/jobs/{job_id}", headers=ADMIN)
    assert (erased.status_code, erased.json()["id"], erased.json()["immediate"]) == (200, job_id, True)
    noted = [row for row in await door.rows(tables.audit) if row["action"] == "job.erase"]
    assert [(row["actor"], row["subject"]) for row in noted] == [("admin token", job_id)]
    (row,) = await door.rows(erasure_tables.erasures)
    assert await asyncio.to_thread(Path(door.settings.archive_url, row["object_key"]).exists)
    missing = await door.client.delete("/admin/v1/jobs/job_none", headers=ADMIN)
    assert missing.status_code == 404


async def test_retention_is_chosen_and_tried(door: Door) -> None:
    """Days are set and taken away by PATCH, shown with the team, counted as a trial, and refused if they are none."""
    headers = await door.caller("keepers")
    job_id = await finished(door, headers)
    async with door.database.write() as tx:
        ended_at = datetime.now(UTC) - timedelta(days=10)
        await tx.execute(tables.jobs.update().where(tables.jobs.c.id == job_id).values(ended_at=ended_at))
    place = "/admin/v1/teams/keepers"
    assert (await door.client.get(place, headers=ADMIN)).json()["retention"] == {
        "picturesDays": None,
        "promptsDays": None,
    }
    for days, pictures in ((9, 1), (11, 0)):
        found = await door.client.get(f"{place}/retention", params={"picturesDays": days}, headers=ADMIN)
        assert (found.json()["pictures"], found.json()["prompts"]) == (pictures, 0)
    body = {"retention": {"picturesDays": 30, "promptsDays": 7}}
    changed = await door.client.patch(place, json=body, headers=ADMIN)
    assert changed.json()["retention"] == body["retention"]
    found = (await door.client.get(f"{place}/retention", headers=ADMIN)).json()
    assert (found["picturesDays"], found["pictures"], found["prompts"]) == (30, 0, 1)
    one = await door.client.patch(place, json={"retention": {"promptsDays": None}}, headers=ADMIN)
    assert one.json()["retention"] == {"picturesDays": 30, "promptsDays": None}
    for none in (0, -1, 4000, "seven"):
        refused = await door.client.patch(place, json={"retention": {"picturesDays": none}}, headers=ADMIN)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "retention.picturesDays")
    for text in ("0", "x", "99999999999"):
        refused = await door.client.get(f"{place}/retention", params={"promptsDays": text}, headers=ADMIN)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "promptsDays")
    noted = [row for row in await door.rows(tables.audit) if row["action"] == "team.update"]
    assert [row["after"]["retention"]["promptsDays"] for row in noted] == [7, None]
