"""The audit log tells what was before each change, however many are made at once."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.storage import tables
from tests.api.door import ADMIN_TOKEN, Door

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
CHANGES = 16


async def noted(door: Door, action: str, member: str) -> list[tuple[Any, Any]]:
    """What each record of that kind says of a member: before and after."""
    rows = [row for row in await door.rows(tables.audit) if row["action"] == action]
    return [((row["before"] or {}).get(member), row["after"][member]) for row in rows]


def is_chain(steps: Sequence[tuple[Any, Any]], first: object) -> bool:
    """Whether the steps, in some order, each begin where another ended, from the first value on."""
    following = dict(steps)
    at, seen = first, 0
    while at in following:
        at, seen = following.pop(at), seen + 1
    return seen == len(steps)


@pytest.mark.parametrize(("kind", "first"), [("team", 300), ("key", None), ("budget", None)])
async def test_changes_at_once_are_noted_as_a_chain(any_door: Door, kind: str, first: int | None) -> None:
    """Of many changes of one thing at once each is noted with what the one before it had left."""
    team = await any_door.team("drawing")
    key, _ = await any_door.key(team)
    put = f"/admin/v1/teams/{team.id}/budgets/total"

    async def change(number: int) -> int:
        match kind:
            case "team":
                request = any_door.client.patch(f"/admin/v1/teams/{team.id}", headers=ADMIN, json={"rpm": number})
            case "key":
                request = any_door.client.patch(f"/admin/v1/keys/{key.id}", headers=ADMIN, json={"rpm": number})
            case _:
                request = any_door.client.put(put, params={"key": key.id}, headers=ADMIN, json={"limit": number})
        return (await request).status_code

    statuses = await asyncio.gather(*(change(number + 1) for number in range(CHANGES)))
    assert set(statuses) == {200}
    action, member = {"budget": ("budget.put", "limitMicros")}.get(kind, (f"{kind}.update", "rpm"))
    steps = await noted(any_door, action, member)
    assert len(steps) == CHANGES
    assert is_chain(steps, first), steps
