"""The shapes of what the admin surface is told. Declares; whether a value may be is for the house to say."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from gateway.tenancy import keys
from service.admin_deeds import Wanted
from service.cache_shapes import CacheWanted
from service.retention_shapes import RetentionWanted
from service.wire import At, Text

#: Read as JSON has it and turned into micro-credits by ``admin_views.micros`` at once: nothing is ever summed as this.
Amount = Annotated[float, Meta(ge=0, le=1_000_000_000, description="Credits, at most 6 decimals.", examples=[500])]
Change = Annotated[
    float,
    Meta(ge=-1_000_000_000, le=1_000_000_000, description="Credits, at most 6 decimals.", examples=[-2]),
]
Count = Annotated[int, Meta(ge=1, examples=[60])]
Window = Literal["day", "month", "total"]
ScopeName = Literal["generate", "read", "manage", "admin"]
Name = Annotated[Text, Meta(max_length=200)]
#: As ``tenancy.teams`` has it, which also says so to whoever gives another one.
TeamName = Annotated[Text, Meta(max_length=200, extra_json_schema={"pattern": "^[a-z0-9][a-z0-9._-]{0,62}$"})]
_GRACE_MAX_S = int(keys.GRACE_MAX.total_seconds())
Reference = Annotated[
    Text, Meta(max_length=200, description="The entry's own name; the same one twice is a 409.", examples=["ticket-42"])
]
WebhookUrl = Annotated[
    Text,
    Meta(
        max_length=2083,
        description="Where the ends of its jobs are told, unless an order names another URL.",
        examples=["https://hooks.example/torii"],
    ),
]
Note = Annotated[str, Meta(max_length=1000)]


class BudgetWanted(Wanted):
    """A limit of a window."""

    limit: Amount
    soft: Annotated[Amount | None, Meta(description="Passing it warns, and refuses nothing.")] = None


class WindowBudgetWanted(Wanted):
    """A limit, with its window."""

    window: Window
    limit: Amount
    soft: Amount | None = None


class TeamWanted(Wanted):
    """A new team."""

    name: TeamName
    rpm: Annotated[Count | UnsetType, Meta(description="New generations a minute.")] = UNSET
    concurrency: Annotated[Count | UnsetType | None, Meta(description="Jobs in flight; null: no limit.")] = UNSET
    queue_depth: Annotated[Count | UnsetType, Meta(description="Jobs waiting.")] = UNSET
    max_queue_s: Annotated[Count | UnsetType, Meta(description="How long a job may wait.")] = UNSET
    policy: Annotated[dict[str, Any] | UnsetType | None, Meta(description="What its orders may ask for.")] = UNSET
    webhook_url: WebhookUrl | UnsetType | None = UNSET
    cache: CacheWanted | UnsetType = UNSET
    retention: RetentionWanted | UnsetType = UNSET
    budgets: tuple[WindowBudgetWanted, ...] = ()


class TeamChange(Wanted):
    """What shall be different about a team."""

    name: TeamName | UnsetType = UNSET
    rpm: Count | UnsetType = UNSET
    concurrency: Count | UnsetType | None = UNSET
    queue_depth: Count | UnsetType = UNSET
    max_queue_s: Count | UnsetType = UNSET
    policy: dict[str, Any] | UnsetType | None = UNSET
    webhook_url: WebhookUrl | UnsetType | None = UNSET
    cache: CacheWanted | UnsetType = UNSET
    retention: RetentionWanted | UnsetType = UNSET


class KeyWanted(Wanted):
    """A new key."""

    name: Name = "key"
    scopes: Annotated[tuple[ScopeName, ...], Meta(min_length=1)] = ("generate", "read")
    expires_at: At | None = None
    rpm: Count | None = None
    concurrency: Count | None = None
    budgets: tuple[WindowBudgetWanted, ...] = ()


class KeyChange(Wanted):
    """What shall be different about a key."""

    rpm: Count | UnsetType | None = UNSET
    concurrency: Count | UnsetType | None = UNSET


class RotationWanted(Wanted):
    """How a key is rotated."""

    grace_s: Annotated[int, Meta(ge=0, le=_GRACE_MAX_S, description="How long the old text still works.")] = 0


class PolicyWanted(Wanted):
    """What a team's orders may ask for."""

    policy: Annotated[dict[str, Any] | None, Meta(description="Null allows everything.")]


class SettlementWanted(Wanted):
    """How an unknown submission is settled: by one of the two."""

    verdict: Literal["charged", "not_charged"] | None = None
    upstream_job_id: Annotated[Text, Meta(max_length=255)] | None = None


class AdjustmentWanted(Wanted):
    """A correction, for a job or for a team alone; positive takes more, negative gives back."""

    credits: Change
    reference: Reference
    job: Text | None = None
    team: Text | None = None
    note: Note | None = None


class RefundWanted(Wanted):
    """What comes back, of a job or to a team alone; of a job, all it cost unless `credits` says less."""

    reference: Reference
    credits: Amount | None = None
    job: Text | None = None
    team: Text | None = None
    note: Note | None = None


class TopupWanted(Wanted):
    """Credits that were put into the upstream account."""

    credits: Amount
    reference: Reference | None = None


class PauseWanted(Wanted):
    """What a pause is about: one of the three."""

    team: Text | None = None
    model: Text | None = None
    all: bool = False


class PriceWanted(Wanted):
    """What one picture costs."""

    credits: Amount
