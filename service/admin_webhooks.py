"""Webhooks on the admin surface: a team's URL and secrets, the log of deliveries, and sending one again.

A key with ``manage`` reaches its own team's alone. A secret's text is in one answer, and in no record.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.jobs import delivery_log, queue
from gateway.jobs.announce import Delivery, Status
from gateway.jobs.tries import Outcome
from gateway.tenancy import audit, teams
from gateway.tenancy.authority import Authority
from gateway.tenancy.teams import Team
from gateway.webhooks import team_secrets
from service import admin_views, webhook_shapes
from service.admin_deeds import PAGE, Ask, Deed, Office, choice, operation, place
from service.webhook_shapes import SecretRotation, WebhookWanted

_TEAM: Final = place("team", "The team's name or id.")
_DELIVERY: Final = place("delivery", "The delivery's id, which is the `webhook-id` of its messages.")
_MANAGE: Final = "A key with the scope `manage` may do this within its own team."


async def _read(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    async with office.database.read() as connection:
        return await _shown(connection, office, await _team(connection, given, ask))


async def _put(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    url = webhook_shapes.checked(office, "url", ask.read(WebhookWanted).url)
    async with office.database.write() as tx:
        before = await _team(tx, given, ask)
        after = await teams.set_webhook(tx, before.id, url)
        await _note(
            tx,
            office,
            given,
            "webhook.put",
            after,
            before={"url": before.webhook_url},
            after={"url": after.webhook_url},
        )
        return await _shown(tx, office, after)


async def _rotate(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    wanted, now = ask.read(SecretRotation), office.clock.now()
    async with office.database.write() as tx:
        team = await _team(tx, given, ask)
        grace = timedelta(seconds=wanted.grace_s)
        made, text = await team_secrets.rotate(tx, office.keys.webhook_secrets, team.id, grace, now)
        after = {"secret": made.id, "graceS": wanted.grace_s}
        await _note(tx, office, given, "webhook.rotate_secret", team, after=after)
    return {**webhook_shapes.secret(made), "secret": text}


async def _listing(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    async with office.database.read() as connection:
        wanted = delivery_log.Filter(
            await _asked_team(connection, given, ask),
            ask.text("job"),
            ask.word("state", Status),
            ask.word("outcome", Outcome),
        )
        found, cursor = await delivery_log.page(connection, wanted, ask.slice)
    return admin_views.page("deliveries", [webhook_shapes.delivery(each) for each in found], cursor)


async def _read_delivery(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    async with office.database.read() as connection:
        found = await _delivery(connection, given, ask)
        log = webhook_shapes.tries(await delivery_log.tries(connection, found.id))
    return {**webhook_shapes.delivery(found), "log": log}


async def _replay(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    async with office.database.write() as tx:
        before = await _delivery(tx, given, ask)
        after = await delivery_log.replay(tx, given.actor, before, office.clock.now())
    if office.redis is not None:
        await queue.open(office.redis).deliver(hint=f"{after.id}:{after.replays}")
    return webhook_shapes.delivery(after)


async def _team(connection: AsyncConnection, given: Authority, ask: Ask) -> Team:
    """The team of the path, if it is in reach; another one is not there."""
    name = ask.named("team")
    team = await teams.find(connection, name)
    if not given.reaches(team.id):
        raise errors.TeamNotFound(f"there is no team {name[:80]!r}", param="team")
    return team


async def _asked_team(connection: AsyncConnection, given: Authority, ask: Ask) -> str | None:
    """The team that a list is about: any or all for who reaches everything, the key's own for everyone else."""
    name = ask.text("team")
    own = None if given.everywhere or given.key is None else given.key.team_id
    if name is None:
        return own
    team = await teams.find(connection, name, deleted=True)
    if not given.reaches(team.id):
        raise errors.TeamNotFound(f"there is no team {name[:80]!r}", param="team")
    return team.id


async def _delivery(connection: AsyncConnection, given: Authority, ask: Ask) -> Delivery:
    own = None if given.everywhere or given.key is None else given.key.team_id
    return await delivery_log.find(connection, ask.named("delivery"), own)


