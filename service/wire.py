"""The shapes of answers, as the OpenAPI document shows them. Describes; builds only what the doors themselves say.

A job's body is built by ``gateway.jobs.view`` and a model's by ``gateway.images.schema``; tests hold them to these
shapes. Fields may be added to a shape, none is ever removed or retyped. Credits are plain JSON numbers.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")

_JOB_ID: Final = "job_4fZk0Qm1Yx8Tb2Vn6Rc3Wd"
_URL: Final = "https://torii.example/images/img_9sLw3Hd7Kq2Pz5Xc8Vb1Nm.png?exp=1764000000&sig=3q2-7w"
_AT: Final = "2026-11-23T12:00:00Z"

Text = Annotated[str, Meta(min_length=1)]
Credits = Annotated[float, Meta(ge=0, description="Credits, at most 6 decimals.", examples=[2])]
At = Annotated[
    str, Meta(description="RFC 3339, UTC.", pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$", examples=[_AT])
]


def encode(value: object) -> bytes:
    """JSON; decimals are plain numbers without an exponent."""
    return _ENCODER.encode(value)


class Shape(Struct, rename="camel", kw_only=True):
    """An object of an answer: its names are written in camel case."""


class Asset(Shape):
    """One archived picture."""

    url: Annotated[str, Meta(description="A signed link; works without a header until it ends.", examples=[_URL])]
    content_type: Annotated[str, Meta(examples=["image/png"])]
    width: Annotated[int, Meta(ge=1, description="Pixels.", examples=[1024])]
    height: Annotated[int, Meta(ge=1, description="Pixels.", examples=[1024])]
    bytes: Annotated[int, Meta(ge=1, examples=[1482133])]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="Of the file, in hexadecimal.")]
    seed: Annotated[int | None, Meta(description="The seed, where it is known.", examples=[7])]


class Output(Shape):
    """What a completed job gave, as PixelDojo shows it."""

    images: Annotated[list[str], Meta(description="Links that work without a header.", examples=[[_URL]])]


class JobError(Shape):
    """Why a job ended without pictures."""

    code: Annotated[Text, Meta(description="Stable; see docs/errors.md.", examples=["upstream_failed"])]
    message: str
    retry_safe: Annotated[bool, Meta(description="Nothing was charged: ordering again does not pay twice.")]
    provisional: Annotated[bool | UnsetType, Meta(description="It may yet turn out to be completed.")] = UNSET
    settles_at: Annotated[At | UnsetType, Meta(description="When a provisional failure becomes final.")] = UNSET


class JobExtras(Shape):
    """What the caller said about the job in ``torii``."""

    metadata: dict[str, Any]


class JobBody(Shape):
    """A job: PixelDojo's fields, and ours beside them."""

    job_id: Annotated[Text, Meta(examples=[_JOB_ID])]
    status: Literal["pending", "processing", "completed", "failed"]
    status_url: Annotated[
        str, Meta(description="Where to read it.", examples=[f"https://torii.example/api/v1/jobs/{_JOB_ID}"])
    ]
    credit_cost: Annotated[
        Credits, Meta(description="What the job costs: an upper bound until the upstream has said it.")
    ]
    credits_remaining: Annotated[
        float,
        Meta(description="Left of the tightest budget; without any, the upstream's balance.", examples=[95]),
    ]
    expires_at: Annotated[At, Meta(description="When the links of this answer end; read the job again for fresh ones.")]
    state: Annotated[
        Literal[
            "queued",
            "submitting",
            "submission_unknown",
            "running",
            "archiving",
            "completed",
            "failed",
            "cancelled",
        ],
        Meta(description="The full story behind `status`."),
    ]
    model: Annotated[Text, Meta(examples=["flux-2-max"])]
    created_at: At
    cached: Annotated[bool, Meta(description="Answered from what was made before.")]
    torii: JobExtras | UnsetType = UNSET
    output: Output | UnsetType = UNSET
    assets: list[Asset] | UnsetType = UNSET
    partial: Annotated[bool | UnsetType, Meta(description="Fewer pictures than asked for.")] = UNSET
    completed_at: At | UnsetType = UNSET
    erased_at: Annotated[At | UnsetType, Meta(description="Since then its pictures are not kept any more.")] = UNSET
    error: JobError | UnsetType = UNSET


class JobList(Shape):
    """A slice of the jobs, newest first."""

    jobs: list[JobBody]
    next_cursor: Annotated[str | None, Meta(description="Give it as `cursor` for the next slice; null at the end.")]


class AccountTeam(Shape):
    """The caller's team."""

    id: Text
    name: Text


class AccountKey(Shape):
    """The caller's key, without its secret."""

    id: Text
    name: str
    scopes: list[Literal["generate", "read", "manage", "admin"]]
    expires_at: At | None


