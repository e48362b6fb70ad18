"""``torii key``: makes, lists, limits, rotates and revokes keys. A key's text is printed once, and kept nowhere."""

from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, Final

import typer

from cli import amounts, expiry, reach, screen
from cli.reach import TokenFile, Url
from cli.screen import AsJson
from gateway import errors
from gateway.clock import rfc3339
from gateway.ledger.budgets import Window
from gateway.tenancy import keytext, scopes
from gateway.tenancy.scopes import Scope
from service import admin_keys

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Make, list, limit, rotate and revoke the keys of teams."
)

_COLUMNS: Final = MappingProxyType(
    {
        "id": "ID",
        "name": "NAME",
        "scopes": "SCOPES",
        "state": "STATE",
        "rpm": "RPM",
        "concurrency": "CONCURRENCY",
        "createdAt": "CREATED",
        "expiresAt": "EXPIRES",
        "lastUsedAt": "LAST USED",
    }
)

Team = Annotated[str, typer.Argument(help="A team's name or id.")]
KeyId = Annotated[str, typer.Argument(metavar="KEYID", help="A key's id, the middle part of its text.")]


@app.command()
def create(
    team: Team,
    name: Annotated[str, typer.Option(help="What the key is for.")] = "cli",
    expires: Annotated[str | None, typer.Option(help="30m, 12h, 30d, 8w or a moment in RFC 3339.")] = None,
    rpm: Annotated[int | None, typer.Option(help="New generations a minute.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Jobs in flight.")] = None,
    budget: Annotated[str | None, typer.Option(help="Credits that it may spend and hold in a window.")] = None,
    window: Annotated[Window | None, typer.Option(help="The budget's window, in UTC. \\[default: month]")] = None,
    scope: Annotated[
        list[Scope] | None, typer.Option(help="May be given several times. \\[default: generate, read]")
    ] = None,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. Its text is shown this once."""
    if window is not None and budget is None:
        raise errors.InvalidParameter("--window goes with --budget", param="budget")
    body: dict[str, Any] = {
        "name": name,
        "scopes": sorted(scope or scopes.DEFAULT),
        "expiresAt": None if expires is None else rfc3339(expiry.moment(expires, datetime.now(UTC))),
        "rpm": rpm,
        "concurrency": concurrency,
    }
    if budget is not None:
        limit = amounts.credits("--budget", budget)
        body["budgets"] = [{"window": (window or Window.MONTH).value, "limit": limit}]
    _say(reach.ask(url, token_file, admin_keys.CREATE, {"team": team}, body=body), f"of team {team}", as_json=as_json)


@app.command("list")
def listing(team: Team, url: Url = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """List a team's keys."""
    rows = reach.carry_out(url, token_file, lambda way: reach.listed(way, admin_keys.LIST, "keys", {"team": team}))
    if as_json:
        screen.write_json(rows)
        return
    spelled = [{**row, "scopes": " ".join(row["scopes"])} for row in rows]
    screen.table(spelled, _COLUMNS, nothing=f"no keys yet; make one with: torii key create {team}")


@app.command()
def update(
    key: KeyId,
    rpm: Annotated[int | None, typer.Option(help="New generations a minute; 0 takes the limit away.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Jobs in flight; 0 takes the limit away.")] = None,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Change a key's limits."""
    given = {"rpm": rpm, "concurrency": concurrency}
    body = {name: value or None for name, value in given.items() if value is not None}
    if not body:
        raise errors.InvalidParameter("say what shall be different; see: torii key update --help")
    changed = reach.ask(url, token_file, admin_keys.CHANGE, {"key": _id(key)}, body=body)
    limits = ", ".join(f"{name} {changed[name] or 'as its team'}" for name in given)
    screen.show(changed, f"key {changed['id']} has {limits}", as_json=as_json)


@app.command()
def rotate(
    key: KeyId,
    grace: Annotated[str, typer.Option(help="How long the old text still works, such as 24h.")] = "0s",
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Put a new key in a key's place. Its text is shown this once."""
    body = {"graceS": amounts.seconds("--grace", grace)}
    made = reach.ask(url, token_file, admin_keys.ROTATE, {"key": _id(key)}, body=body)
    _say(made, f"in the place of key {_id(key)}", as_json=as_json)


@app.command()
def revoke(key: KeyId, url: Url = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Revoke a key at once and for good."""
    revoked = reach.ask(url, token_file, admin_keys.REVOKE, {"key": _id(key)})
    screen.show(revoked, f"key {revoked['id']} is revoked", as_json=as_json)


def _id(text: str) -> str:
    """The id of a key that was given by its id or by its whole text."""
    whole = keytext.parse(text)
    return text if whole is None else whole.id


def _say(made: dict[str, Any], what: str, *, as_json: bool) -> None:
    if as_json:
        screen.write_json(made)
        return
    out = screen.console()
    out.print(made["key"], style="bold", soft_wrap=True)
    out.print(
        screen.plain(f"This is key {made['id']} {what}. It is not kept anywhere: put it where it belongs now."),
        soft_wrap=True,
    )
