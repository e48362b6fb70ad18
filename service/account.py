"""What a caller may know of its own means: its team, key and budgets, and what an order would cost. Spends nothing."""

from typing import Any

from litestar import Request, Response, get, post

from gateway import clock, money
from gateway.bootstrap import House
from gateway.jobs import desk, quote
from gateway.ledger import budgets
from gateway.ledger.budgets import Standing
from gateway.tenancy import teams
from gateway.tenancy.keys import Key
from gateway.tenancy.scopes import Scope
from service import answers, bodies, caching, callers, front


@get("/api/v1/account", name="getAccount")
async def read(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The caller's team, key, scopes, budgets, and what is left of them."""
    house = front.of(request).house
    key = await callers.known(request, *Scope)
    return answers.json(await _account(house, key))


async def _account(house: House, key: Key) -> dict[str, Any]:
    now = house.clock.now()
    caller = callers.caller(key)
    async with house.database.read() as connection:
        team = await teams.find(connection, key.team_id)
        standings = await budgets.standing(connection, key.team_id, now, key.id)
        remaining = await desk.remaining_micros(connection, caller, now)
    return {
        "team": {"id": team.id, "name": team.name},
        "key": {
            "id": key.id,
            "name": key.name,
            "scopes": sorted(key.scopes),
            "expiresAt": None if key.expires_at is None else clock.rfc3339(key.expires_at),
        },
        "budgets": [_standing(each) for each in standings],
        "creditsRemaining": money.credits(remaining or 0),
    }


def _standing(each: Standing) -> dict[str, Any]:
    budget = each.budget
    return {
        "of": "key" if budget.key_id else "team",
        "window": budget.window.value,
        "period": each.period,
        "limit": money.credits(budget.limit_micros),
        "soft": None if budget.soft_micros is None else money.credits(budget.soft_micros),
        "spent": money.credits(max(each.spent_micros, 0)),
        "held": money.credits(each.held_micros),
        "left": money.credits(each.left_micros),
    }


@post("/api/v1/models/{apiId:str}/quote", name="quoteModel", status_code=200)
async def quoted(request: Request[Any, Any, Any]) -> Response[bytes]:
    """What a run with this body would cost and how long it would take; nothing is ordered."""
    house = front.of(request).house
    asker = await callers.recognised(request, Scope.GENERATE)
    body = await bodies.json_object(request)
    found = await quote.quote(
        house.counter,
        callers.caller(asker.key),
        request.path_params["apiId"],
        body,
        house.settings.upstream_concurrency,
        caching.wish(request, asker),
        house.gate.policies.of(asker.team),
    )
    return answers.json(
        {
            "model": found.model,
            "creditCost": money.credits(found.cost_micros),
            "firm": found.firm,
            "cached": found.cached,
            "collapsed": found.collapsed,
            "expectedWaitS": round(found.wait_s, 1),
            "creditsRemaining": money.credits(found.remaining_micros or 0),
            "affordable": found.affordable,
        }
    )