async def _shown(connection: AsyncConnection, office: Office, team: Team) -> Mapping[str, Any]:
    living = await team_secrets.living(connection, team.id, office.clock.now())
    return {
        "team": team.name,
        "teamId": team.id,
        "url": team.webhook_url,
        "secrets": [webhook_shapes.secret(each) for each in living],
    }


async def _note(
    tx: AsyncConnection,
    office: Office,
    given: Authority,
    action: str,
    team: Team,
    *,
    after: Mapping[str, Any],
    before: Mapping[str, Any] | None = None,
) -> None:
    await audit.note(
        tx,
        actor=given.actor,
        action=action,
        subject=team.id,
        team_id=team.id,
        before=before,
        after=after,
        at=office.clock.now(),
    )


READ: Final = Deed(
    operation(
        "get",
        "/webhooks/{team}",
        "GetWebhook",
        "Read where a team is told of its jobs' ends",
        ("The URL, and the secrets without their texts.", webhook_shapes.WebhookBody),
        description=_MANAGE,
        parameters=(_TEAM,),
        raises=(errors.TeamNotFound,),
    ),
    _read,
    managed=True,
)
PUT: Final = Deed(
    operation(
        "put",
        "/webhooks/{team}",
        "PutWebhook",
        "Say where a team is told of its jobs' ends",
        ("The URL, and the secrets without their texts.", webhook_shapes.WebhookBody),
        description=f"{_MANAGE} What waits to be sent to the team's URL goes to the new one; null sends it nowhere.",
        parameters=(_TEAM,),
        body=WebhookWanted,
        raises=(errors.TeamNotFound,),
    ),
    _put,
    managed=True,
)
ROTATE: Final = Deed(
    operation(
        "post",
        "/webhooks/{team}/rotate-secret",
        "RotateWebhookSecret",
        "Make a team's webhook secret, in the place of the one before",
        ("The new secret's text, which is shown this once.", webhook_shapes.SecretMade),
        description=f"{_MANAGE} Until the grace is over each message carries a signature of the old secret too.",
        parameters=(_TEAM,),
        body=SecretRotation,
        raises=(errors.TeamNotFound,),
        status=201,
    ),
    _rotate,
    managed=True,
)
LIST: Final = Deed(
    operation(
        "get",
        "/deliveries",
        "ListDeliveries",
        "List deliveries of webhooks",
        ("Newest first.", webhook_shapes.DeliveryList),
        description="A key with the scope `manage` is told its own team's.",
        parameters=(
            choice("team", "Of this team: its name or id."),
            choice("job", "About this job."),
            choice("state", "In this state.", enum=list(webhook_shapes.STATES)),
            choice("outcome", "Whose last try came to this.", enum=list(webhook_shapes.OUTCOMES)),
            *PAGE,
        ),
        raises=(errors.TeamNotFound,),
    ),
    _listing,
    managed=True,
)
READ_DELIVERY: Final = Deed(
    operation(
        "get",
        "/deliveries/{delivery}",
        "GetDelivery",
        "Read a delivery and each of its tries",
        ("The delivery.", webhook_shapes.DeliveryPage),
        description=_MANAGE,
        parameters=(_DELIVERY,),
        raises=(errors.DeliveryNotFound,),
    ),
    _read_delivery,
    managed=True,
)
REPLAY: Final = Deed(
    operation(
        "post",
        "/deliveries/{delivery}/replay",
        "ReplayDelivery",
        "Send a webhook once more",
        ("The delivery; it is sent soon.", webhook_shapes.DeliveryBody),
        description=f"{_MANAGE} Under the same id, also one that was given up, with a whole round of tries.",
        parameters=(_DELIVERY,),
        raises=(errors.DeliveryNotFound, errors.Conflict),
        status=202,
    ),
    _replay,
    managed=True,
)

DEEDS: Final = (READ, PUT, ROTATE, LIST, READ_DELIVERY, REPLAY)
