"""A caller's own means over HTTP: idempotency keys, quotes, the account, and what a used-up budget looks like."""

from gateway.ledger import budgets
from gateway.ledger.budgets import Budget, Window
from gateway.storage import tables
from gateway.tenancy.scopes import Scope
from tests.api.door import GOOD, Door

CREDIT = 1_000_000


async def test_a_repeated_order_is_the_same_job(any_door: Door) -> None:
    """The same key and body give the same job, marked as replayed; another body under it is a 422, and nothing more."""
    caller = await any_door.caller()
    headers = {**caller, "Idempotency-Key": "order-17"}
    first = await any_door.run(headers)
    again = await any_door.run({**caller, "Idempotency-Key": '"order-17"'})
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["jobId"] == again.json()["jobId"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    other = await any_door.run(headers, {**GOOD, "seed": 3})
    assert other.status_code == 422
    assert other.json()["error"]["code"] == "idempotency_key_reused"
    assert len(await any_door.rows(tables.jobs)) == 1


async def test_a_bad_idempotency_key_is_named(door: Door) -> None:
    """A header that is no key is a 400 that names it, and nothing is ordered."""
    answer = await door.run({**await door.caller(), "Idempotency-Key": "x" * 256})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "Idempotency-Key"
    assert await door.rows(tables.jobs) == []


async def test_keys_of_two_teams_do_not_meet(door: Door) -> None:
    """Two teams may use the same Idempotency-Key for different orders."""
    answers = [
        await door.run({**await door.caller(name), "Idempotency-Key": "one"}, {**GOOD, "seed": seed})
        for seed, name in enumerate(("first", "second"))
    ]
    assert [answer.status_code for answer in answers] == [202, 202]


async def test_a_used_up_budget_is_a_402(any_door: Door) -> None:
    """An order past the budget is refused with what is needed and what is used; what was left was shown before."""
    team = await any_door.team("thrifty")
    _, headers = await any_door.key(team)
    async with any_door.database.write() as tx:
        await budgets.put(tx, Budget(team.id, "", Window.MONTH, 3 * CREDIT))
    assert (await any_door.run(headers)).json()["creditsRemaining"] == 1
    refused = await any_door.run(headers)
    assert refused.status_code == 402
    assert refused.json()["error"]["type"] == "insufficient_quota"
    assert "month" in refused.json()["detail"]


async def test_the_account_tells_what_is_left(any_door: Door) -> None:
    """The account names team, key and scopes, and each budget with what is spent, held and left of it."""
    team = await any_door.team("curious")
    key, headers = await any_door.key(team, frozenset({Scope.READ, Scope.GENERATE}))
    async with any_door.database.write() as tx:
        await budgets.put(tx, Budget(team.id, "", Window.TOTAL, 10 * CREDIT, 8 * CREDIT))
        await budgets.put(tx, Budget(team.id, key.id, Window.DAY, 5 * CREDIT))
    await any_door.run(headers)
    body = (await any_door.client.get("/api/v1/account", headers=headers)).json()
    assert body["team"] == {"id": team.id, "name": "curious"}
    assert body["key"]["scopes"] == ["generate", "read"]
    assert body["creditsRemaining"] == 3
    stands = {(each["of"], each["window"]): each for each in body["budgets"]}
    assert stands["team", "total"]["held"] == 2
    assert stands["team", "total"]["left"] == 8
    assert stands["team", "total"]["soft"] == 8
    assert stands["key", "day"]["left"] == 3


async def test_a_quote_costs_nothing(any_door: Door) -> None:
    """A quote shows the hold and the wait, names what is wrong with a body as an order would, and creates nothing."""
    headers = await any_door.caller()
    path = "/api/v1/models/flux-2-max/quote"
    answer = await any_door.client.post(path, headers=headers, json={**GOOD, "resolution": "4 MP"})
    assert answer.status_code == 200
    assert answer.json()["creditCost"] == 8
    assert not answer.json()["firm"]
    wrong = await any_door.client.post(path, headers=headers, json={**GOOD, "num_outputs": 9})
    assert wrong.json()["error"]["param"] == "num_outputs"
    assert await any_door.rows(tables.ledger_entries) == []
