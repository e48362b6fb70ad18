"""The shapes of batches, as the OpenAPI document shows them. Describes; ``gateway.jobs.batches`` builds them."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType, field

from gateway.jobs import batch_body, orders
from service.admin_bodies import WebhookUrl
from service.wire import At, Credits, JobBody, JobExtras, Shape, Text

_Priority = Annotated[int, Meta(ge=-orders.MAX_PRIORITY, le=orders.MAX_PRIORITY)]
_Seconds = Annotated[int, Meta(ge=1, le=orders.MAX_START_WITHIN_S)]


class BatchOptions(Shape):
    """The gateway's own options of a batch."""

    metadata: Annotated[dict[str, Any] | UnsetType, Meta(description="Given back with the batch.")] = UNSET
    priority: Annotated[_Priority | UnsetType, Meta(description="For items that name none.")] = UNSET
    start_within_s: Annotated[
        _Seconds | UnsetType, Meta(description="For items that name none; a day if nobody says.")
    ] = UNSET


class BatchWanted(Shape):
    """Many orders."""

    items: Annotated[
        list[dict[str, Any]],
        Meta(
            min_length=1,
            max_length=batch_body.MOST_ITEMS,
            description="Each is a run's body, and may name a `model` of its own.",
            examples=[[{"prompt": "a torii gate in rain"}, {"prompt": "a torii gate in snow"}]],
        ),
    ]
    model: Annotated[Text | UnsetType, Meta(description="Of the items that name none.", examples=["flux-2-max"])] = (
        UNSET
    )
    concurrency: Annotated[
        int, Meta(ge=1, le=batch_body.MOST_AT_ONCE, description="Jobs of the batch in flight at once.")
    ] = batch_body.CONCURRENCY
    webhook_url: Annotated[
        WebhookUrl | UnsetType | None,
        Meta(description="Where `batch.finished` goes; else to the team's own URL."),
    ] = field(default=UNSET, name="webhook_url")
    torii: BatchOptions | UnsetType = UNSET


class BatchCounts(Shape):
    """How many of its jobs stand how."""

    pending: int
    processing: int
    completed: int
    failed: Annotated[int, Meta(description="Those that were taken back among them.")]
    cancelled: int


class BatchBody(Shape):
    """A batch, without its items."""

    batch_id: Annotated[Text, Meta(examples=["bat_4fZk0Qm1Yx8Tb2Vn6Rc3Wd"])]
    status: Annotated[
        Literal["running", "cancelling", "finished"],
        Meta(description="`cancelling`: what was sent before it was taken back goes on to its end."),
    ]
    status_url: str
    created_at: At
    concurrency: int
    total: int
    counts: BatchCounts
    credit_cost: Annotated[
        Credits, Meta(description="What its jobs cost: upper bounds until the upstream has said it.")
    ]
    credits_remaining: float
    cancelled_at: At | UnsetType = UNSET
    finished_at: At | UnsetType = UNSET
    torii: JobExtras | UnsetType = UNSET


class BatchItem(Shape):
    """One of its jobs."""

    index: Annotated[int, Meta(ge=0, description="Its place among the items.")]
    job: JobBody


class BatchPage(BatchBody, kw_only=True):
    """A batch, with a slice of its items in their order."""

    items: list[BatchItem]
    next_cursor: Annotated[str | None, Meta(description="Give it as `cursor` for the next slice; null at the end.")]


class BatchList(Shape):
    """A slice of the batches, newest first."""

    batches: list[BatchBody]
    next_cursor: Annotated[str | None, Meta(description="Give it as `cursor` for the next slice; null at the end.")]
