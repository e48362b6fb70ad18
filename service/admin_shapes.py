"""The shapes of what the admin surface answers, as the OpenAPI document shows them. Describes; builds nothing."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from service.cache_shapes import CacheChoices
from service.retention_shapes import RetentionChoices
from service.wire import At, Credits, Shape, Text

Signed = Annotated[float, Meta(description="Credits, at most 6 decimals.", examples=[-2])]
Cursor = Annotated[str | None, Meta(description="For the next page; null at the end.")]
Window = Literal["day", "month", "total"]


class BudgetBody(Shape):
    """A budget and where it stands now."""

    key_id: Annotated[str | None, Meta(description="Null for the team as a whole.")]
    window: Window
    period: Annotated[str, Meta(examples=["2026-11"])]
    limit: Credits
    soft: Credits | None
    spent: Signed
    held: Credits
    left: Credits
    over: Annotated[bool, Meta(description="More is spent and held than the limit.")]


class BudgetList(Shape):
    """The budgets of a team and of its keys."""

    budgets: list[BudgetBody]


class TeamBody(Shape):
    """A team."""

    id: Text
    name: Text
    created_at: At
    rpm: int
    concurrency: int | None
    queue_depth: int
    max_queue_s: int
    policy: dict[str, Any] | None
    webhook_url: Annotated[str | None, Meta(description="Where the ends of its jobs are told.")]
    cache: CacheChoices
    retention: RetentionChoices
    drained_at: At | None


class TeamPage(TeamBody):
    """A team, and how it stands."""

    living_keys: int
    unfinished_jobs: int
    budgets: list[BudgetBody]


class TeamList(Shape):
    """Teams by name."""

    teams: list[TeamBody]
    next_cursor: Cursor


class TeamDeleted(Shape):
    """What became of a team."""

    id: Text
    name: Annotated[Text, Meta(description="Free again.")]
    revoked_keys: int
    unfinished_jobs: Annotated[int, Meta(description="They go on to their end.")]


class KeyBody(Shape):
    """A key, without its secret."""

    id: Text
    team_id: Text
    name: str
    scopes: list[Literal["generate", "read", "manage", "admin"]]
    state: Literal["living", "expired", "revoked"]
    created_at: At
    expires_at: At | None
    revoked_at: At | None
    last_used_at: At | None
    rpm: int | None
    concurrency: int | None
    successor: Annotated[str | None, Meta(description="The key that took its place.")]
    lineage: Annotated[
        str, Meta(description="The first key of its chain of rotations, or its own id: budgets are named by it.")
    ]


class KeyMade(KeyBody):
    """A new key with its text, which is shown this once."""

    key: Annotated[str, Meta(pattern="^torii_")]


class KeyList(Shape):
    """Keys, oldest first."""

    keys: list[KeyBody]
    next_cursor: Cursor


class PolicyBody(Shape):
    """What a team's orders may ask for."""

    policy: dict[str, Any] | None


class JobLine(Shape):
    """A job in a list."""

    id: Text
    state: Text
    team: Annotated[Text, Meta(description="Its team's name.")]
    team_id: Text
    key_id: Text
    model: Text
    resolution: str
    created_at: At
    ended_at: At | None
    took_s: float | None
    credits: Credits
    error: str | None
    settles_at: Annotated[At | None, Meta(description="While its submission is unknown: when that counts as charged.")]


class JobErased(JobLine):
    """A job that was erased."""

    immediate: Annotated[
        bool, Meta(description="False: Redis could not be told, and a copy may be handed out for up to a minute more.")
    ]


class JobLines(Shape):
    """Jobs, newest first."""

    jobs: list[JobLine]
    next_cursor: Cursor


class AttemptBody(Shape):
    """One time that a paid POST may have been sent."""

    number: int
    outcome: Text
    reason: Annotated[str | None, Meta(description="Why it is in doubt, or was refused.")]
    evidence: Annotated[str | None, Meta(description="What ended the doubt.")]
    opened_at: At
    age_s: float
    answered_at: At | None
    looked_at: Annotated[At | None, Meta(description="When the upstream's list was last read for it.")]
    settles_at: Annotated[At | None, Meta(description="While in doubt: when it counts as charged.")]
    hold: Credits
    cost: Credits | None
    upstream_job_id: str | None


class JobPage(Shape):
    """A job as its caller sees it, and what only an operator does."""

    job_id: Text
    status: Text
    state: Text
    model: Text
    team: Text
    team_id: Text
    key_id: Text
    parameters: dict[str, Any]
    attempt: int
    version: int
    upstream_job_id: str | None
    polls: int
    created_at: At
    submitted_at: At | None
    accepted_at: At | None
    finished_upstream_at: Annotated[At | None, Meta(description="When the upstream was seen to be done.")]
    ended_at: At | None
    attempts: list[AttemptBody]
    seen_at: Annotated[At, Meta(description="When this was so.")]


