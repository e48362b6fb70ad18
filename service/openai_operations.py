"""The operations of OpenAI's dialect, and the shapes of their bodies, as the OpenAPI document shows them. Describes.

Names are written as OpenAI writes them. ``openai_orders`` reads the body itself, since any parameter of a model's may
stand in it.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway import errors
from service.described import Answer, Operation, Parameter

_KEYED: Final = (errors.NotAuthenticated, errors.MissingScope, errors.StoreUnavailable)
_BODY: Final = (
    errors.MalformedBody,
    errors.MissingParameter,
    errors.UnknownParameter,
    errors.InvalidParameter,
    errors.BodyTooLarge,
    errors.BodyTooSlow,
    errors.UnsupportedMediaType,
)


class ImageOrder(msgspec.Struct, kw_only=True):
    """An order in OpenAI's words; the model's own parameters may stand beside them."""

    model: Annotated[str, Meta(examples=["flux-2-max"])]
    prompt: Annotated[str, Meta(min_length=1)]
    n: Annotated[int, Meta(ge=1, le=4, description="How many pictures; each one costs.")] | None = None
    size: (
        Annotated[
            str,
            Meta(
                description="`auto`, or `WIDTHxHEIGHT`: the nearest ratio, and no more pixels than that.",
                pattern="^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$",
            ),
        ]
        | None
    ) = None
    response_format: Annotated[Literal["url", "b64_json"] | None, Meta(description="Without it both are given.")] = None
    output_format: Annotated[str | None, Meta(examples=["png", "jpeg", "webp"])] = None


class ImageData(msgspec.Struct, kw_only=True):
    """One picture."""

    url: Annotated[str, Meta(description="A signed link; works without a header until it ends.")] | UnsetType = UNSET
    b64_json: Annotated[str, Meta(description="The file in base64.")] | UnsetType = UNSET


class ImageJob(msgspec.Struct, kw_only=True):
    """Of which job the pictures are."""

    job_id: str
    cached: bool


class ImagesBody(msgspec.Struct, kw_only=True):
    """The pictures."""

    created: Annotated[int, Meta(ge=0, description="Unix seconds.")]
    data: list[ImageData]
    torii: ImageJob
    output_format: str | UnsetType = UNSET
    size: str | UnsetType = UNSET


class OpenaiModel(msgspec.Struct, kw_only=True):
    """A model that can be ordered from."""

    id: Annotated[str, Meta(examples=["flux-2-max"])]
    object: Literal["model"]
    created: Annotated[int, Meta(description="0: nobody has told.")]
    owned_by: str


class OpenaiModelList(msgspec.Struct, kw_only=True):
    """The models."""

    object: Literal["list"]
    data: list[OpenaiModel]


OPERATIONS: Final = (
    Operation(
        id="createImage",
        method="post",
        path="/v1/images/generations",
        tag="OpenAI",
        summary="Order pictures and wait for them",
        description=(
            "Needs the scope `generate`. Waits for at most `TORII_WAIT_MAX_S`; after the 503 `still_running` the same "
            "request waits on for the same picture. The official clients repeat a request by themselves and say so in "
            "`X-Stainless-Retry-Count`: such a repeat is for the job of the request before it, and costs nothing."
        ),
        parameters=(
            Parameter(
                "Idempotency-Key",
                "header",
                "The same key and body give the same job for 24 hours; another body under it is a 422.",
                {"type": "string", "maxLength": 255},
                required=False,
            ),
            Parameter(
                "X-Stainless-Retry-Count",
                "header",
                "How often the client has sent this request before.",
                {"type": "string"},
                required=False,
            ),
        ),
        answers={200: Answer("The pictures.", ImagesBody, headers=("RateLimit-Policy", "RateLimit"))},
        raises=(
            *_KEYED,
            *_BODY,
            errors.ModelNotFound,
            errors.BudgetExhausted,
            errors.PriceBlocked,
            errors.TeamDrained,
            errors.RateLimited,
            errors.RequestInFlight,
            errors.KeyReused,
            errors.JobRejected,
            errors.JobFailed,
            errors.StillRunning,
            errors.UpstreamPaused,
            errors.Draining,
        ),
        security="teamKey",
        body=ImageOrder,
    ),
    Operation(
        id="openaiListModels",
        method="get",
        path="/v1/models",
        tag="OpenAI",
        summary="List the models in OpenAI's words",
        answers={200: Answer("The models.", OpenaiModelList)},
        raises=_KEYED,
        security="teamKey",
    ),
    Operation(
        id="openaiGetModel",
        method="get",
        path="/v1/models/{model}",
        tag="OpenAI",
        summary="Read a model in OpenAI's words",
        parameters=(Parameter("model", "path", "The model's id.", {"type": "string", "examples": ["flux-2-max"]}),),
        answers={200: Answer("The model.", OpenaiModel)},
        raises=(*_KEYED, errors.ModelNotFound),
        security="teamKey",
    ),
)
