"""Teams, their policies and budgets on the admin surface, as an operator uses it over TCP."""

from typing import Any

import pytest

from gateway.storage import tables
from gateway.tenancy.scopes import Scope
from tests.api.door import ADMIN_TOKEN, Door

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
TEAMS = "/admin/v1/teams"


async def made(door: Door, **body: object) -> dict[str, Any]:
    """Make a team."""
    answer = await door.client.post(TEAMS, headers=ADMIN, json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def audited(door: Door) -> list[tuple[str, str]]:
    """Who did what, in order."""
    rows = sorted(await door.rows(tables.audit), key=lambda row: row["created_at"])
    return [(row["actor"], row["action"]) for row in rows]


async def test_a_team_is_made_with_its_limits_and_budget(any_door: Door) -> None:
    """A team is made with limits, policy and budgets in one request, found by name and by id, and audited."""
    team = await made(
        any_door,
        name="drawing",
        rpm=60,
        concurrency=4,
        budgets=[{"window": "month", "limit": 500.25, "soft": 400}],
        policy={"models": ["flux-2-max"]},
    )
    assert (team["rpm"], team["concurrency"], team["queueDepth"], team["maxQueueS"]) == (60, 4, 10_000, 3600)
    (budget,) = team["budgets"]
    assert (budget["window"], budget["limit"], budget["left"], budget["over"]) == ("month", 500.25, 500.25, False)
    assert team["policy"] == {"models": ["flux-2-max"]}
    for name in ("drawing", team["id"]):
        found = (await any_door.client.get(f"{TEAMS}/{name}", headers=ADMIN)).json()
        assert (found["id"], found["livingKeys"], found["unfinishedJobs"]) == (team["id"], 0, 0)
    assert await audited(any_door) == [("admin token", "team.create")]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"name": "Not Lower"}, 400, "name"),
        ({"name": "taken"}, 409, "name"),
        ({"nam": "x"}, 400, "nam"),
        ({}, 400, "name"),
        ({"name": "x", "rpm": 0}, 400, "rpm"),
        ({"name": "x", "rpm": 1_000_001}, 400, "rpm"),
        ({"name": "x", "rpm": None}, 400, "rpm"),
        ({"name": "x", "queueDepth": "5"}, 400, "queueDepth"),
        ({"name": "x", "policy": {"modles": []}}, 400, "modles"),
        ({"name": "x", "policy": {"models": ["no-such"]}}, 400, "models[0]"),
        ({"name": "x", "budgets": [{"window": "week", "limit": 1}]}, 400, "budgets[0].window"),
        ({"name": "x", "budgets": [{"window": "day", "limit": -1}]}, 400, "budgets[0].limit"),
        ({"name": "x", "budgets": [{"window": "day", "limit": 0.0000001}]}, 400, "limit"),
        ({"name": "x", "budgets": [{"window": "day", "limit": 1, "soft": 2}]}, 400, "soft"),
    ],
)
async def test_a_wrong_team_is_refused_by_name(door: Door, body: dict[str, Any], status: int, param: str) -> None:
    """What is wrong about a new team is named, and nothing of it is made."""
    await made(door, name="taken")
    refused = await door.client.post(TEAMS, headers=ADMIN, json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (status, param), refused.text
    assert len(await door.rows(tables.teams)) == 1
    assert len(await door.rows(tables.audit)) == 1


async def test_teams_are_listed_by_pages(any_door: Door) -> None:
    """Pages of teams follow each other by cursor, each team once, by name."""
    for name in ("delta", "alpha", "charlie", "bravo", "echo"):
        await made(any_door, name=name)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = (await any_door.client.get(TEAMS, headers=ADMIN, params=query)).json()
        assert len(page["teams"]) <= 2
        seen += [team["name"] for team in page["teams"]]
        if page["nextCursor"] is None:
            break
        query["cursor"] = page["nextCursor"]
    assert seen == ["alpha", "bravo", "charlie", "delta", "echo"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "cursor=%00", "cursor=x", "cursor=WzFd", "lmit=2"]
)
async def test_a_wrong_page_is_refused(door: Door, query: str) -> None:
    """A limit, cursor or parameter that cannot be is a 400 that names it."""
    refused = await door.client.get(f"{TEAMS}?{query}", headers=ADMIN)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, query.partition("=")[0])


