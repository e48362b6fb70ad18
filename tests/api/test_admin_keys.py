"""Keys on the admin surface: by the operator, and by keys that administer, none of which grants more than it has."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.ledger import budgets
from gateway.ledger.budgets import Budget, Window
from gateway.storage import tables
from gateway.tenancy import keys
from gateway.tenancy.scopes import Scope
from tests.api.door import ADMIN_TOKEN, Door

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
KEYS = "/admin/v1/teams/drawing/keys"


async def limited(door: Door, *granted: Scope, **limits: Any) -> dict[str, str]:
    """Make a key of team drawing with limits of its own; the header that shows it."""
    now = datetime.now(UTC)
    async with door.database.write() as tx:
        team = (await tx.execute(tables.teams.select().where(tables.teams.c.name == "drawing"))).one()
        ring = door.keyring.api_keys
        expires_at = limits.pop("expires_at", None)
        _, text = await keys.create(tx, team.id, "manager", frozenset(granted), ring, now, expires_at, **limits)
    return {"Authorization": f"Bearer {text.reveal()}"}


async def test_a_key_is_made_used_listed_and_revoked(any_door: Door) -> None:
    """A made key orders, is listed without its text, and is refused once revoked; the audit log never has the text."""
    await any_door.team("drawing")
    answer = await any_door.client.post(
        KEYS,
        headers=ADMIN,
        json={"name": "ci", "rpm": 5, "concurrency": 2, "budgets": [{"window": "total", "limit": 2}]},
    )
    made = answer.json()
    text = made.pop("key")
    assert (answer.status_code, made["rpm"], made["concurrency"], made["scopes"]) == (201, 5, 2, ["generate", "read"])
    headers = {"Authorization": f"Bearer {text}"}
    assert (await any_door.run(headers)).status_code == 202
    assert (await any_door.run(headers)).status_code == 402
    listed = await any_door.client.get(KEYS, headers=ADMIN)
    assert [(key["id"], key["state"], key["name"]) for key in listed.json()["keys"]] == [(made["id"], "living", "ci")]
    assert text not in listed.text
    revoked = (await any_door.client.post(f"/admin/v1/keys/{made['id']}/revoke", headers=ADMIN)).json()
    assert revoked["state"] == "revoked"
    assert (await any_door.client.get(f"/admin/v1/keys/{made['id']}", headers=ADMIN)).json() == revoked
    rows = await any_door.rows(tables.audit)
    assert [row["action"] for row in rows] == ["key.create", "key.revoke"]
    assert text not in str(rows)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"scopes": ["everything"]}, "scopes[0]"),
        ({"scopes": []}, "scopes"),
        ({"expiresAt": "tomorrow"}, "expiresAt"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "expires"),
        ({"rpm": 0}, "rpm"),
        ({"concurrency": 10**9}, "concurrency"),
        ({"team": "other"}, "team"),
    ],
)
async def test_a_wrong_key_is_refused_by_name(door: Door, body: dict[str, Any], param: str) -> None:
    """What is wrong about a new key is named, and none is made."""
    await door.team("drawing")
    refused = await door.client.post(KEYS, headers=ADMIN, json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param), refused.text
    assert await door.rows(tables.api_keys) == []


async def test_a_rotated_key_works_through_its_grace(any_door: Door) -> None:
    """After a rotation both texts work until the grace is over, and a second rotation of the old key is a conflict."""
    old, headers = await any_door.key(await any_door.team("drawing"))
    url = f"/admin/v1/keys/{old.id}/rotate"
    answer = await any_door.client.post(url, headers=ADMIN, json={"graceS": 3600})
    made = answer.json()
    assert (answer.status_code, made["scopes"]) == (201, ["generate", "read"])
    for shown in (headers, {"Authorization": f"Bearer {made['key']}"}):
        assert (await any_door.run(shown)).status_code == 202
    seen = (await any_door.client.get(f"/admin/v1/keys/{old.id}", headers=ADMIN)).json()
    assert seen["successor"] == made["id"]
    ends = datetime.fromisoformat(seen["expiresAt"])
    assert timedelta(minutes=59) < ends - datetime.now(UTC) <= timedelta(hours=1)
    assert (await any_door.client.post(url, headers=ADMIN)).status_code == 409


async def test_limits_are_changed_one_by_one(any_door: Door) -> None:
    """A change of limits touches what it names alone, and null lifts a key's own limit."""
    key, _ = await any_door.key(await any_door.team("drawing"))
    url = f"/admin/v1/keys/{key.id}"
    await any_door.client.patch(url, headers=ADMIN, json={"rpm": 5, "concurrency": 3})
    changed = (await any_door.client.patch(url, headers=ADMIN, json={"rpm": None})).json()
    assert (changed["rpm"], changed["concurrency"]) == (None, 3)
    assert (await any_door.client.patch(url, headers=ADMIN, json={"rpm": 0})).status_code == 400


