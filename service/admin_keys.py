"""Keys on the admin surface: made, listed, limited, rotated, revoked. A key's text is in one answer, and kept nowhere.

A key with ``manage`` reaches the keys of its own team alone, and gives none more than it has itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.ledger import budgets
from gateway.ledger.budgets import Budget
from gateway.tenancy import audit, authority, keys, scopes, teams
from gateway.tenancy.authority import Authority, Grant
from gateway.tenancy.keys import Key
from gateway.tenancy.keytext import KeyText
from gateway.tenancy.teams import Team
from service import admin_budgets, admin_shapes, admin_views
from service.admin_bodies import KeyChange, KeyWanted, RotationWanted
from service.admin_deeds import PAGE, Ask, Deed, Office, moment, operation, place

_TEAM: Final = place("team", "The team's name or id.")
_KEY: Final = place("key", "The key's id, the middle part of its text.")
_MANAGE: Final = "A key with the scope `manage` may do this within its own team."


async def _listing(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    now = office.clock.now()
    async with office.database.read() as connection:
        team = await _team(connection, given, ask)
        found, cursor = await keys.page(connection, team.id, ask.slice)
    return admin_views.page("keys", [admin_views.key(key, now) for key in found], cursor)


async def _create(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    wanted, now = ask.read(KeyWanted), office.clock.now()
    asked = Grant(
        scopes.parse(list(wanted.scopes)),
        wanted.rpm,
        wanted.concurrency,
        None if wanted.expires_at is None else moment("expiresAt", wanted.expires_at),
    )
    granted = authority.within(given, asked)
    async with office.database.write() as tx:
        team = await _team(tx, given, ask)
        key, text = await keys.create(
            tx,
            team.id,
            wanted.name,
            granted.scopes,
            office.keys.api_keys,
            now,
            granted.expires_at,
            rpm=granted.rpm,
            concurrency=granted.concurrency,
        )
        limits = await admin_budgets.put_all(
            tx, await _within(tx, given, key, admin_budgets.wanted(team.id, key.id, wanted.budgets))
        )
        after = {**admin_views.key(key, now), "budgets": limits}
        await _note(tx, office, given, "key.create", key, after=after)
    return _with_text(office, key, text)


async def _read(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    async with office.database.read() as connection:
        return admin_views.key(await _key(connection, given, ask), office.clock.now())


async def _change(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    wanted, now = ask.read(KeyChange), office.clock.now()
    async with office.database.write() as tx:
        before = await _key(tx, given, ask, lock=True)
        asked = Grant(
            frozenset(),
            before.rpm if wanted.rpm is UNSET else wanted.rpm,
            before.concurrency if wanted.concurrency is UNSET else wanted.concurrency,
        )
        granted = authority.within(given, asked)
        after = await keys.limit(tx, before.team_id, before.id, rpm=granted.rpm, concurrency=granted.concurrency)
        shown = admin_views.key(after, now)
        await _note(tx, office, given, "key.update", after, before=admin_views.key(before, now), after=shown)
    return shown


async def _rotate(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    wanted, now = ask.read(RotationWanted), office.clock.now()
    async with office.database.write() as tx:
        old = await _key(tx, given, ask, lock=True)
        authority.require_over(given, old)
        await _require_budgets_over(tx, given, old)
        key, text = await keys.rotate(
            tx, old.team_id, old.id, timedelta(seconds=wanted.grace_s), office.keys.api_keys, now
        )
        after = {"successor": key.id, "graceS": wanted.grace_s}
        await _note(tx, office, given, "key.rotate", old, before=admin_views.key(old, now), after=after)
    return _with_text(office, key, text)


async def _revoke(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    now = office.clock.now()
    async with office.database.write() as tx:
        before = await _key(tx, given, ask, lock=True)
        after = await keys.revoke(tx, before.team_id, before.id, now)
        shown = admin_views.key(after, now)
        await _note(tx, office, given, "key.revoke", after, before=admin_views.key(before, now), after=shown)
    return shown


async def _team(connection: AsyncConnection, given: Authority, ask: Ask) -> Team:
    """The team of the path, if it is in reach; another one is not there."""
    name = ask.named("team")
    team = await teams.find(connection, name)
    if not given.reaches(team.id):
        raise errors.TeamNotFound(f"there is no team {name[:80]!r}", param="team")
    return team


async def _key(connection: AsyncConnection, given: Authority, ask: Ask, *, lock: bool = False) -> Key:
    """The key of the path, if it is in reach; another one is not there."""
    key_id = ask.named("key")
    team_id = await keys.owner(connection, key_id)
    if not given.reaches(team_id):
        raise errors.KeyNotFound(f"there is no key {key_id[:40]!r}", param="key")
    return await keys.find(connection, team_id, key_id, lock=lock)


async def _own_budgets(connection: AsyncConnection, given: Authority) -> list[Budget]:
    if given.key is None:
        return []
    return await _of_chain(connection, given.key)


async def _of_chain(connection: AsyncConnection, key: Key) -> list[Budget]:
    """The budgets that the key is held to, its team's own left out."""
    return [each for each in await budgets.of(connection, key.team_id, key.id) if each.key_id]


