"""The cache on the admin surface: what it holds and has saved, and taking things out of it.

A key with ``manage`` reaches its own team's alone. What a picture costs and who may have it again is not decided here.
"""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, money
from gateway.jobs import purging
from gateway.jobs.purging import Which
from gateway.reuse import standing
from gateway.reuse.shelf import Shelf
from gateway.reuse.standing import Held, Savings, Span
from gateway.tenancy import teams
from gateway.tenancy.authority import Authority
from service import cache_shapes
from service.admin_deeds import Ask, Deed, Office, choice, operation
from service.cache_shapes import PurgeWanted

_MANAGE: Final = "A key with the scope `manage` may do this within its own team."


async def _read(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    async with office.database.read() as connection:
        team_id = await _team(connection, given, ask.text("team"))
        model = ask.text("model")
        held = await standing.held(connection, team_id, model)
        saved = await standing.saved(connection, ("team_id", "model"), Span(team_id, model))
        names = await teams.names(connection, {team for team, *_ in (*held, *saved)})
    lines = [
        _line(names[team], team, of_model, held.get((team, of_model), Held()), saved.get((team, of_model), Savings()))
        for team, of_model in {*held, *((team, of_model) for team, of_model in saved)}
    ]
    return {"cache": sorted(lines, key=lambda line: (line["team"], line["model"]))}


def _line(name: str, team_id: str, model: str, held: Held, saved: Savings) -> dict[str, Any]:
    return {
        "team": name,
        "teamId": team_id,
        "model": model,
        "entries": held.entries,
        "shared": held.shared,
        "reused": saved.answers,
        "saved": money.credits(saved.micros),
    }


async def _purge(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    wanted = ask.read(PurgeWanted)
    named = [text for text in (wanted.team, wanted.model, wanted.job_id) if text is not None]
    if wanted.all == bool(named):
        raise errors.InvalidParameter("give `all`, or some of `team`, `model` and `jobId`", param="all")
    if not all(text.isprintable() for text in named):
        raise errors.InvalidParameter("team, model, jobId: use characters that can be printed", param="all")
    async with office.database.read() as connection:
        team_id = await _team(connection, given, wanted.team)
    shelf = None if office.redis is None else Shelf(office.redis, office.clock, purging.TELL_WITHIN_S)
    which = Which(team_id, wanted.model, wanted.job_id)
    result = await purging.purge(office.database, shelf, which, given.actor, office.clock.now())
    return {"purged": result.purged, "done": result.done, "immediate": result.told}


async def _team(connection: AsyncConnection, given: Authority, name: str | None) -> str | None:
    """Whose entries: anybody's or all for who reaches everything, the key's own team's for everyone else."""
    if name is None:
        return None if given.everywhere or given.key is None else given.key.team_id
    team = await teams.find(connection, name, deleted=True)
    if not given.reaches(team.id):
        raise errors.TeamNotFound(f"there is no team {name[:80]!r}", param="team")
    return team.id


READ: Final = Deed(
    operation(
        "get",
        "/cache",
        "GetCache",
        "What the cache holds, and what it has saved",
        ("By team and model.", cache_shapes.CacheReport),
        description="A key with the scope `manage` is told its own team's.",
        parameters=(choice("team", "Of this team: its name or id."), choice("model", "Of this model.")),
        raises=(errors.TeamNotFound,),
    ),
    _read,
    managed=True,
)
PURGE: Final = Deed(
    operation(
        "post",
        "/cache/purge",
        "PurgeCache",
        "Take answers out of the cache",
        ("What is gone.", cache_shapes.PurgeDone),
        description=(
            f"{_MANAGE} Jobs and pictures stay, and so does what another team already got from the pool. "
            "What is being made at the moment is kept when it is done."
        ),
        body=PurgeWanted,
        raises=(errors.TeamNotFound,),
    ),
    _purge,
    managed=True,
)

DEEDS: Final = (READ, PURGE)