async def test_the_admin_token_alone_mints_admin(door: Door) -> None:
    """An admin key grants every scope but its own; only the admin token grants `admin`, and rotates such a key."""
    await door.team("drawing")
    made = (await door.client.post(KEYS, headers=ADMIN, json={"scopes": ["admin"]})).json()
    headers = {"Authorization": f"Bearer {made['key']}"}
    for granted, status in ((["generate", "read", "manage"], 201), (["admin"], 403), (["read", "admin"], 403)):
        answer = await door.client.post(KEYS, headers=headers, json={"scopes": granted})
        assert answer.status_code == status, answer.text
    assert (await door.client.post(f"/admin/v1/keys/{made['id']}/rotate", headers=headers)).status_code == 403
    assert (await door.client.post(f"/admin/v1/keys/{made['id']}/rotate", headers=ADMIN)).status_code == 201


async def test_a_manager_reaches_its_own_team_alone(door: Door) -> None:
    """A key with `manage` makes, lists, limits, rotates and revokes its team's keys; another team's are not there."""
    team = await door.team("drawing")
    _, headers = await door.key(team, frozenset({Scope.MANAGE, Scope.GENERATE}))
    foreign, _ = await door.key(await door.team("other"))
    answer = await door.client.post(KEYS, headers=headers, json={"scopes": ["generate"]})
    assert answer.status_code == 201
    own = f"/admin/v1/keys/{answer.json()['id']}"
    for method, url, body in (
        ("GET", KEYS, None),
        ("GET", own, None),
        ("PATCH", own, {"rpm": 5}),
        ("POST", f"{own}/rotate", {"graceS": 60}),
        ("POST", f"{own}/revoke", None),
    ):
        done = await door.client.request(method, url, headers=headers, json=body)
        assert done.is_success, (url, done.text)
        there = url.replace("drawing", "other").replace(own, f"/admin/v1/keys/{foreign.id}")
        missing = await door.client.request(method, there, headers=headers, json=body)
        assert missing.status_code == 404, (there, missing.text)
    assert (await door.client.post(KEYS, headers=headers, json={"scopes": ["read"]})).status_code == 403


async def test_no_key_grants_more_than_it_has(any_door: Door) -> None:
    """Limits and expiry of a manager bound what it grants, and are handed on where nothing is asked for."""
    await any_door.team("drawing")
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    headers = await limited(any_door, Scope.MANAGE, Scope.GENERATE, rpm=10, concurrency=2, expires_at=ends)
    made = (await any_door.client.post(KEYS, headers=headers, json={"scopes": ["generate"]})).json()
    assert (made["rpm"], made["concurrency"]) == (10, 2)
    assert datetime.fromisoformat(made["expiresAt"]) == ends
    later = (ends + timedelta(seconds=1)).isoformat()
    for more in ({"rpm": 11}, {"concurrency": 3}, {"expiresAt": later.replace("+00:00", "Z")}):
        refused = await any_door.client.post(KEYS, headers=headers, json={"scopes": ["generate"], **more})
        assert (refused.status_code, refused.json()["error"]["param"]) == (403, next(iter(more)))
    url = f"/admin/v1/keys/{made['id']}"
    assert (await any_door.client.patch(url, headers=headers, json={"rpm": 11})).status_code == 403
    lifted = await any_door.client.patch(url, headers=headers, json={"rpm": None, "concurrency": 1})
    assert (lifted.json()["rpm"], lifted.json()["concurrency"]) == (10, 1)


async def test_a_manager_cannot_rotate_its_way_up(any_door: Door) -> None:
    """A key with more scopes or wider limits than the manager's is not handed to it by a rotation."""
    team = await any_door.team("drawing")
    headers = await limited(any_door, Scope.MANAGE, Scope.GENERATE, rpm=10)
    for granted in (frozenset({Scope.ADMIN}), frozenset({Scope.READ}), frozenset({Scope.GENERATE})):
        key, _ = await any_door.key(team, granted)
        refused = await any_door.client.post(f"/admin/v1/keys/{key.id}/rotate", headers=headers)
        assert refused.status_code == 403, granted


async def test_a_managers_budget_bounds_what_it_grants(any_door: Door) -> None:
    """A manager with a budget of its own gives each key at most that budget, and hands it on unasked."""
    team = await any_door.team("drawing")
    key, headers = await any_door.key(team, frozenset({Scope.MANAGE, Scope.GENERATE}))
    free, _ = await any_door.key(team, frozenset({Scope.GENERATE}))
    async with any_door.database.write() as tx:
        await budgets.put(tx, Budget(team.id, key.id, Window.DAY, 4_000_000))
    made = (await any_door.client.post(KEYS, headers=headers, json={"scopes": ["generate"]})).json()
    async with any_door.database.read() as connection:
        limits = {each.key_id: each.limit_micros for each in await budgets.of(connection, team.id)}
    assert limits == {key.id: 4_000_000, made["id"]: 4_000_000}
    more = {"scopes": ["generate"], "budgets": [{"window": "day", "limit": 4.000001}]}
    assert (await any_door.client.post(KEYS, headers=headers, json=more)).status_code == 403
    assert (await any_door.client.post(f"/admin/v1/keys/{free.id}/rotate", headers=headers)).status_code == 403
