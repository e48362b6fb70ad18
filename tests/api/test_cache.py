"""The cache as operators and teams see it over TCP: choices, what is held and saved, and what is taken out of it."""

import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.clock import SystemClock
from gateway.images import catalogue, parameters
from gateway.jobs import purging
from gateway.reuse import entries, hits, key, places
from gateway.reuse.entries import Keeping
from gateway.reuse.hits import Saved
from gateway.reuse.places import POOL, Place
from gateway.reuse.shelf import Shelf
from gateway.storage import keyspace, reuse_tables, tables, valkey
from gateway.tenancy.choices import Choices
from gateway.tenancy.scopes import Scope
from tests.api.door import ADMIN_TOKEN, Door, environment
from tests.api.test_images import picture
from tests.support import ports, wait
from tests.support.s3_bucket import Bucket

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
TEAMS = "/admin/v1/teams"
CACHE = "/admin/v1/cache"
PURGE = "/admin/v1/cache/purge"
NOTHING_CHOSEN = {"ttlS": None, "unseeded": False, "pool": False}


async def finished(door: Door, headers: dict[str, str]) -> str:
    """A completed job; its id."""
    job_id = str((await door.run(headers)).json()["jobId"])
    await door.finish(job_id, picture())
    return job_id


async def keep(door: Door, job_id: str, scope: str = "", model: str = "flux-2-max") -> Place:
    """Keep a completed job as the answer to some request, of its own team or in the pool."""
    (job,) = [row for row in await door.rows(tables.jobs) if row["id"] == job_id]
    place = Place(scope or job["team_id"], secrets.token_hex(32))
    async with door.database.write() as tx:
        await entries.put(tx, place, Keeping(job["team_id"], model, job_id, 2_000_000), datetime.now(UTC))
    return place


async def kept(door: Door) -> set[tuple[str, str]]:
    """The places in the cache."""
    return {(row["scope"], row["fingerprint"]) for row in await door.rows(reuse_tables.cache_entries)}


async def purge(door: Door, headers: dict[str, str] | None = None, **body: object) -> dict[str, Any]:
    """Take something out of the cache."""
    answer = await door.client.post(PURGE, headers=ADMIN if headers is None else headers, json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_a_teams_choices_are_read_and_changed(any_door: Door) -> None:
    """A team begins with the defaults; a change touches what it names alone, and the audit log has both states."""
    team = (await any_door.client.post(TEAMS, headers=ADMIN, json={"name": "drawing"})).json()
    assert team["cache"] == NOTHING_CHOSEN
    url = f"{TEAMS}/drawing"
    changed = await any_door.client.patch(url, headers=ADMIN, json={"cache": {"ttlS": 60, "unseeded": True}})
    assert changed.json()["cache"] == {"ttlS": 60, "unseeded": True, "pool": False}
    await any_door.client.patch(url, headers=ADMIN, json={"cache": {"pool": True}})
    await any_door.client.patch(url, headers=ADMIN, json={"rpm": 7})
    now = {"ttlS": 60, "unseeded": True, "pool": True}
    assert (await any_door.client.get(url, headers=ADMIN)).json()["cache"] == now
    assert [each["cache"] for each in (await any_door.client.get(TEAMS, headers=ADMIN)).json()["teams"]] == [now]
    await any_door.client.patch(url, headers=ADMIN, json={"cache": {"ttlS": None, "unseeded": False}})
    assert (await any_door.client.get(f"{url}/export", headers=ADMIN)).json()["team"]["cache"] == {
        "ttlS": None,
        "unseeded": False,
        "pool": True,
    }
    records = sorted(await any_door.rows(tables.audit), key=lambda row: row["created_at"])
    assert [(row["action"], row["after"]["cache"]["pool"]) for row in records] == [
        ("team.create", False),
        ("team.update", False),
        ("team.update", True),
        ("team.update", True),
        ("team.update", True),
    ]
    assert records[2]["before"]["cache"] == {"ttlS": 60, "unseeded": True, "pool": False}


async def test_a_team_is_made_with_choices(door: Door) -> None:
    """A new team's choices can be given with it."""
    made = await door.client.post(TEAMS, headers=ADMIN, json={"name": "drawing", "cache": {"pool": True}})
    assert made.json()["cache"] == {"ttlS": None, "unseeded": False, "pool": True}


@pytest.mark.parametrize(
    ("cache", "param"),
    [
        ({"ttlS": 0}, "cache.ttlS"),
        ({"ttlS": 366 * 86_400 + 1}, "cache.ttlS"),
        ({"ttlS": "1"}, "cache.ttlS"),
        ({"pool": None}, "cache.pool"),
        ({"shared": True}, "shared"),
        (None, "cache"),
    ],
)
async def test_a_wrong_choice_is_refused_by_name(door: Door, cache: object, param: str) -> None:
    """What is wrong about a choice is named, and nothing is changed."""
    await door.team("drawing")
    refused = await door.client.patch(f"{TEAMS}/drawing", headers=ADMIN, json={"cache": cache})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param), refused.text
    assert await door.rows(reuse_tables.reuse_choices) == []