async def test_a_team_is_changed_and_renamed(any_door: Door) -> None:
    """A change touches what it names alone; a name that is taken is a 409; null lifts the limit that may be lifted."""
    team = await made(any_door, name="drawing", concurrency=4, policy={"models": ["flux-2-max"]})
    await made(any_door, name="other")
    url = f"{TEAMS}/{team['id']}"
    changed = (await any_door.client.patch(url, headers=ADMIN, json={"name": "painting", "rpm": 7})).json()
    assert (changed["name"], changed["rpm"], changed["concurrency"]) == ("painting", 7, 4)
    changed = (await any_door.client.patch(url, headers=ADMIN, json={"concurrency": None, "policy": None})).json()
    assert (changed["rpm"], changed["concurrency"], changed["policy"]) == (7, None, None)
    refused = await any_door.client.patch(url, headers=ADMIN, json={"name": "other", "rpm": 9})
    assert refused.status_code == 409
    assert (await any_door.client.get(url, headers=ADMIN)).json()["rpm"] == 7
    before, after = [(row["before"], row["after"]) for row in await any_door.rows(tables.audit)][2]
    assert (before["name"], after["name"]) == ("drawing", "painting")


async def test_a_drained_team_takes_no_orders(door: Door) -> None:
    """A drained team's orders are refused and its jobs go on; undrained it orders again."""
    headers = await door.caller("drawing")
    assert (await door.run(headers)).status_code == 202
    drained = (await door.client.post(f"{TEAMS}/drawing/drain", headers=ADMIN)).json()
    assert drained["drainedAt"] is not None
    assert drained["unfinishedJobs"] == 1
    refused = await door.run(headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "team_drained")
    assert (await door.client.post(f"{TEAMS}/drawing/undrain", headers=ADMIN)).json()["drainedAt"] is None
    assert (await door.run(headers)).status_code == 202


async def test_a_team_is_deleted(any_door: Door) -> None:
    """Deletion is refused while jobs run unless the team is drained; then its keys are dead and its name is free."""
    headers = await any_door.caller("drawing")
    job = (await any_door.run(headers)).json()
    url = f"{TEAMS}/drawing"
    team_id = (await any_door.client.get(url, headers=ADMIN)).json()["id"]
    assert (await any_door.client.delete(url, headers=ADMIN)).status_code == 409
    await any_door.client.post(f"{url}/drain", headers=ADMIN)
    gone = (await any_door.client.delete(url, headers=ADMIN)).json()
    assert gone == {"id": team_id, "name": "drawing", "revokedKeys": 1, "unfinishedJobs": 1}
    assert (await any_door.client.get(url, headers=ADMIN)).status_code == 404
    assert (await any_door.client.get(f"{TEAMS}/{team_id}", headers=ADMIN)).status_code == 404
    assert [key["revoked_at"] is None for key in await any_door.rows(tables.api_keys)] == [False]
    await made(any_door, name="drawing")
    entries = (await any_door.client.get("/admin/v1/ledger", headers=ADMIN, params={"team": team_id})).json()["entries"]
    assert [(entry["jobId"], entry["team"]) for entry in entries] == [(job["jobId"], team_id)]


async def test_an_export_has_everything_but_secrets(any_door: Door) -> None:
    """An export holds team, keys, budgets, ledger and jobs, and no digest and no text of a key."""
    team = await any_door.team("drawing")
    key, headers = await any_door.key(team)
    job = (await any_door.run(headers)).json()
    await any_door.client.put(f"{TEAMS}/drawing/budgets/day", headers=ADMIN, json={"limit": 10})
    answer = await any_door.client.get(f"{TEAMS}/drawing/export", headers=ADMIN)
    export = answer.json()
    assert (export["team"]["id"], [each["id"] for each in export["keys"]]) == (team.id, [key.id])
    assert [each["id"] for each in export["jobs"]] == [job["jobId"]]
    assert [(each["kind"], each["credits"]) for each in export["ledger"]] == [("hold", 2)]
    assert [each["limit"] for each in export["budgets"]] == [10]
    assert headers["Authorization"].removeprefix("Bearer ") not in answer.text
    assert "digest" not in answer.text


