"""The shapes of webhooks on both surfaces, and what is shown of them. Describes and spells; asks nothing."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from msgspec import Meta

from gateway.clock import rfc3339, rfc3339_ms
from gateway.jobs.announce import Delivery, Status
from gateway.jobs.tries import Outcome
from gateway.webhooks import team_secrets, urls
from gateway.webhooks.team_secrets import Secret
from service import admin_views
from service.admin_bodies import WebhookUrl
from service.admin_deeds import Office, Wanted
from service.wire import At, Shape, Text

#: What a try came to, by this name when nobody can tell: it is under way, or its worker died.
UNKNOWN: Final = "unknown"

State = Literal["pending", "retrying", "delivered", "dead", "superseded"]


def checked(office: Office, param: str, url: str | None) -> str | None:
    """The URL, if webhooks may be sent there; an ``InvalidParameter`` says why not."""
    return None if url is None else urls.check(url, office.settings.webhook_allow_nets, param=param)


class SecretBody(Shape):
    """A secret that signs, without its text."""

    id: Text
    created_at: At
    expires_at: Annotated[At | None, Meta(description="It signs until then; null for the one in force.")]


class WebhookBody(Shape):
    """Where a team is told of its jobs' ends, and what the messages are signed with."""

    team: Text
    team_id: Text
    url: Annotated[str | None, Meta(description="For orders that name no URL of their own.")]
    secrets: Annotated[list[SecretBody], Meta(description="The newest first; each of them signs.")]


class WebhookWanted(Wanted):
    """Where a team is told of its jobs' ends."""

    url: WebhookUrl | None


class SecretRotation(Wanted):
    """How a team's webhook secret is rotated."""

    grace_s: Annotated[
        int,
        Meta(ge=0, le=team_secrets.GRACE_MAX_S, description="How long the secrets before still sign; 0: not at all."),
    ] = team_secrets.GRACE_S


class SecretMade(SecretBody):
    """A new secret with its text, which is shown this once."""

    secret: Annotated[str, Meta(pattern="^whsec_")]


class DeliveryBody(Shape):
    """A message about a job's end, and how it stands with its delivery."""

    id: Annotated[Text, Meta(description="The `webhook-id` of all its tries.")]
    team_id: Text
    job_id: str | None
    batch_id: str | None
    type: Literal["job.completed", "job.failed", "job.cancelled", "batch.finished"]
    provisional: Annotated[bool, Meta(description="It tells a failure that may yet turn out otherwise.")]
    url: Annotated[str, Meta(description="Where the last try went, or the first will go.")]
    state: State
    outcome: Annotated[str | None, Meta(description="What the last try came to.", examples=["timeout"])]
    tries: int
    created_at: At
    due_at: Annotated[At | None, Meta(description="When it is tried next.")]
    ended_at: At | None


class TryBody(Shape):
    """One try; nothing of the receiver's answer is kept but its status."""

    number: int
    at: At
    outcome: Annotated[str, Meta(description="`unknown`: it is under way, or its worker died.", examples=["delivered"])]
    status_code: int | None
    duration_ms: int | None


class DeliveryPage(DeliveryBody):
    """A delivery with each of its tries."""

    log: list[TryBody]


class DeliveryList(Shape):
    """Deliveries, newest first."""

    deliveries: list[DeliveryBody]
    next_cursor: Annotated[str | None, Meta(description="For the next page; null at the end.")]


def secret(found: Secret) -> dict[str, Any]:
    """A secret, without its text."""
    return {
        "id": found.id,
        "createdAt": rfc3339(found.created_at),
        "expiresAt": admin_views.moment(found.expires_at),
    }


def delivery(found: Delivery) -> dict[str, Any]:
    """A delivery."""
    is_open = found.state in (Status.PENDING, Status.RETRYING)
    return {
        "id": found.id,
        "teamId": found.team_id,
        "jobId": found.job_id,
        "batchId": found.batch_id,
        "type": found.type.value,
        "provisional": found.provisional,
        "url": found.url,
        "state": found.state.value,
        "outcome": found.outcome,
        "tries": found.tries,
        "createdAt": rfc3339_ms(found.created_at),
        "dueAt": rfc3339_ms(found.due_at) if is_open else None,
        "endedAt": admin_views.moment_ms(found.ended_at),
    }


def tries(rows: Iterable[sa.Row[Any]]) -> Sequence[dict[str, Any]]:
    """The tries of a delivery."""
    return [
        {
            "number": row.number,
            "at": rfc3339_ms(row.at),
            "outcome": row.outcome or UNKNOWN,
            "statusCode": row.status_code,
            "durationMs": row.duration_ms,
        }
        for row in rows
    ]


#: The words that a list may be asked by.
STATES: Final = tuple(state.value for state in Status)
OUTCOMES: Final = tuple(outcome.value for outcome in Outcome)