async def test_a_deleted_team_leaves_the_pool(door: Door) -> None:
    """Nobody gets a deleted team's pictures from the pool any more."""
    await door.client.post(TEAMS, headers=ADMIN, json={"name": "drawing", "cache": {"pool": True}})
    assert (await door.client.delete(f"{TEAMS}/drawing", headers=ADMIN)).status_code == 200
    assert [row["pool"] for row in await door.rows(reuse_tables.reuse_choices)] == [False]


async def test_a_purge_takes_what_is_named(any_door: Door) -> None:
    """A job's, a model's, a team's entries are purged, or all; each purge is audited, and a second finds nothing."""
    one, two = await any_door.caller("one"), await any_door.caller("two")
    first, second = await finished(any_door, one), await finished(any_door, one)
    third = await finished(any_door, two)
    places = [await keep(any_door, job_id) for job_id in (first, second, third)]
    places += [await keep(any_door, first, POOL), await keep(any_door, second, model="flux-2-pro")]
    left = {(place.scope, place.fingerprint) for place in places}

    async def took(expected: list[Place], **body: Any) -> None:
        left.difference_update((place.scope, place.fingerprint) for place in expected)
        told = await purge(any_door, **body)
        assert told == {"purged": len(expected), "done": True, "immediate": True}
        assert await kept(any_door) == left

    await took([], team="two", model="flux-2-pro")
    await took([places[0], places[3]], jobId=first)
    await took([], jobId=first)
    await took([places[4]], model="flux-2-pro")
    await took([places[1]], team="one")
    await took([places[2]], all=True)
    ids = {row["name"]: row["id"] for row in await any_door.rows(tables.teams)}
    records = [row for row in await any_door.rows(tables.audit) if row["action"] == "cache.purge"]
    assert [(row["subject"], row["after"]) for row in sorted(records, key=lambda row: row["created_at"])] == [
        (ids["two"], {"team": ids["two"], "model": "flux-2-pro"}),
        (first, {"job": first}),
        (first, {"job": first}),
        ("flux-2-pro", {"model": "flux-2-pro"}),
        (ids["one"], {"team": ids["one"]}),
        ("all", {"all": True}),
    ]


