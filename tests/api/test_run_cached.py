"""What a run's headers say about the cache, and what its answer says of it, over TCP."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from gateway.archive import bucket
from gateway.reuse import entries, flights
from gateway.reuse.entries import Keeping
from gateway.reuse.places import Place
from gateway.storage import tables
from tests.api.door import GOOD, Door
from tests.api.test_images import picture

SEEDED = GOOD | {"seed": 7}


async def run(
    door: Door, headers: dict[str, str], *cache_control: str, body: dict[str, Any] | None = None
) -> httpx.Response:
    """Order, with those lines of ``Cache-Control``."""
    lines = [("Cache-Control", each) for each in cache_control]
    return await door.client.post(
        "/api/v1/models/flux-2-max/run", headers=[*headers.items(), *lines], json=SEEDED if body is None else body
    )


async def keep(door: Door, job_id: str) -> None:
    """Finish the job and keep its picture, as a worker would have."""
    await door.finish(job_id, picture())
    (job,) = [row for row in await door.rows(tables.jobs) if row["id"] == job_id]
    place = Place(job["team_id"], job["fingerprint"])
    async with door.database.write() as tx:
        now = datetime.now(UTC)
        flight = await flights.led_by(tx, job_id)
        assert flight is not None
        await flights.close(tx, flight, "completed", now)
        await entries.put(tx, place, Keeping(job["team_id"], job["model"], job_id, 2_000_000), now)


async def lose(door: Door) -> None:
    """Delete the one picture from the archive, as by hand."""
    (image,) = await door.rows(tables.images)
    archive = bucket.open(door.settings.archive_url)
    try:
        await archive.delete(image["object_key"])
    finally:
        archive.close()


async def counted(door: Door) -> dict[str, float]:
    """The requests as the metric has them, by result."""
    page = (await door.client.get("/metrics")).text
    lines = [line for line in page.splitlines() if line.startswith("torii_cache_requests_total{")]
    return {line.partition('result="')[2].partition('"')[0]: float(line.rpartition(" ")[2]) for line in lines}


async def test_each_handling_is_told_and_counted(any_door: Door) -> None:
    """A miss, one that shares it, a hit, a bypass and a request for something new: each says so in its own words."""
    door = any_door
    headers = await door.caller()
    first = await run(door, headers)
    shared = await run(door, headers)
    unseeded = await run(door, headers, body=GOOD)
    anew = await run(door, headers, "max-age=60", "no-cache")
    assert [each.headers["Cache-Status"] for each in (first, shared, unseeded, anew)] == [
        "torii; fwd=miss",
        "torii; fwd=miss; collapsed",
        "torii; fwd=bypass",
        "torii; fwd=request",
    ]
    assert [each.json()["creditCost"] for each in (first, shared, unseeded, anew)] == [2, 0, 2, 2]
    assert {each.status_code for each in (first, shared, unseeded, anew)} == {202}
    assert "RateLimit" in first.headers
    assert "RateLimit" not in shared.headers
    await keep(door, first.json()["jobId"])
    for number in range(2):
        hit = await run(door, headers, body=SEEDED | {"torii": {"metadata": {"number": number}}})
        body = hit.json()
        assert (hit.status_code, hit.headers["Cache-Status"]) == (200, "torii; hit")
        assert 0 <= int(hit.headers["Age"]) < 60
        assert (body["jobId"], body["status"], body["cached"]) == (first.json()["jobId"], "completed", True)
        assert (body["creditCost"], body["torii"]) == (0, {"metadata": {"number": number}})
        assert (await door.client.get(body["output"]["images"][0])).content == picture()
        assert "Retry-After" not in hit.headers
    assert await counted(door) == {"miss": 1, "collapsed": 1, "bypass": 2, "hit": 2}


async def test_only_if_cached_is_a_504_without_an_answer(door: Door) -> None:
    """It makes nothing, joins nothing, and says whose decision that was."""
    headers = await door.caller()
    for header in ("only-if-cached", "max-age=1, only-if-cached"):
        answer = await run(door, headers, header)
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "not_cached")
        assert answer.headers["Cache-Status"] == "torii; detail=only-if-cached"
    await run(door, headers)
    assert (await run(door, headers, "only-if-cached")).status_code == 504
    assert len(await door.rows(tables.jobs)) == 1


@pytest.mark.parametrize("header", ["no-store", "no-store, max-age=0"])
async def test_what_is_not_to_be_kept_has_no_print(door: Door, header: str) -> None:
    """``no-store`` still shares a flight, and leaves nothing to keep by."""
    headers = await door.caller()
    assert (await run(door, headers, header)).headers["Cache-Status"] == "torii; fwd=miss"
    assert [row["fingerprint"] for row in await door.rows(tables.jobs)] == [None]
    assert (await run(door, headers)).headers["Cache-Status"] == "torii; fwd=miss; collapsed"


async def test_a_follower_may_be_taken_back_and_listed_teams_stay_apart(door: Door) -> None:
    """Taken back it costs nobody anything; another team's same request neither joins nor hits."""
    headers = await door.caller()
    first, shared = await run(door, headers), await run(door, headers)
    stranger = await run(door, await door.caller("stranger"))
    assert stranger.headers["Cache-Status"] == "torii; fwd=miss"
    path = f"/api/v1/jobs/{shared.json()['jobId']}"
    assert (await door.client.get(path, headers=headers)).json()["creditCost"] == 0
    gone = await door.client.post(f"{path}/cancel", headers=headers)
    assert (gone.status_code, gone.json()["state"]) == (200, "cancelled")
    assert (await door.client.get(f"/api/v1/jobs/{first.json()['jobId']}", headers=headers)).json()["state"] == "queued"


async def test_a_picture_that_was_deleted_by_hand_is_made_anew_once_it_was_asked_for(any_door: Door) -> None:
    """One reading of its link finds out; the next order is a miss, and never an error."""
    door = any_door
    headers = await door.caller()
    await keep(door, (await run(door, headers)).json()["jobId"])
    hit = await run(door, headers)
    assert hit.headers["Cache-Status"] == "torii; hit"
    await lose(door)
    assert (await door.client.get(hit.json()["output"]["images"][0])).status_code == 404
    anew = await run(door, headers)
    assert (anew.status_code, anew.headers["Cache-Status"]) == (202, "torii; fwd=miss")
