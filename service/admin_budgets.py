"""Budgets on the admin surface: listed, set and taken away, of a team or of one of its keys."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.ledger import budgets
from gateway.ledger.budgets import Budget, Window
from gateway.tenancy import audit, keys, teams
from gateway.tenancy.authority import Authority
from service import admin_shapes, admin_views
from service.admin_bodies import BudgetWanted, WindowBudgetWanted
from service.admin_deeds import Ask, Deed, Office, choice, operation, place

_TEAM: Final = place("team", "The team's name or id.")
_WINDOW: Final = place("window", "`day`, `month` or `total`, in UTC.", enum=[window.value for window in Window])
_KEY: Final = choice("key", "The budget of this key, not of the team as a whole.")


def wanted(team_id: str, key_id: str, asked: Iterable[WindowBudgetWanted]) -> list[Budget]:
    """The budgets that a body asks for; ``InvalidParameter`` for one that cannot be."""
    return [_budget(team_id, key_id, Window(each.window), each.limit, each.soft) for each in asked]


async def put_all(tx: AsyncConnection, limits: Iterable[Budget]) -> list[dict[str, Any]]:
    """Set these budgets, in the caller's transaction; what the audit log is told of them."""
    told = []
    for limit in limits:
        await budgets.put(tx, limit)
        told.append(_noted(limit))
    return told


async def _listing(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    del given
    async with office.database.read() as connection:
        team = await teams.find(connection, ask.named("team"))
        found = await budgets.standing(connection, team.id, office.clock.now())
    return {"budgets": [admin_views.budget(standing) for standing in found]}


async def _put(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    return await _set(office, given, ask, ask.read(BudgetWanted))


async def _delete(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    return await _set(office, given, ask, None)


async def _set(office: Office, given: Authority, ask: Ask, asked: BudgetWanted | None) -> Mapping[str, Any]:
    window, now = _window(ask.named("window")), office.clock.now()
    async with office.database.write() as tx:
        team = await teams.find(tx, ask.named("team"), lock=True)
        key_id = ask.text("key") or ""
        # A budget is of a chain of keys: a rotated key and its successor have it together.
        whose = (await keys.find(tx, team.id, key_id)).first if key_id else ""
        before = await _one(tx, team.id, whose, window)
        after = None
        if asked is not None:
            after = _budget(team.id, whose, window, asked.limit, asked.soft)
            await budgets.put(tx, after)
        elif not await budgets.remove(tx, team.id, whose, window):
            raise errors.NotFound(f"there is no budget for the window {window}", param="window")
        await audit.note(
            tx,
            actor=given.actor,
            action="budget.delete" if after is None else "budget.put",
            subject=key_id or team.id,
            team_id=team.id,
            before=None if before is None else _noted(before),
            after=None if after is None else _noted(after),
            at=now,
        )
        found = await budgets.standing(tx, team.id, now)
    return {"budgets": [admin_views.budget(standing) for standing in found]}


async def _one(tx: AsyncConnection, team_id: str, key_id: str, window: Window) -> Budget | None:
    found = await budgets.of(tx, team_id, key_id)
    return next((each for each in found if each.key_id == key_id and each.window is window), None)


def _window(text: str) -> Window:
    try:
        return Window(text)
    except ValueError:
        raise errors.InvalidParameter(f"window: use one of {', '.join(Window)}", param="window") from None


def _budget(team_id: str, key_id: str, window: Window, limit: float, soft: float | None) -> Budget:
    soft_micros = None if soft is None else admin_views.micros("soft", soft)
    return budgets.checked(Budget(team_id, key_id, window, admin_views.micros("limit", limit), soft_micros))


def _noted(limit: Budget) -> dict[str, Any]:
    return {"window": limit.window.value, "limitMicros": limit.limit_micros, "softMicros": limit.soft_micros}


LIST: Final = Deed(
    operation(
        "get",
        "/teams/{team}/budgets",
        "ListBudgets",
        "List the budgets of a team and of its keys",
        ("The budgets and where they stand now.", admin_shapes.BudgetList),
        parameters=(_TEAM,),
        raises=(errors.TeamNotFound,),
    ),
    _listing,
)
PUT: Final = Deed(
    operation(
        "put",
        "/teams/{team}/budgets/{window}",
        "PutBudget",
        "Set a budget",
        ("All budgets of the team.", admin_shapes.BudgetList),
        description="What is spent and held already stays; a lowered limit refuses new orders until there is room.",
        parameters=(_TEAM, _WINDOW, _KEY),
        body=BudgetWanted,
        raises=(errors.TeamNotFound, errors.KeyNotFound),
    ),
    _put,
)
DELETE: Final = Deed(
    operation(
        "delete",
        "/teams/{team}/budgets/{window}",
        "DeleteBudget",
        "Take a budget away",
        ("All budgets of the team.", admin_shapes.BudgetList),
        parameters=(_TEAM, _WINDOW, _KEY),
        raises=(errors.TeamNotFound, errors.KeyNotFound, errors.NotFound),
    ),
    _delete,
)

DEEDS: Final = (LIST, PUT, DELETE)