class BudgetStanding(Shape):
    """A budget and where it stands."""

    of: Literal["team", "key"]
    window: Literal["day", "month", "total"]
    period: Annotated[str, Meta(description="The day or month it stands in, in UTC.", examples=["2026-11"])]
    limit: Credits
    soft: Annotated[Credits | None, Meta(description="Passing it warns the operators, and refuses nothing.")]
    spent: Credits
    held: Annotated[Credits, Meta(description="Set aside for jobs whose cost is not known yet.")]
    left: Credits


class AccountBody(Shape):
    """Who the caller is, and what it may still spend."""

    team: AccountTeam
    key: AccountKey
    budgets: list[BudgetStanding]
    credits_remaining: Annotated[Credits, Meta(description="Of the tightest budget, else the upstream's.")]


class QuoteBody(Shape):
    """What an order would cost."""

    model: Text
    credit_cost: Annotated[Credits, Meta(description="What would be held; the cost itself where it is firm.")]
    firm: bool
    cached: Annotated[bool, Meta(description="It would be answered from the cache, and cost nothing.")]
    collapsed: Annotated[bool, Meta(description="It would share a generation under way, and cost nothing.")]
    expected_wait_s: Annotated[float, Meta(ge=0, description="Seconds until the picture, as things are now.")]
    credits_remaining: Credits
    affordable: Annotated[bool, Meta(description="Every budget covers it.")]


class Price(Shape):
    """What one picture costs at one resolution."""

    amount: Credits
    bound: Annotated[bool, Meta(description="An upper bound, since the price is not known.")]


class CreditCost(Shape):
    """What one picture of a model costs with nothing but a prompt given."""

    default: Credits
    type: Literal["fixed", "resolution"]
    amount: Credits
    resolutions: Annotated[dict[str, Price] | UnsetType, Meta(description="By resolution; with `detailed`.")] = UNSET


class ModelParameter(Shape):
    """One parameter of a model."""

    name: Text
    required: bool
    type: Literal["string", "enum", "integer", "number", "boolean", "array"]
    description: str


class ModelCard(Shape):
    """A model that can be ordered from."""

    api_id: Annotated[Text, Meta(examples=["flux-2-max"])]
    name: Annotated[Text, Meta(examples=["Flux 2 Max"])]
    description: str
    modality: Literal["image"]
    credit_cost: CreditCost
    capabilities: Annotated[list[str], Meta(examples=[["text-to-image"]])]
    parameters: Annotated[list[ModelParameter] | UnsetType, Meta(description="With `detailed`.")] = UNSET
    request_schema: Annotated[dict[str, Any] | UnsetType, Meta(description="A JSON Schema; with `detailed`.")] = UNSET


class ModelList(Shape):
    """The models; the counts are of the models shown."""

    models: list[ModelCard]
    total: Annotated[int, Meta(ge=0)]
    image_count: Annotated[int, Meta(ge=0)]
    video_count: Annotated[int, Meta(ge=0)]


class ModelSchema(Shape):
    """The JSON Schema of a model's run body."""

    api_id: Annotated[Text, Meta(examples=["flux-2-max"])]
    schema: dict[str, Any]


class ErrorMember(Shape):
    """The error, as PixelDojo's and OpenAI's clients read it."""

    code: Annotated[Text, Meta(description="Stable; see docs/errors.md.", examples=["invalid_parameter"])]
    message: Annotated[str, Meta(examples=["num_outputs must be an integer from 1 to 4, not 9"])]
    type: Annotated[Text, Meta(description="OpenAI's word for its kind.", examples=["invalid_request_error"])]
    param: Annotated[str | None, Meta(description="The field that is wrong, if it is one.", examples=["num_outputs"])]


class Problem(Shape):
    """The body of every error (RFC 9457)."""

    type: Annotated[Text, Meta(examples=["urn:torii:error:invalid_parameter"])]
    title: Annotated[Text, Meta(examples=["A parameter's value is not allowed."])]
    status: Annotated[int, Meta(ge=400, le=599, examples=[400])]
    detail: str
    instance: Annotated[Text, Meta(description="Names the request; its id finds it in the logs.")]
    error: ErrorMember


class Liveness(Shape):
    """The process answers."""

    status: Literal["live"]


class Readiness(Shape):
    """Whether this process takes requests."""

    status: Literal["ready", "draining", "wrong_schema"]


class Part(Shape):
    """One part that a paid job needs."""

    ok: bool
    detail: Annotated[str, Meta(examples=["reachable"])]


class Paid(Shape):
    """Whether a paid job can be accepted now, and whether it would be carried out."""

    status: Annotated[
        Literal["ok", "degraded", "unavailable"],
        Meta(description="`degraded`: accepted, and waits for a part; `unavailable`: not accepted."),
    ]
    accepting: bool
    parts: dict[str, Part]


class Welcome(Shape):
    """What is behind this address."""

    name: Literal["torii"]
    version: str
    documentation: Annotated[str, Meta(examples=["/schema"])]
