"""Batches over TCP: made, read in pages, listed, taken back, told of, and refused by the place of what is wrong."""

import json

import httpx

from gateway.jobs import batch_body
from gateway.storage import batch_tables, outbox, tables
from gateway.tenancy.scopes import Scope
from service import batches
from tests.api.door import ADMIN_TOKEN, GOOD, Door
from tests.api.test_images import picture

BATCHES = "/api/v1/batches"
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


async def make(door: Door, headers: dict[str, str], count: int = 3, **more: object) -> httpx.Response:
    """Ask for a batch of so many."""
    items = [{**GOOD, "torii": {"metadata": {"number": number}}} for number in range(count)]
    return await door.client.post(BATCHES, headers=headers, json={"model": "flux-2-max", "items": items, **more})


async def test_a_batch_is_made_and_read(any_door: Door) -> None:
    """202 with the batch; its items are read in pages, each as the job that it is, and what is done is there."""
    headers = await any_door.caller()
    made = await make(any_door, headers, concurrency=2, torii={"metadata": {"of": "ours"}})
    assert made.status_code == 202
    body = made.json()
    assert (body["status"], body["total"], body["concurrency"]) == ("running", 3, 2)
    assert body["counts"] == {"pending": 3, "processing": 0, "completed": 0, "failed": 0, "cancelled": 0}
    assert (body["creditCost"], body["torii"]) == (6, {"metadata": {"of": "ours"}})
    place = f"{BATCHES}/{body['batchId']}"
    assert body["statusUrl"].endswith(place)
    first = (await any_door.client.get(place, params={"limit": 2}, headers=headers)).json()
    assert [item["index"] for item in first["items"]] == [0, 1]
    assert [item["job"]["torii"]["metadata"]["number"] for item in first["items"]] == [0, 1]
    following = {"limit": 2, "cursor": first["nextCursor"]}
    rest = (await any_door.client.get(place, params=following, headers=headers)).json()
    assert ([item["index"] for item in rest["items"]], rest["nextCursor"]) == ([2], None)
    job_id = rest["items"][0]["job"]["jobId"]
    await any_door.finish(job_id, picture())
    now = (await any_door.client.get(place, headers=headers)).json()
    assert (now["counts"]["completed"], now["counts"]["pending"]) == (1, 2)
    assert now["items"][2]["job"] == (await any_door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)).json() | {
        "output": now["items"][2]["job"]["output"],
        "assets": now["items"][2]["job"]["assets"],
        "expiresAt": now["items"][2]["job"]["expiresAt"],
    }
    assert (await any_door.client.get(now["items"][2]["job"]["output"]["images"][0])).status_code == 200


async def test_batches_are_listed(door: Door) -> None:
    """Newest first: a key without `read` sees its own."""
    team = await door.team("caller")
    _, reads = await door.key(team)
    _, narrow = await door.key(team, frozenset({Scope.GENERATE}))
    ids = [(await make(door, headers, 1)).json()["batchId"] for headers in (reads, narrow, reads)]
    listed = (await door.client.get(BATCHES, headers=reads, params={"limit": 2})).json()
    assert [each["batchId"] for each in listed["batches"]] == [ids[2], ids[1]]
    rest = (await door.client.get(BATCHES, headers=reads, params={"cursor": listed["nextCursor"]})).json()
    assert [each["batchId"] for each in rest["batches"]] == [ids[0]]
    own = (await door.client.get(BATCHES, headers=narrow)).json()
    assert [each["batchId"] for each in own["batches"]] == [ids[1]]
    for place in (BATCHES, f"{BATCHES}/{ids[1]}"):
        for query, param in (({"cursor": "x" * 9}, "cursor"), ({"limit": "0"}, "limit"), ({"colour": "1"}, "colour")):
            refused = await door.client.get(place, headers=reads, params=query)
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    assert (await door.client.get(f"{BATCHES}/{ids[0]}", headers=narrow)).status_code == 404


async def test_a_batch_is_taken_back(door: Door) -> None:
    """What waits is cancelled at once and costs nothing; one that has finished by then is a 409."""
    headers = await door.caller()
    batch_id = (await make(door, headers, webhook_url="https://hooks.example/batches")).json()["batchId"]
    done = await door.client.post(f"{BATCHES}/{batch_id}/cancel", headers=headers)
    assert (done.status_code, done.json()["status"], done.json()["counts"]["cancelled"]) == (200, "finished", 3)
    assert done.json()["creditCost"] == 0
    again = await door.client.post(f"{BATCHES}/{batch_id}/cancel", headers=headers)
    assert (again.status_code, again.json()["cancelledAt"]) == (200, done.json()["cancelledAt"])
    (message,) = await door.rows(outbox.deliveries)
    assert (message["type"], message["batch_id"], message["job_id"]) == ("batch.finished", batch_id, None)
    listed = (await door.client.get("/admin/v1/deliveries", headers=ADMIN)).json()["deliveries"]
    assert [(each["batchId"], each["jobId"]) for each in listed] == [(batch_id, None)]
    async with door.database.write() as tx:
        await tx.execute(batch_tables.batches.update().values(cancelled_at=None))
    refused = await door.client.post(f"{BATCHES}/{batch_id}/cancel", headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")


async def test_a_repeated_batch(door: Door) -> None:
    """The same `Idempotency-Key` and body give the same batch; another body is a 422."""
    headers = {**await door.caller(), "Idempotency-Key": "once"}
    first, again = await make(door, headers), await make(door, headers)
    assert (first.json()["batchId"], again.status_code) == (again.json()["batchId"], 202)
    assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")
    other = await make(door, headers, 2)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")


async def test_what_is_wrong_is_named(door: Door) -> None:
    """An item's mistake is a 400 that names its place, and no item of the batch is made."""
    headers = await door.caller()
    items = [GOOD, GOOD, {**GOOD, "num_outputs": 9}]
    refused = await door.client.post(BATCHES, headers=headers, json={"model": "flux-2-max", "items": items})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "items[2].num_outputs")
    assert refused.json()["detail"].startswith("items[2]: ")
    none = await door.client.post(BATCHES, headers=headers, json={"items": [{**GOOD, "model": "none"}]})
    assert (none.status_code, none.json()["error"]["code"]) == (404, "model_not_found")
    assert await door.rows(tables.jobs) == []


async def test_a_batch_may_be_large(door: Door) -> None:
    """As many items as may be come in one body above the usual bound; one beyond 4 MiB is a 413."""
    headers = await door.caller()
    items = [{"prompt": f"{number} " + "a torii gate " * 250} for number in range(batch_body.MOST_ITEMS)]
    body = json.dumps({"model": "flux-2-max", "items": items})
    assert 3_000_000 < len(body) < batches.MAX_BYTES
    typed = {**headers, "Content-Type": "application/json"}
    made = await door.client.post(BATCHES, headers=typed, content=body)
    assert (made.status_code, made.json()["total"]) == (202, batch_body.MOST_ITEMS)
    large = body + " " * batches.MAX_BYTES
    refused = await door.client.post(BATCHES, headers=typed, content=large)
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "body_too_large")
