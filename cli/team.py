"""``torii team``: makes and lists teams, straight on the stores. Holds no rule about teams."""

import asyncio
from types import MappingProxyType
from typing import Annotated, Any, Final

import typer

from cli import screen, stores
from cli.screen import AsJson
from gateway.clock import rfc3339
from gateway.tenancy import audit, keys, teams
from gateway.tenancy.teams import Team

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Make and list teams.")

_COLUMNS: Final = MappingProxyType({"name": "NAME", "id": "ID", "createdAt": "CREATED", "maxQueueS": "MAX QUEUE S"})


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, dots, dashes, underscores.")],
    as_json: AsJson = False,
) -> None:
    """Make a team."""
    team = asyncio.run(_create(name))
    if as_json:
        screen.write_json(_shown(team))
    else:
        screen.console().print(f"team {team.name} made ({team.id}); give it a key with: torii key create {team.name}")


@app.command("list")
def listing(as_json: AsJson = False) -> None:
    """List all teams."""
    rows = [_shown(team) for team in asyncio.run(_list())]
    if as_json:
        screen.write_json(rows)
    else:
        screen.table(rows, _COLUMNS, nothing="no teams yet; make one with: torii team create NAME")


@app.command()
def show(name: Annotated[str, typer.Argument(help="A team's name or id.")], as_json: AsJson = False) -> None:
    """Show one team."""
    shown = asyncio.run(_show(name))
    if as_json:
        screen.write_json(shown)
    else:
        screen.facts(shown)


async def _create(name: str) -> Team:
    async with stores.opened() as house, house.database.write() as tx:
        now = house.clock.now()
        team = await teams.create(tx, name, now)
        await audit.note(
            tx, actor="cli", action="team.create", subject=team.id, team_id=team.id, after=_shown(team), at=now
        )
        return team


async def _list() -> list[Team]:
    async with stores.opened() as house, house.database.read() as connection:
        return await teams.listing(connection)


async def _show(name: str) -> dict[str, Any]:
    async with stores.opened() as house, house.database.read() as connection:
        team = await teams.find(connection, name)
        now = house.clock.now()
        living = [key for key in await keys.listing(connection, team.id) if key.alive(now)]
        return {**_shown(team), "livingKeys": len(living)}


def _shown(team: Team) -> dict[str, Any]:
    return {
        "id": team.id,
        "name": team.name,
        "createdAt": rfc3339(team.created_at),
        "maxQueueS": team.max_queue_s,
    }