async def test_a_purge_goes_in_portions(any_door: Door) -> None:
    """A great many entries are purged by several calls, none of which lasts; Redis is told of each portion."""
    job_id = await finished(any_door, await any_door.caller())
    (job,) = await any_door.rows(tables.jobs)
    now = datetime.now(UTC)
    number = entries.AT_ONCE * purging.PORTIONS_MAX + 1
    rows = [
        {
            "scope": job["team_id"],
            "fingerprint": f"{at:064x}",
            "version": 1,
            "team_id": job["team_id"],
            "model": "flux-2-max",
            "job_id": job_id,
            "cost_micros": 1,
            "created_at": now,
            "checked_at": now,
        }
        for at in range(number)
    ]
    async with any_door.database.write() as tx:
        await tx.execute(reuse_tables.cache_entries.insert(), rows)
    assert await purge(any_door, all=True) == {"purged": number - 1, "done": False, "immediate": True}
    assert await purge(any_door, all=True) == {"purged": 1, "done": True, "immediate": True}
    assert await kept(any_door) == set()


async def test_a_purged_copy_is_not_handed_out(door: Door) -> None:
    """A copy in Redis is gone with the purge of its entry."""
    place = await keep(door, await finished(door, await door.caller()))
    async with valkey.open(door.settings.reveal("redis_url")) as redis:
        shelf = await _on_the_shelf(door, redis, place)
        assert (await purge(door, all=True))["immediate"] is True
        looked = await shelf.look(place)
    assert looked is not None
    assert looked.answer is None


async def _on_the_shelf(door: Door, redis: Redis, place: Place) -> Shelf:
    """A shelf with a copy of the entry."""
    shelf = Shelf(redis, SystemClock(), answer_within_s=20)
    looked = await shelf.look(place)
    async with door.database.read() as connection:
        found = await entries.find(connection, place, datetime.now(UTC))
    assert looked is not None
    assert found is not None
    assert await shelf.put(place, found, looked)
    return shelf


async def test_a_purge_without_redis_says_so(sqlite_url: str, tmp_path: Path) -> None:
    """With Redis away the entries are gone all the same, and the answer says that copies may live for a moment."""
    nowhere = f"redis://127.0.0.1:{ports.free_one()}/0"
    async with Door(environment(sqlite_url, nowhere, str(tmp_path / "archive"), ports.free_one())) as door:
        await keep(door, await finished(door, await door.caller()))
        assert await purge(door, all=True) == {"purged": 1, "done": True, "immediate": False}
        assert await kept(door) == set()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "all"),
        ({"all": False}, "all"),
        ({"all": True, "team": "one"}, "all"),
        ({"team": "no\u0000body"}, "all"),
        ({"jobId": 3}, "jobId"),
        ({"everything": True}, "everything"),
    ],
)
async def test_a_purge_has_to_say_of_what(door: Door, body: dict[str, Any], param: str) -> None:
    """A purge of nothing named, of all and a part, or of what can name nothing is a 400, and takes nothing."""
    await keep(door, await finished(door, await door.caller("one")))
    refused = await door.client.post(PURGE, headers=ADMIN, json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param), refused.text
    assert len(await kept(door)) == 1


async def test_a_team_purges_its_own_alone(any_door: Door) -> None:
    """A key with `manage` purges and sees its own team's entries; another's team is a 404, and no other scope may."""
    managing = await any_door.caller("one", Scope.MANAGE, Scope.GENERATE)
    other = await any_door.caller("two")
    mine = await keep(any_door, await finished(any_door, managing))
    foreign = await finished(any_door, other)
    theirs = await keep(any_door, foreign)
    for body in ({"team": "two"}, {"team": "two", "jobId": foreign}, {"team": "nobody"}):
        refused = await any_door.client.post(PURGE, headers=managing, json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "team_not_found")
    assert (await purge(any_door, managing, jobId=foreign))["purged"] == 0
    assert [line["team"] for line in (await any_door.client.get(CACHE, headers=managing)).json()["cache"]] == ["one"]
    assert await kept(any_door) == {(place.scope, place.fingerprint) for place in (mine, theirs)}
    assert (await purge(any_door, managing, all=True))["purged"] == 1
    assert await kept(any_door) == {(theirs.scope, theirs.fingerprint)}
    refused = await any_door.client.post(PURGE, headers=other, json={"all": True})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "missing_scope")