async def _within(connection: AsyncConnection, given: Authority, key: Key, asked: Sequence[Budget]) -> list[Budget]:
    """The budgets asked for, with the giver's own where none was; ``NotAllowed`` for one beyond."""
    limits = {each.window: each for each in asked}
    for own in await _own_budgets(connection, given):
        inherited = replace(own, team_id=key.team_id, key_id=key.id, soft_micros=None)
        if limits.setdefault(own.window, inherited).limit_micros > own.limit_micros:
            raise errors.NotAllowed(f"This key's own budget for the {own.window} is smaller.", param="budgets")
    return list(limits.values())


async def _require_budgets_over(connection: AsyncConnection, given: Authority, key: Key) -> None:
    limits = {each.window: each.limit_micros for each in await _of_chain(connection, key)}
    for own in await _own_budgets(connection, given):
        if own.window not in limits or limits[own.window] > own.limit_micros:
            raise errors.NotAllowed(f"This key has a budget for the {own.window}, and that key has more.", param="key")


def _with_text(office: Office, key: Key, text: KeyText) -> Mapping[str, Any]:
    return {**admin_views.key(key, office.clock.now()), "key": text.reveal()}


async def _note(
    tx: AsyncConnection,
    office: Office,
    given: Authority,
    action: str,
    key: Key,
    *,
    after: Mapping[str, Any],
    before: Mapping[str, Any] | None = None,
) -> None:
    await audit.note(
        tx,
        actor=given.actor,
        action=action,
        subject=key.id,
        team_id=key.team_id,
        before=before,
        after=after,
        at=office.clock.now(),
    )


LIST: Final = Deed(
    operation(
        "get",
        "/teams/{team}/keys",
        "ListKeys",
        "List a team's keys",
        ("Oldest first.", admin_shapes.KeyList),
        description=_MANAGE,
        parameters=(_TEAM, *PAGE),
        raises=(errors.TeamNotFound,),
    ),
    _listing,
    managed=True,
)
CREATE: Final = Deed(
    operation(
        "post",
        "/teams/{team}/keys",
        "CreateKey",
        "Make a key",
        ("The key and its text, which is shown this once.", admin_shapes.KeyMade),
        description=f"{_MANAGE} No key grants more than it has; `admin` is granted by the admin token alone.",
        parameters=(_TEAM,),
        body=KeyWanted,
        raises=(errors.TeamNotFound, errors.NotAllowed),
        status=201,
    ),
    _create,
    managed=True,
)
READ: Final = Deed(
    operation(
        "get",
        "/keys/{key}",
        "GetKey",
        "Read a key",
        ("The key, without its secret.", admin_shapes.KeyBody),
        description=_MANAGE,
        parameters=(_KEY,),
        raises=(errors.KeyNotFound,),
    ),
    _read,
    managed=True,
)
CHANGE: Final = Deed(
    operation(
        "patch",
        "/keys/{key}",
        "ChangeKey",
        "Change a key's limits",
        ("The key, changed.", admin_shapes.KeyBody),
        description=_MANAGE,
        parameters=(_KEY,),
        body=KeyChange,
        raises=(errors.KeyNotFound, errors.NotAllowed),
    ),
    _change,
    managed=True,
)
ROTATE: Final = Deed(
    operation(
        "post",
        "/keys/{key}/rotate",
        "RotateKey",
        "Put a new key in a key's place",
        ("The new key and its text, which is shown this once.", admin_shapes.KeyMade),
        description=f"{_MANAGE} The old text works until the grace is over.",
        parameters=(_KEY,),
        body=RotationWanted,
        raises=(errors.KeyNotFound, errors.NotAllowed, errors.Conflict),
        status=201,
    ),
    _rotate,
    managed=True,
)
REVOKE: Final = Deed(
    operation(
        "post",
        "/keys/{key}/revoke",
        "RevokeKey",
        "Revoke a key at once and for good",
        ("The key, revoked.", admin_shapes.KeyBody),
        description=f"{_MANAGE} Its queued jobs run on.",
        parameters=(_KEY,),
        raises=(errors.KeyNotFound,),
    ),
    _revoke,
    managed=True,
)

DEEDS: Final = (LIST, CREATE, READ, CHANGE, ROTATE, REVOKE)
