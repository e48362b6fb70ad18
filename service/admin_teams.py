"""Teams on the admin surface: made, listed, changed, drained, deleted, exported; their policies with them."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.admission import policy
from gateway.clock import rfc3339
from gateway.jobs import admin, retention
from gateway.jobs.retention import Retention
from gateway.ledger import budgets, statement
from gateway.reuse import choices
from gateway.tenancy import audit, keys, teams
from gateway.tenancy.authority import Authority
from gateway.tenancy.choices import Choices
from gateway.tenancy.teams import Team
from service import admin_budgets, admin_shapes, admin_views, cache_shapes, retention_shapes, webhook_shapes
from service.admin_bodies import PolicyWanted, TeamChange, TeamWanted
from service.admin_deeds import PAGE, Ask, Deed, Office, operation, place

TEAM: Final = place("team", "The team's name or id.")
_MISSING: Final = (errors.TeamNotFound,)
_LIMITS: Final = ("rpm", "concurrency", "queue_depth", "max_queue_s")


async def _listing(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    del given
    async with office.database.read() as connection:
        found, cursor = await teams.page(connection, ask.slice)
        team_ids = [team.id for team in found]
        chosen, kept = await choices.of_all(connection, team_ids), await retention.of_all(connection, team_ids)
    told = [_told(team, chosen.get(team.id, Choices()), kept.get(team.id, Retention())) for team in found]
    return admin_views.page("teams", told, cursor)


async def _create(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    wanted = ask.read(TeamWanted)
    now = office.clock.now()
    async with office.database.write() as tx:
        team = await teams.create(tx, wanted.name, now)
        team = await _changed(office, tx, team, wanted)
        told = _told(team, await _chosen(tx, team.id, wanted), await _kept(tx, team.id, wanted))
        limits = await admin_budgets.put_all(tx, admin_budgets.wanted(team.id, "", wanted.budgets))
        after = {**told, "budgets": limits}
        await audit.note(
            tx, actor=given.actor, action="team.create", subject=team.id, team_id=team.id, after=after, at=now
        )
        return await _page(tx, office, team)


async def _read(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    del given
    async with office.database.read() as connection:
        return await _page(connection, office, await teams.find(connection, ask.named("team")))


async def _change(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    wanted = ask.read(TeamChange)
    async with office.database.write() as tx:
        before = await teams.find(tx, ask.named("team"), lock=True)
        after = before
        if wanted.name is not UNSET and wanted.name != before.name:
            after = await teams.rename(tx, before.id, wanted.name)
        after = await _changed(office, tx, after, wanted)
        was = _told(before, await choices.of(tx, before.id), await retention.of(tx, before.id))
        told = _told(after, await _chosen(tx, before.id, wanted), await _kept(tx, before.id, wanted))
        await _noted(tx, office, given, "team.update", was, told)
        return await _page(tx, office, after)


async def _drain(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    async with office.database.write() as tx:
        before = await teams.find(tx, ask.named("team"), lock=True)
        after = await teams.drain(tx, before.id, before.drained_at or office.clock.now())
        await _noted(tx, office, given, "team.drain", admin_views.team(before), admin_views.team(after))
        return await _page(tx, office, after)


async def _undrain(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    async with office.database.write() as tx:
        before = await teams.find(tx, ask.named("team"), lock=True)
        after = await teams.drain(tx, before.id, None)
        await _noted(tx, office, given, "team.undrain", admin_views.team(before), admin_views.team(after))
        return await _page(tx, office, after)


async def _delete(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    async with office.database.write() as tx:
        team = await teams.find(tx, ask.named("team"), lock=True)
        revoked, unfinished = await admin.delete_team(tx, given.actor, team, office.clock.now())
        # Nobody gets its pictures from the pool any more.
        await choices.put(tx, team.id, Choices())
    return {"id": team.id, "name": team.name, "revokedKeys": revoked, "unfinishedJobs": unfinished}


async def _export(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    del given
    now = office.clock.now()
    async with office.database.read() as connection:
        team = await teams.find(connection, ask.named("team"), deleted=True)
        standings = await budgets.standing(connection, team.id, now)
        return {
            "exportedAt": rfc3339(now),
            "team": _told(team, await choices.of(connection, team.id), await retention.of(connection, team.id)),
            "keys": [admin_views.key(key, now) for key in await keys.listing(connection, team.id)],
            "budgets": [admin_views.budget(each) for each in standings],
            "ledger": [admin_views.entry(row, team.name) for row in await statement.of_team(connection, team.id)],
            "jobs": [
                {**admin_views.job_line(job, team.name), **admin_views.job_more(job, team.name)}
                for job in await admin.of_team(connection, team.id)
            ],
        }


async def _read_policy(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    del given
    async with office.database.read() as connection:
        team = await teams.find(connection, ask.named("team"))
    return {"policy": team.policy}


async def _put_policy(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    wanted = ask.read(PolicyWanted)
    async with office.database.write() as tx:
        before = await teams.find(tx, ask.named("team"), lock=True)
        after = await teams.set_policy(tx, before.id, _policy(office, wanted.policy))
        await _noted(tx, office, given, "policy.put", admin_views.team(before), admin_views.team(after))
    return {"policy": after.policy}


def _policy(office: Office, given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if given is None else policy.write(policy.parse(given, office.catalogue))


async def _changed(office: Office, tx: AsyncConnection, team: Team, wanted: TeamWanted | TeamChange) -> Team:
    limits = {name: value for name in _LIMITS if (value := getattr(wanted, name)) is not UNSET}
    if limits:
        team = await teams.limit(tx, team.id, limits)
    if wanted.policy is not UNSET:
        team = await teams.set_policy(tx, team.id, _policy(office, wanted.policy))
    if wanted.webhook_url is not UNSET:
        url = webhook_shapes.checked(office, "webhookUrl", wanted.webhook_url)
        team = await teams.set_webhook(tx, team.id, url)
    return team


async def _page(connection: AsyncConnection, office: Office, team: Team) -> Mapping[str, Any]:
    now = office.clock.now()
    living = [key for key in await keys.listing(connection, team.id) if key.alive(now)]
    return {
        **_told(team, await choices.of(connection, team.id), await retention.of(connection, team.id)),
        "livingKeys": len(living),
        "unfinishedJobs": await admin.count_unfinished(connection, team.id),
        "budgets": [admin_views.budget(each) for each in await budgets.standing(connection, team.id, now)],
    }


async def _chosen(tx: AsyncConnection, team_id: str, wanted: TeamWanted | TeamChange) -> Choices:
    """What the team has chosen about reuse, with what is wanted now; its row is locked, or new."""
    had = await choices.of(tx, team_id)
    if wanted.cache is UNSET:
        return had
    has = cache_shapes.changed(had, wanted.cache)
    await choices.put(tx, team_id, has)
    return has


async def _kept(tx: AsyncConnection, team_id: str, wanted: TeamWanted | TeamChange) -> Retention:
    """How long the team keeps things, with what is wanted now; its row is locked, or new."""
    had = await retention.of(tx, team_id)
    if wanted.retention is UNSET:
        return had
    has = retention_shapes.changed(had, wanted.retention)
    await retention.put(tx, team_id, has)
    return has


def _told(team: Team, chosen: Choices, kept: Retention) -> dict[str, Any]:
    return {
        **admin_views.team(team),
        "cache": cache_shapes.chosen(chosen),
        "retention": retention_shapes.chosen(kept),
    }


async def _noted(
    tx: AsyncConnection,
    office: Office,
    given: Authority,
    action: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> None:
    await audit.note(
        tx,
        actor=given.actor,
        action=action,
        subject=after["id"],
        team_id=after["id"],
        before=before,
        after=after,
        at=office.clock.now(),
    )


LIST: Final = Deed(
    operation("get", "/teams", "ListTeams", "List the teams", ("By name.", admin_shapes.TeamList), parameters=PAGE),
    _listing,
)
CREATE: Final = Deed(
    operation(
        "post",
        "/teams",
        "CreateTeam",
        "Make a team",
        ("The team.", admin_shapes.TeamPage),
        body=TeamWanted,
        raises=(errors.Conflict,),
        status=201,
    ),
    _create,
)
READ: Final = Deed(
    operation(
        "get",
        "/teams/{team}",
        "GetTeam",
        "Read a team",
        ("The team and how it stands.", admin_shapes.TeamPage),
        parameters=(TEAM,),
        raises=_MISSING,
    ),
    _read,
)
CHANGE: Final = Deed(
    operation(
        "patch",
        "/teams/{team}",
        "ChangeTeam",
        "Change a team's name, limits, policy, webhook URL, cache or retention",
        ("The team, changed.", admin_shapes.TeamPage),
        parameters=(TEAM,),
        body=TeamChange,
        raises=(*_MISSING, errors.Conflict),
    ),
    _change,
)
DRAIN: Final = Deed(
    operation(
        "post",
        "/teams/{team}/drain",
        "DrainTeam",
        "Take no new orders of a team",
        ("The team; what it has goes on.", admin_shapes.TeamPage),
        parameters=(TEAM,),
        raises=_MISSING,
    ),
    _drain,
)
UNDRAIN: Final = Deed(
    operation(
        "post",
        "/teams/{team}/undrain",
        "UndrainTeam",
        "Take a team's orders again",
        ("The team.", admin_shapes.TeamPage),
        parameters=(TEAM,),
        raises=_MISSING,
    ),
    _undrain,
)
DELETE: Final = Deed(
    operation(
        "delete",
        "/teams/{team}",
        "DeleteTeam",
        "End a team",
        ("Its keys are revoked, its name is free, its ledger stays.", admin_shapes.TeamDeleted),
        description="Refused while the team has unfinished jobs, unless it was drained; they go on to their end.",
        parameters=(TEAM,),
        raises=(*_MISSING, errors.Conflict),
    ),
    _delete,
)
EXPORT: Final = Deed(
    operation(
        "get",
        "/teams/{team}/export",
        "ExportTeam",
        "Read all that is kept of a team",
        ("Its keys without secrets, budgets, policy, ledger and jobs.", admin_shapes.TeamExport),
        description="A deleted team is exported by its id.",
        parameters=(TEAM,),
        raises=_MISSING,
    ),
    _export,
)
READ_POLICY: Final = Deed(
    operation(
        "get",
        "/teams/{team}/policy",
        "GetPolicy",
        "Read a team's policy",
        ("The policy.", admin_shapes.PolicyBody),
        parameters=(TEAM,),
        raises=_MISSING,
    ),
    _read_policy,
)
PUT_POLICY: Final = Deed(
    operation(
        "put",
        "/teams/{team}/policy",
        "PutPolicy",
        "Set a team's policy",
        ("The policy.", admin_shapes.PolicyBody),
        parameters=(TEAM,),
        body=PolicyWanted,
        raises=_MISSING,
    ),
    _put_policy,
)

DEEDS: Final = (LIST, CREATE, READ, CHANGE, DRAIN, UNDRAIN, DELETE, EXPORT, READ_POLICY, PUT_POLICY)
