"""``torii apply``: makes teams, limits, budgets and policies as a file has them, and says what it changed.

What the file does not name stays as it is; a second run changes nothing. Teams are never deleted, and no key is made:
its text could be shown to nobody.
"""

import json
import tomllib
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

import msgspec
import typer
from msgspec import UNSET, UnsetType

from cli import differences, reach, screen
from cli.differences import Change
from cli.reach import Reach, TokenFile, Url
from cli.screen import AsJson
from gateway import errors
from service import admin_budgets, admin_keys, admin_teams
from service.admin_bodies import Count, Name, WindowBudgetWanted
from service.admin_deeds import Wanted
from service.cache_shapes import CacheWanted
from service.retention_shapes import RetentionWanted

app = typer.Typer(add_completion=False)

_DEEDS: Final = MappingProxyType(
    {
        "team.create": admin_teams.CREATE,
        "team.update": admin_teams.CHANGE,
        "key.update": admin_keys.CHANGE,
        "budget.put": admin_budgets.PUT,
        "budget.delete": admin_budgets.DELETE,
    }
)


class WantedKey(Wanted):
    """A key of a team, which has to be there: its id, or the name that it alone has among the living ones."""

    id: Name | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    rpm: Count | UnsetType | None = UNSET
    concurrency: Count | UnsetType | None = UNSET
    budgets: tuple[WindowBudgetWanted, ...] | UnsetType = UNSET


class WantedTeam(Wanted):
    """A team as it shall be. Given budgets are all that it shall have."""

    name: Name
    rpm: Count | UnsetType = UNSET
    concurrency: Count | UnsetType | None = UNSET
    queue_depth: Count | UnsetType = UNSET
    max_queue_s: Count | UnsetType = UNSET
    policy: dict[str, Any] | UnsetType | None = UNSET
    cache: CacheWanted | UnsetType = UNSET
    retention: RetentionWanted | UnsetType = UNSET
    budgets: tuple[WindowBudgetWanted, ...] | UnsetType = UNSET
    keys: tuple[WantedKey, ...] = ()


class WantedFile(Wanted):
    """All of a file."""

    teams: tuple[WantedTeam, ...]


@app.command()
def apply(
    file: Annotated[Path, typer.Option("--file", "-f", help="TOML or JSON: `teams`, each with what it shall have.")],
    check: Annotated[bool, typer.Option("--check", help="Say what would change, and change nothing.")] = False,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Make teams, limits, budgets and policies as a file has them. What it does not name stays as it is."""
    wanted = _read(file)
    changes = reach.carry_out(url, token_file, lambda way: _applied(way, wanted, check=check))
    if as_json:
        screen.write_json({"checked": check, "changes": [change.shown for change in changes]})
        return
    out = screen.console()
    for change in changes:
        out.print(screen.plain(f"{'would ' if check else ''}{change.said}"), soft_wrap=True)
    if not changes:
        out.print("everything is as the file has it")


async def _applied(way: Reach, wanted: WantedFile, *, check: bool) -> list[Change]:
    """Team by team: look, change, and look no further than the file names."""
    found = {team["name"]: team for team in await reach.listed(way, admin_teams.LIST, "teams")}
    made: list[Change] = []
    for team in wanted.teams:
        changes = await _changes(way, team, found.get(team.name))
        for change in changes:
            if not check:
                await way.ask(_DEEDS[change.deed], change.path, query=change.query, body=change.body)
        made += changes
    return made


async def _changes(way: Reach, wanted: WantedTeam, found: dict[str, Any] | None) -> list[Change]:
    if found is None:
        if wanted.keys:
            raise errors.KeyNotFound(
                f"team {wanted.name} is not there yet, and has no keys; make them with: torii key create", param="keys"
            )
        return [differences.new_team(wanted)]
    place = {"team": found["id"]}
    changes = differences.of_team(wanted, found)
    if wanted.budgets is UNSET and not wanted.keys:
        return changes
    standing = (await way.ask(admin_budgets.LIST, place))["budgets"]
    changes += differences.of_budgets(wanted.name, found["id"], None, wanted.budgets, standing)
    if wanted.keys:
        keys = await reach.listed(way, admin_keys.LIST, "keys", place)
        for each in wanted.keys:
            key = differences.key_named(each, keys, wanted.name)
            changes += differences.of_key(each, key)
            # A rotated key and its successor have one budget, which goes by the name of the first of them.
            own = [{**limit, "keyId": key["id"]} for limit in standing if limit["keyId"] == key["lineage"]]
            changes += differences.of_budgets(wanted.name, found["id"], key["id"], each.budgets, own)
    return changes


def _read(file: Path) -> WantedFile:
    """The file in its shape; ``InvalidParameter`` says where it is not."""
    content = file.read_bytes()
    try:
        told = json.loads(content) if file.suffix == ".json" else tomllib.loads(content.decode())
        return msgspec.convert(told, WantedFile)
    except (tomllib.TOMLDecodeError, ValueError) as error:
        # One line: a decoder may quote the text it stumbled over.
        said = " ".join(str(error).split())[:200]
        raise errors.InvalidParameter(f"{file}: {said}", param="file") from None