async def test_what_is_held_and_saved_is_told(any_door: Door) -> None:
    """By team and model: entries of its own, those it shares, and what answers that cost nothing would have cost."""
    job_id = await finished(any_door, await any_door.caller("one"))
    await keep(any_door, job_id)
    await keep(any_door, job_id)
    await keep(any_door, job_id, POOL)
    idle = await any_door.team("two")
    (job,) = await any_door.rows(tables.jobs)
    async with any_door.database.write() as tx:
        await hits.count(
            tx,
            [
                Saved(job["team_id"], "flux-2-max", "2026-11-22", 3, 6_000_000),
                Saved(job["team_id"], "flux-2-max", "2026-11-23", 1, 2_000_000),
                Saved(idle.id, "flux-2-pro", "2026-11-23", 1, 1_250_000),
            ],
        )
    found = (await any_door.client.get(CACHE, headers=ADMIN)).json()["cache"]
    first = {"team": "one", "teamId": job["team_id"], "model": "flux-2-max"}
    second = {"team": "two", "teamId": idle.id, "model": "flux-2-pro"}
    assert found == [
        {**first, "entries": 2, "shared": 1, "reused": 4, "saved": 8},
        {**second, "entries": 0, "shared": 0, "reused": 1, "saved": 1.25},
    ]
    for query, expected in ((("team", "two"), found[1:]), (("model", "flux-2-max"), found[:1]), (("model", "x"), [])):
        answer = await any_door.client.get(CACHE, headers=ADMIN, params=dict([query]))
        assert answer.json()["cache"] == expected


async def _gone_by_hand(door: Door, job_id: str, headers: dict[str, str]) -> None:
    """Read the job's picture, which is not in the archive: a 404, and whatever would hand it out is gone."""
    other = await finished(door, headers)
    own, pooled, stays = await keep(door, job_id), await keep(door, job_id, POOL), await keep(door, other)
    url = (await door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)).json()["output"]["images"][0]
    async with valkey.open(door.settings.reveal("redis_url")) as redis:
        shelf = await _on_the_shelf(door, redis, own)
        assert (await door.client.head(url)).status_code == 200
        assert len(await kept(door)) == 3
        answer = await door.client.get(url)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "image_not_found")
        looked = await shelf.look(own)
    assert looked is not None
    assert looked.answer is None
    assert (pooled.scope, pooled.fingerprint) not in await kept(door)
    assert await kept(door) == {(stays.scope, stays.fingerprint)}


async def test_a_missing_picture_is_not_handed_out_again(any_door: Door) -> None:
    """A picture that was deleted by hand from the folder is a 404 once read, and its entries are purged."""
    headers = await any_door.caller()
    job_id = await finished(any_door, headers)
    shutil.rmtree(f"{any_door.settings.archive_url}/pictures")
    await _gone_by_hand(any_door, job_id, headers)


async def test_a_missing_object_is_not_handed_out_again(sqlite_url: str, redis_url: str, s3: Bucket) -> None:
    """A picture that was deleted by hand from the S3 bucket is a 404 once read, and its entries are purged."""
    environ = {**environment(sqlite_url, redis_url, s3.url("torii"), ports.free_one()), **s3.environment()}
    async with Door(environ) as door:
        headers = await door.caller()
        job_id = await finished(door, headers)
        (image,) = await door.rows(tables.images)
        assert s3.request("DELETE", f"torii/{image['object_key']}")[0] == 204
        await _gone_by_hand(door, job_id, headers)


async def test_a_silent_archive_purges_nothing(door: Door) -> None:
    """An archive that is away says nothing about a picture: a 503, and what is kept stays."""
    headers = await door.caller()
    job_id = await finished(door, headers)
    await keep(door, job_id)
    url = (await door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)).json()["output"]["images"][0]
    shutil.rmtree(door.settings.archive_url)
    assert (await door.client.get(url)).status_code == 503
    assert len(await kept(door)) == 1


