"""``torii key``: makes, lists and revokes keys, straight on the stores. A key's text is printed once, kept nowhere."""

import asyncio
from types import MappingProxyType
from typing import Annotated, Any, Final

import typer

from cli import expiry, screen, stores
from cli.screen import AsJson
from gateway import errors
from gateway.clock import rfc3339
from gateway.settings import keyring
from gateway.tenancy import audit, keys, keytext, scopes, teams
from gateway.tenancy.keys import Key
from gateway.tenancy.keytext import KeyText
from gateway.tenancy.scopes import Scope

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Make, list and revoke the keys of teams.")

_COLUMNS: Final = MappingProxyType(
    {
        "id": "ID",
        "name": "NAME",
        "scopes": "SCOPES",
        "state": "STATE",
        "createdAt": "CREATED",
        "expiresAt": "EXPIRES",
        "lastUsedAt": "LAST USED",
    }
)
_NAME_CHARACTERS_MAX = 200


@app.command()
def create(
    team: Annotated[str, typer.Argument(help="A team's name or id.")],
    name: Annotated[str, typer.Option(help="What the key is for.")] = "cli",
    expires: Annotated[str | None, typer.Option(help="30m, 12h, 30d, 8w or a moment in RFC 3339.")] = None,
    scope: Annotated[
        list[Scope] | None, typer.Option(help="May be given several times. [default: generate, read]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. Its text is shown this once."""
    if not name.isprintable() or not 1 <= len(name) <= _NAME_CHARACTERS_MAX:
        raise errors.InvalidParameter(
            f"--name: use 1 to {_NAME_CHARACTERS_MAX} characters that can be printed", param="name"
        )
    key, text = asyncio.run(_create(team, name, frozenset(scope or scopes.DEFAULT), expires))
    if as_json:
        screen.write_json({**_shown(key), "key": text.reveal()})
        return
    out = screen.console()
    out.print(text.reveal(), style="bold", soft_wrap=True)
    out.print(f"This is key {key.id} of team {team}. It is not kept anywhere: put it where it belongs now.")


@app.command("list")
def listing(team: Annotated[str, typer.Argument(help="A team's name or id.")], as_json: AsJson = False) -> None:
    """List a team's keys."""
    rows = asyncio.run(_list(team))
    if as_json:
        screen.write_json(rows)
        return
    spelled = [{**row, "scopes": " ".join(row["scopes"])} for row in rows]
    screen.table(spelled, _COLUMNS, nothing=f"no keys yet; make one with: torii key create {team}")


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEYID", help="A key's id, the middle part of its text.")],
    as_json: AsJson = False,
) -> None:
    """Revoke a key at once and for good."""
    whole = keytext.parse(key)
    revoked = asyncio.run(_revoke(key if whole is None else whole.id))
    if as_json:
        screen.write_json(_shown(revoked))
    else:
        screen.console().print(f"key {revoked.id} is revoked")


async def _create(team: str, name: str, granted: frozenset[Scope], expires: str | None) -> tuple[Key, KeyText]:
    async with stores.opened() as house, house.database.write() as tx:
        now = house.clock.now()
        until = None if expires is None else expiry.moment(expires, now)
        owner = await teams.find(tx, team)
        ring = keyring.derive(house.settings.secret_key).api_keys
        key, text = await keys.create(tx, owner.id, name, granted, ring, now, until)
        await audit.note(
            tx, actor="cli", action="key.create", subject=key.id, team_id=owner.id, after=_shown(key), at=now
        )
        return key, text


async def _list(team: str) -> list[dict[str, Any]]:
    async with stores.opened() as house, house.database.read() as connection:
        owner = await teams.find(connection, team)
        now = house.clock.now()
        found = await keys.listing(connection, owner.id)
        return [{**_shown(key), "state": _state(key, alive=key.alive(now))} for key in found]


async def _revoke(key_id: str) -> Key:
    async with stores.opened() as house, house.database.write() as tx:
        now = house.clock.now()
        team_id = await keys.owner(tx, key_id)
        key = await keys.revoke(tx, team_id, key_id, now)
        await audit.note(
            tx, actor="cli", action="key.revoke", subject=key.id, team_id=team_id, after=_shown(key), at=now
        )
        return key


def _state(key: Key, *, alive: bool) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "living" if alive else "expired"


def _shown(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "teamId": key.team_id,
        "name": key.name,
        "scopes": sorted(scope.value for scope in key.scopes),
        "createdAt": rfc3339(key.created_at),
        "expiresAt": rfc3339(key.expires_at) if key.expires_at else None,
        "revokedAt": rfc3339(key.revoked_at) if key.revoked_at else None,
        "lastUsedAt": rfc3339(key.last_used_at) if key.last_used_at else None,
    }
