"""What differs between a file's wish and what is there, as changes to ask for one by one. Pure; asks for nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from cli import screen
from gateway import errors
from gateway.admission import policy
from service.admin_bodies import WindowBudgetWanted
from service.cache_shapes import CacheWanted
from service.retention_shapes import RetentionWanted

_LIMITS = ("rpm", "concurrency", "queueDepth", "maxQueueS")


@dataclass(frozen=True)
class Change:
    """One thing that is not as it shall be: the deed that mends it, and what is said of it."""

    deed: str
    said: str
    path: Mapping[str, str]
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str | None] | None = None

    @property
    def shown(self) -> dict[str, Any]:
        """The change for programs."""
        return {"deed": self.deed, **self.path, **(self.query or {}), "to": self.body}


class TeamWish(Protocol):
    """What a file says of a team."""

    name: str
    policy: dict[str, Any] | UnsetType | None
    cache: CacheWanted | UnsetType
    retention: RetentionWanted | UnsetType


class KeyWish(Protocol):
    """What a file says of a key."""

    id: str | UnsetType
    name: str | UnsetType


def new_team(wanted: TeamWish) -> Change:
    """The making of a team that is not there."""
    body = {name: value for name, value in msgspec.to_builtins(wanted).items() if name != "keys"}
    return Change("team.create", f"make team {wanted.name}", {}, body)


def of_team(wanted: TeamWish, found: Mapping[str, Any]) -> list[Change]:
    """What differs in a team's limits, policy, cache and retention."""
    asked = msgspec.to_builtins(wanted)
    body = {name: asked[name] for name in _LIMITS if name in asked and asked[name] != found[name]}
    if wanted.policy is not UNSET and _policy(wanted.policy) != _policy(found["policy"]):
        body["policy"] = wanted.policy
    for member in ("cache", "retention"):
        other = {name: value for name, value in asked.get(member, {}).items() if value != found[member][name]}
        if other:
            body[member] = other
    if not body:
        return []
    return [Change("team.update", f"set {_spelled(body)} of team {wanted.name}", {"team": found["id"]}, body)]


def of_key(wanted: KeyWish, found: Mapping[str, Any]) -> list[Change]:
    """What differs in a key's limits."""
    asked = msgspec.to_builtins(wanted)
    body = {name: asked[name] for name in _LIMITS if name in asked and asked[name] != found[name]}
    if not body:
        return []
    return [Change("key.update", f"set {_spelled(body)} of key {found['id']}", {"key": found["id"]}, body)]


def of_budgets(
    team: str,
    team_id: str,
    key_id: str | None,
    wanted: Iterable[WindowBudgetWanted] | UnsetType,
    standing: Sequence[Mapping[str, Any]],
) -> list[Change]:
    """What differs in the budgets of a team or of one of its keys; those that are not wanted are taken away."""
    if wanted is UNSET:
        return []
    found = {each["window"]: each for each in standing if each["keyId"] == key_id}
    whose = f"team {team}" if key_id is None else f"key {key_id}"
    query = None if key_id is None else {"key": key_id}
    changes = []
    for each in wanted:
        now = found.pop(each.window, None)
        if now is None or not (_same(each.limit, now["limit"]) and _same(each.soft, now["soft"])):
            said = f"set the budget ({each.window}) of {whose} to {each.limit:.15g} credits"
            body = {"limit": each.limit, "soft": each.soft}
            changes.append(Change("budget.put", said, {"team": team_id, "window": each.window}, body, query))
    for window in sorted(found):
        said = f"take the budget ({window}) of {whose} away"
        changes.append(Change("budget.delete", said, {"team": team_id, "window": window}, None, query))
    return changes


def key_named(wanted: KeyWish, found: Sequence[Mapping[str, Any]], team: str) -> Mapping[str, Any]:
    """The living key that a file means; ``KeyNotFound``, or ``Conflict`` for a name that several have."""
    living = [key for key in found if key["state"] == "living"]
    if wanted.id is not UNSET:
        named, matching = wanted.id, [key for key in living if key["id"] == wanted.id]
    elif wanted.name is not UNSET:
        named, matching = wanted.name, [key for key in living if key["name"] == wanted.name]
    else:
        raise errors.MissingParameter(f"a key of team {team} has neither id nor name", param="keys")
    if not matching:
        raise errors.KeyNotFound(
            f"team {team} has no living key {named[:80]!r}; make it with: torii key create", param="keys"
        )
    if len(matching) > 1:
        raise errors.Conflict(f"team {team} has several living keys {named[:80]!r}; give the id", param="keys")
    return matching[0]


def _policy(told: Mapping[str, Any] | None) -> object:
    """What a policy means, whatever way it is written; one that the gateway would refuse is like no other."""
    try:
        return None if told is None else policy.read(told)
    except errors.InternalError:
        return dict(told or {})


def _same(wanted: float | None, found: object) -> bool:
    if wanted is None or found is None:
        return wanted is found
    return float(str(found)) == wanted


def _spelled(body: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} to {screen.encode(value)}" for name, value in body.items())