async def test_a_policy_is_set_and_read(any_door: Door) -> None:
    """A policy is checked, set, read as it is, and taken away by null."""
    await made(any_door, name="drawing")
    url = f"{TEAMS}/drawing/policy"
    assert (await any_door.client.get(url, headers=ADMIN)).json() == {"policy": None}
    wanted = {"models": ["flux-2-max"], "maxResolution": "1 MP", "deniedTerms": ["bare skin"]}
    assert (await any_door.client.put(url, headers=ADMIN, json={"policy": wanted})).json() == {"policy": wanted}
    assert (await any_door.client.get(url, headers=ADMIN)).json() == {"policy": wanted}
    refused = await any_door.client.put(url, headers=ADMIN, json={"policy": {"maxResolution": "9 MP"}})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "maxResolution")
    assert (await any_door.client.put(url, headers=ADMIN, json={"policy": None})).json() == {"policy": None}
    assert [row["policy"] for row in await any_door.rows(tables.teams)] == [None]


async def test_budgets_of_team_and_key(any_door: Door) -> None:
    """Budgets are set, shown with what is used of them, and taken away, of the team and of one key."""
    team = await any_door.team("drawing")
    key, headers = await any_door.key(team)
    await any_door.key(await any_door.team("other"))
    url = f"{TEAMS}/drawing/budgets"
    await any_door.client.put(f"{url}/month", headers=ADMIN, json={"limit": 5, "soft": 4})
    answer = await any_door.client.put(f"{url}/total", headers=ADMIN, params={"key": key.id}, json={"limit": 3})
    assert {(each["keyId"], each["window"], each["limit"]) for each in answer.json()["budgets"]} == {
        (None, "month", 5),
        (key.id, "total", 3),
    }
    assert (await any_door.run(headers)).status_code == 202
    assert (await any_door.run(headers)).status_code == 402
    listed = (await any_door.client.get(url, headers=ADMIN)).json()["budgets"]
    assert {(each["window"], each["held"], each["left"]) for each in listed} == {("month", 2, 3), ("total", 2, 1)}
    other = next(row["id"] for row in await any_door.rows(tables.api_keys) if row["id"] != key.id)
    foreign = await any_door.client.put(f"{url}/day", headers=ADMIN, params={"key": other}, json={"limit": 3})
    assert foreign.status_code == 404
    assert (await any_door.client.put(f"{url}/week", headers=ADMIN, json={"limit": 3})).status_code == 400
    assert (await any_door.client.delete(f"{url}/total", headers=ADMIN)).status_code == 404
    assert (await any_door.client.delete(f"{url}/total?kye={key.id}", headers=ADMIN)).status_code == 400
    gone = await any_door.client.delete(f"{url}/total", headers=ADMIN, params={"key": key.id})
    assert [each["window"] for each in gone.json()["budgets"]] == ["month"]
    assert [action for _, action in await audited(any_door)] == ["budget.put", "budget.put", "budget.delete"]


async def test_only_the_exact_admin_token_is_the_operator(door: Door) -> None:
    """A token that differs by one character, or is shown in another way, is nobody's."""
    for shown in (
        f"Bearer {ADMIN_TOKEN}x",
        f"Bearer {ADMIN_TOKEN[:-1]}",
        f"Basic {ADMIN_TOKEN}",
        ADMIN_TOKEN,
        "Bearer ü",
    ):
        refused = await door.client.get(TEAMS, headers=[(b"Authorization", shown.encode())])
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    assert (await door.client.get(TEAMS, headers={"Authorization": f"bearer  {ADMIN_TOKEN}"})).status_code == 200


async def test_a_key_with_admin_is_named_in_the_audit_log(door: Door) -> None:
    """What an admin key does is done in its own name."""
    key, headers = await door.key(await door.team("operators"), frozenset({Scope.ADMIN}))
    assert (await door.client.post(TEAMS, headers=headers, json={"name": "drawing"})).status_code == 201
    assert await audited(door) == [(f"key {key.id}", "team.create")]
