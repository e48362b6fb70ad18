"""What a caller is told of its limits, on answers within them and beyond them, and what is counted."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import httpx
from prometheus_client.parser import text_string_to_metric_families

from gateway.storage import tables
from gateway.tenancy import keys, scopes, teams
from gateway.tenancy.scopes import Scope
from tests.api.door import Door


async def refusals(door: Door) -> dict[tuple[str, str], float]:
    """How often each team met each limit, as the process's metrics say."""
    text = (await door.client.get("/metrics")).text
    return {
        (sample.labels["team"], sample.labels["limit"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "torii_rate_limited_total"
    }


def told(answer: httpx.Response) -> tuple[str, int, int]:
    """Whose limit the headers name, how many are left and in how many seconds there are more."""
    policy = re.fullmatch(r'"(key|team)";q=(\d+);w=60', answer.headers["RateLimit-Policy"])
    standing = re.fullmatch(r'"(key|team)";r=(\d+);t=(\d+)', answer.headers["RateLimit"])
    assert policy is not None
    assert standing is not None
    assert policy[1] == standing[1]
    assert int(standing[2]) <= int(policy[2])
    return policy[1], int(standing[2]), int(standing[3])


def is_refused(answer: httpx.Response) -> bool:
    """Whether it is a 429 that says when to come back."""
    if answer.status_code != 429:
        return False
    assert answer.json()["error"]["code"] == "rate_limited"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    return True


async def key_of(door: Door, team: teams.Team, rpm: int | None) -> Mapping[str, str]:
    """Make a key with a limit of its own; the header that shows it."""
    async with door.database.write() as tx:
        now = datetime.now(UTC)
        _, text = await keys.create(tx, team.id, "own", scopes.DEFAULT, door.keyring.api_keys, now, rpm=rpm)
    return {"Authorization": f"Bearer {text.reveal()}"}


async def test_a_keys_limit_is_told_on_every_order(any_door: Door) -> None:
    """A key with two a minute is told how many are left, then 429 with the same headers; its refusals are counted."""
    team = await any_door.team("drawing")
    headers = await key_of(any_door, team, rpm=2)
    accepted = [await any_door.run(headers) for _ in range(2)]
    assert [answer.status_code for answer in accepted] == [202, 202]
    assert [told(answer)[:2] for answer in accepted] == [("key", 1), ("key", 0)]
    refused = [await any_door.run(headers) for _ in range(3)]
    for answer in refused:
        assert is_refused(answer)
        assert told(answer)[:2] == ("key", 0)
        assert int(answer.headers["Retry-After"]) == told(answer)[2]
    assert await refusals(any_door) == {(team.id, "key_rpm"): 3}
    assert len(await any_door.rows(tables.jobs)) == 2
    other = await any_door.run(await key_of(any_door, team, rpm=None))
    assert (other.status_code, told(other)[0]) == (202, "team")


async def test_a_teams_limit_goes_by_its_name(door: Door) -> None:
    """Where the team's limit is the tighter one, the policy is called `team`, on the good answer and on the 429."""
    team = await door.team("drawing")
    async with door.database.write() as tx:
        await teams.limit(tx, team.id, {"rpm": 1})
    headers = await key_of(door, team, rpm=5)
    assert told(await door.run(headers))[:2] == ("team", 0)
    refused = await door.run(headers)
    assert is_refused(refused)
    assert told(refused)[:2] == ("team", 0)
    assert await refusals(door) == {(team.id, "team_rpm"): 1}


async def test_a_rotated_key_and_its_successor_have_one_minute(door: Door) -> None:
    """While both texts work, together they order as often as the key might, and see the same number left."""
    team = await door.team("drawing")
    now = datetime.now(UTC)
    async with door.database.write() as tx:
        ring = door.keyring.api_keys
        old, old_text = await keys.create(tx, team.id, "own", scopes.DEFAULT, ring, now, rpm=2)
        _, new_text = await keys.rotate(tx, team.id, old.id, timedelta(hours=1), ring, now)
    shown = [{"Authorization": f"Bearer {text.reveal()}"} for text in (old_text, new_text)]
    assert [told(await door.run(headers))[:2] for headers in shown] == [("key", 1), ("key", 0)]
    assert all([is_refused(await door.run(headers)) for headers in shown])


async def test_a_full_queue_says_when_to_come_back(any_door: Door) -> None:
    """An order beyond the jobs that may wait is a 429 with `Retry-After`, is counted as such, and creates nothing."""
    team = await any_door.team("drawing")
    async with any_door.database.write() as tx:
        await teams.limit(tx, team.id, {"queue_depth": 1})
    headers = await key_of(any_door, team, rpm=None)
    assert (await any_door.run(headers)).status_code == 202
    assert is_refused(await any_door.run(headers))
    assert await refusals(any_door) == {(team.id, "queue_depth"): 1}
    assert len(await any_door.rows(tables.jobs)) == 1


async def test_a_rotated_keys_job_is_read_by_its_successor(any_door: Door) -> None:
    """With `generate` alone a successor reads and takes back what its predecessor ordered; to another key it is 404."""
    team = await any_door.team("drawing")
    alone = frozenset({Scope.GENERATE})
    old, old_headers = await any_door.key(team, alone)
    _, stranger = await any_door.key(team, alone)
    job_id = (await any_door.run(old_headers)).json()["jobId"]
    async with any_door.database.write() as tx:
        now = datetime.now(UTC)
        _, text = await keys.rotate(tx, team.id, old.id, timedelta(0), any_door.keyring.api_keys, now)
    headers = {"Authorization": f"Bearer {text.reveal()}"}
    read = await any_door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)
    assert (read.status_code, read.json()["status"]) == (200, "pending")
    for method, path in (("GET", f"/api/v1/jobs/{job_id}"), ("POST", f"/api/v1/jobs/{job_id}/cancel")):
        assert (await any_door.client.request(method, path, headers=stranger)).status_code == 404
    cancelled = await any_door.client.post(f"/api/v1/jobs/{job_id}/cancel", headers=headers)
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")


async def test_a_chains_budget_is_shown_and_set_through_any_of_its_keys(any_door: Door) -> None:
    """Operators set the budget of a rotated key by either id; both keys' accounts show the one that is left."""
    admin = {"Authorization": f"Bearer {any_door.settings.admin_token[0].get_secret_value()}"}
    team = await any_door.team("drawing")
    old, old_headers = await any_door.key(team)
    budget = f"/admin/v1/teams/{team.id}/budgets/total"
    await any_door.client.put(budget, params={"key": old.id}, headers=admin, json={"limit": 4})
    assert (await any_door.run(old_headers)).status_code == 202
    rotated = await any_door.client.post(f"/admin/v1/keys/{old.id}/rotate", headers=admin, json={"graceS": 600})
    made = rotated.json()
    assert made["lineage"] == old.id
    headers = {"Authorization": f"Bearer {made['key']}"}
    set_to = await any_door.client.put(budget, params={"key": made["id"]}, headers=admin, json={"limit": 3})
    assert [(each["keyId"], each["limit"], each["held"]) for each in set_to.json()["budgets"]] == [(old.id, 3, 2)]
    for shown in (headers, old_headers):
        account = (await any_door.client.get("/api/v1/account", headers=shown)).json()
        assert [(each["of"], each["held"], each["left"]) for each in account["budgets"]] == [("key", 2, 1)]
        assert account["creditsRemaining"] == 1
        assert (await any_door.run(shown)).status_code == 402
    await any_door.client.delete(budget, params={"key": made["id"]}, headers=admin)
    assert (await any_door.run(headers)).status_code == 202