class EntryBody(Shape):
    """An entry of the ledger; it is never changed."""

    id: Text
    kind: Literal["hold", "charge", "release", "refund", "adjust"]
    credits: Signed
    team: Text
    team_id: Text
    key_id: str | None
    job_id: str | None
    attempt: int | None
    model: str | None
    day: Annotated[str, Meta(description="The window that it counts in.")]
    reference: str | None
    note: str | None
    created_at: At


class EntryList(Shape):
    """Entries, newest first."""

    entries: list[EntryBody]
    next_cursor: Cursor


class Correction(Shape):
    """What an operator booked by hand."""

    kind: Literal["refund", "adjust"]
    credits: Signed
    team_id: Text
    job_id: str | None
    reference: Text


class UsageSums(Shape):
    """Sums of credits, jobs and pictures."""

    jobs: int
    pictures: int
    charged: Credits
    refunded: Credits
    adjusted: Signed
    spent: Annotated[Signed, Meta(description="Charged and adjusted, less refunded.")]
    held: Signed
    reused: Annotated[int | None, Meta(description="Answers that cost nothing; null for a key: they are its team's.")]
    saved: Annotated[Credits | None, Meta(description="What they would have cost.")]


class UsageLine(UsageSums):
    """The sums of one group; only the members that name its kind of group are there."""

    team: str | None = None
    team_id: str | None = None
    key_id: str | None = None
    key: str | None = None
    model: str | None = None
    day: str | None = None


class UsageReport(Shape):
    """Usage by group, and in all."""

    by: Literal["team", "model", "key", "day"]
    since: str | None
    until: str | None
    usage: list[UsageLine]
    total: UsageSums


class AuditRecord(Shape):
    """Who changed what."""

    id: Text
    created_at: At
    actor: Text
    action: Annotated[Text, Meta(examples=["key.create"])]
    team_id: str | None
    subject: Text
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class AuditList(Shape):
    """Records, newest first."""

    records: list[AuditRecord]
    next_cursor: Cursor


class UpstreamBody(Shape):
    """What is known of the upstream account."""

    balance: Annotated[Signed | None, Meta(description="As the last answer told it.")]
    seen_at: At | None
    expected: Annotated[Signed | None, Meta(description="What the ledger expects it to be.")]
    drift: Annotated[Signed, Meta(description="Below 0: somebody else spends from this account.")]
    paused_until: At | None
    pause_reason: str | None
    breaker_until: At | None
    breaker_failures: int
    requests_per_minute: Annotated[
        float | None, Meta(description="How fast it is asked now; none where that cannot be told.")
    ]
    requests_per_minute_allowed: Annotated[int, Meta(description="`TORII_UPSTREAM_RPM`.")]


class PauseBody(Shape):
    """A pause in force."""

    scope: Literal["all", "team", "model"]
    subject: Annotated[str | None, Meta(description="The team's or the model's id.")]
    since: At


class PauseList(Shape):
    """The pauses in force, the oldest first."""

    pauses: list[PauseBody]


class PauseAnswer(Shape):
    """What a pause or its end came to."""

    scope: Literal["all", "team", "model"]
    subject: str | None
    changed: Annotated[bool, Meta(description="False: it was so already.")]


class PriceLine(Shape):
    """What one picture costs at one resolution."""

    resolution: Text
    credits: Credits
    bound: Annotated[bool, Meta(description="An upper bound, since the price is not known.")]
    by_operator: bool
    blocked_at: Annotated[At | None, Meta(description="Nothing is sent until it is priced.")]


class PricedModel(Shape):
    """A model and its prices."""

    api_id: Text
    name: Text
    prices: list[PriceLine]


class PricedModels(Shape):
    """The catalogue with the prices now in force."""

    models: list[PricedModel]


class DriftLine(Shape):
    """One difference between our catalogue and the upstream's."""

    kind: Literal[
        "gone",
        "unlisted",
        "new",
        "price",
        "parameter_added",
        "parameter_removed",
        "required",
        "type",
        "enum",
        "default",
        "range",
    ]
    model: Text
    parameter: str | None
    ours: Annotated[Any, Meta(description="What our catalogue says, or the operator's price.")]
    theirs: Annotated[Any, Meta(description="What the upstream says.")]


class DriftReport(Shape):
    """What is different between our catalogue and the upstream's."""

    models: Annotated[int, Meta(description="How many models of ours were compared.")]
    differences: list[DriftLine]


class TeamExport(Shape):
    """All that is kept of a team, but for pictures and secrets."""

    exported_at: At
    team: TeamBody
    keys: list[KeyBody]
    budgets: list[BudgetBody]
    ledger: list[EntryBody]
    jobs: list[dict[str, Any]]