async def quoted(door: Door, headers: dict[str, str], body: dict[str, Any], **more: str) -> tuple[Any, ...]:
    """What a quote says: cached, collapsed, cost, affordable."""
    path = "/api/v1/models/flux-2-max/quote"
    answer = await door.client.post(path, headers={**headers, **more}, json=body)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    return told["cached"], told["collapsed"], told["creditCost"], told["affordable"]


SEEDED = {"prompt": "a torii gate", "seed": 7}
ANEW = (False, False, 2, True)


async def test_a_quote_says_what_would_cost_nothing(any_door: Door) -> None:
    """A quote tells whether an order would share a generation or be answered again, and leaves no trace anywhere."""
    headers = await any_door.caller("drawing")
    assert await quoted(any_door, headers, SEEDED) == ANEW
    job_id = (await any_door.run(headers, SEEDED)).json()["jobId"]
    assert await quoted(any_door, headers, SEEDED) == (False, True, 0, True)
    assert await quoted(any_door, headers, {**SEEDED, "seed": 8}) == ANEW
    assert await quoted(any_door, headers, SEEDED, **{"Cache-Control": "no-cache"}) == ANEW
    assert await quoted(any_door, await any_door.caller("other"), SEEDED) == ANEW
    await any_door.finish(job_id, picture())
    model = catalogue.load().model("flux-2-max")
    (team_id,) = [row["team_id"] for row in await any_door.rows(tables.jobs)]
    where = places.of(await key.read(any_door.database), team_id, Choices(), model, parameters.canonical(model, SEEDED))
    assert where is not None
    async with any_door.database.write() as tx:
        await entries.put(tx, where.own, Keeping(team_id, "flux-2-max", job_id, 2_000_000), datetime.now(UTC))
    before = [await any_door.rows(table) for table in (tables.jobs, tables.ledger_entries, reuse_tables.flights)]
    assert await quoted(any_door, headers, {**SEEDED, "resolution": "1 MP"}) == (True, False, 0, True)
    assert (await quoted(any_door, headers, SEEDED, **{"Cache-Control": "max-age=0, no-cache"})) == ANEW
    await any_door.client.put("/admin/v1/teams/drawing/budgets/total", headers=ADMIN, json={"limit": 1})
    assert await quoted(any_door, headers, SEEDED) == (True, False, 0, True)
    assert await quoted(any_door, headers, {**SEEDED, "seed": 8}) == (False, False, 2, False)
    after = [await any_door.rows(table) for table in (tables.jobs, tables.ledger_entries, reuse_tables.flights)]
    assert after == before
    async with valkey.open(any_door.settings.reveal("redis_url")) as redis:
        assert [name async for name in redis.scan_iter(f"{keyspace.HITS}*")] == []


async def test_a_quote_of_the_pool_says_so(door: Door) -> None:
    """What another team shares would cost a team that shares nothing, and only such a team."""
    mine, theirs = await door.caller("mine"), await door.caller("theirs")
    for name in ("mine", "theirs"):
        await door.client.patch(f"{TEAMS}/{name}", headers=ADMIN, json={"cache": {"pool": True}})
    await wait.until(lambda: _collapses(door, theirs, mine), timeout_s=10, what="both teams known to share")
    await door.client.patch(f"{TEAMS}/mine", headers=ADMIN, json={"cache": {"pool": False}})

    async def parted() -> bool:
        return await quoted(door, mine, SEEDED) == ANEW

    await wait.until(parted, timeout_s=10, what="the team known to share no more")


async def _collapses(door: Door, leading: dict[str, str], asking: dict[str, str]) -> bool:
    """Whether one team would share what another orders; each process knows of a choice within a second."""
    assert (await door.run(leading, SEEDED)).status_code == 202
    return await quoted(door, asking, SEEDED) == (False, True, 0, True)
