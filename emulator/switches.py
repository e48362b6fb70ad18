"""Every switch of the emulator: its name, type and default. What a switch does is done elsewhere; see README.md."""

import decimal
from typing import Literal

import msgspec

from emulator import catalogue


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which requests something applies to: those that match, after `after` of them, for `times` (`null`: always)."""

    times: int | None = None
    after: int = 0
    model: str | None = None
    prompt_contains: str | None = None
    job_id: str | None = None


FaultKind = Literal[
    "status",
    "cut_before",
    "cut_after",
    "cut_midway",
    "hang",
    "hang_midway",
    "slow",
    "non_json",
    "garbage_202",
    "redirect",
]


class Fault(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong with a request. `accepted` says whether it is carried out first; `null` asks the kind."""

    kind: FaultKind
    accepted: bool | None = None
    status: int = 500
    body: Literal["json", "html", "empty"] = "json"
    code: str | None = None
    message: str | None = None
    retry_after_s: int | None = None
    retry_after_date: bool = False
    rate_limit_limit: int | None = None
    rate_limit_remaining: int | None = None
    rate_limit_reset_s: int | None = None
    headers: dict[str, str] = {}
    delay_s: float = 5.0
    hang_s: float = 600.0
    cut_bytes: int | None = None
    reset: bool = False
    location: str = "http://127.0.0.1:9/elsewhere"


OutcomeKind = Literal[
    "completed",
    "failed",
    "completed_without_images",
    "fewer_images",
    "unknown_status",
    "lost",
    "wrong_type",
    "not_a_picture",
    "truncated",
    "oversized",
    "missing_file",
]


class Outcome(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a job ends; decided when it is submitted."""

    kind: OutcomeKind
    error: Literal["object", "string", "message"] = "object"
    code: str = "generation_failed"
    message: str = "The model could not generate this image"
    status: str = "reviewing"
    for_s: float | None = None
    images: int | None = None
    served: Literal["png", "jpg", "webp"] | None = None
    oversized_bytes: int = 64 << 20


class Spread(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A range in seconds, `min` to `max`."""

    min: float
    max: float


FaultLine = Fault | list[Fault] | FaultKind | None
OutcomeLine = Outcome | list[Outcome] | OutcomeKind | None


class Switches(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The switches that are plain values. The lines of faults and outcomes are kept by `board`."""

    time_scale: float = 1.0
    duration_s: float | Spread = Spread(40.0, 45.0)
    result_ttl_s: float = 3600.0
    processing: bool = True
    prices: catalogue.Prices = {}
    models: catalogue.Changes = {}
    refund_on_failure: bool = False
    refund_shown: Literal["none", "credit_cost", "refunded"] = "none"
    out_of_credits_status: Literal[402, 403] = 402
    omit_credit_cost: bool = False
    omit_credits_remaining: bool = False
    expires_at: str = "auto"
    submit_status: Literal[200, 202] = 202
    key_refused: bool = False
    rate_limit_rpm: int | None = None
    rate_limit_window_s: float = 60.0
    rate_limit_retry_after: bool = True
    error_envelope: Literal["object", "string", "message"] = "object"
    image_shape: Literal["strings", "objects"] = "strings"
    output_key: Literal["images", "image", "none"] = "images"
    assets: bool = False
    image_host: str | None = None
    status_url_host: str | None = None
    download_redirect: str | None = None
    picture_bytes: int | None = None
    job_list: bool = True
    job_list_prompts: bool = True
    job_list_page: int = 50
    job_list_lag_s: float = 0.0
    job_list_shape: Literal["jobs", "array", "data", "pages", "garbage"] = "jobs"
    job_list_hides: list[Literal["model", "createdAt", "creditCost"]] = []
    fetch_references: bool = True
    webhooks: Literal["once", "twice", "never", "off"] = "once"
    webhook_delay_s: float = 0.0
    webhook_early: bool = False


def amount(value: decimal.Decimal) -> decimal.Decimal:
    """Check an amount of credits given to a switch; `ValueError` names what is wrong."""
    if not value.is_finite() or value < 0:
        raise ValueError("must be 0 credits or more")
    return value
