"""Every operation of the front door as its callers should know it: the one list behind the OpenAPI document.

Describes what the handlers do; a test holds the list equal to the routes. Serves nothing.
"""

from typing import Final

from gateway import errors
from service import admin_operations, webhook_shapes, wire
from service.described import Answer, Operation, Parameter

_JOB_ID: Final = Parameter("jobId", "path", "The job's id.", {"type": "string", "pattern": "^job_[0-9A-Za-z]+$"})
_API_ID: Final = Parameter("apiId", "path", "The model's id.", {"type": "string", "examples": ["flux-2-max"]})

_IDEMPOTENCY_KEY: Final = Parameter(
    "Idempotency-Key",
    "header",
    "The same key and body give the same job for 24 hours; another body under it is a 422.",
    {"type": "string", "maxLength": 255},
    required=False,
)

_WITH_KEY: Final = (errors.NotAuthenticated, errors.MissingScope, errors.StoreUnavailable)
_WITH_BODY: Final = (
    errors.MalformedBody,
    errors.MissingParameter,
    errors.UnknownParameter,
    errors.InvalidParameter,
    errors.BodyTooLarge,
    errors.BodyTooSlow,
    errors.UnsupportedMediaType,
)

OPERATIONS: Final = (
    Operation(
        id="runModel",
        method="post",
        path="/api/v1/models/{apiId}/run",
        tag="Jobs",
        summary="Order pictures",
        description=(
            "Needs the scope `generate`. The body is flat: the model's parameters, and `torii` for the gateway's own "
            "options. The answer comes before the picture: read the job at its `statusUrl` until its `status` is "
            "`completed` or `failed`. An upper bound of the cost is held until the upstream has said the price."
        ),
        parameters=(_API_ID, _IDEMPOTENCY_KEY),
        answers={
            200: Answer("The job of an earlier request with this `Idempotency-Key` has ended.", wire.JobBody),
            202: Answer(
                "The job is accepted and will be carried out.",
                wire.JobBody,
                headers=("Retry-After", "RateLimit-Policy", "RateLimit"),
            ),
        },
        raises=(
            *_WITH_KEY,
            *_WITH_BODY,
            errors.ModelNotFound,
            errors.BudgetExhausted,
            errors.PriceBlocked,
            errors.TeamDrained,
            errors.RateLimited,
            errors.RequestInFlight,
            errors.KeyReused,
        ),
        security="teamKey",
        runs_model=True,
    ),
    Operation(
        id="quoteModel",
        method="post",
        path="/api/v1/models/{apiId}/quote",
        tag="Models",
        summary="Ask what an order would cost",
        description="Needs the scope `generate`. The body is a run's; nothing is ordered, held or spent.",
        parameters=(_API_ID,),
        answers={200: Answer("The quote.", wire.QuoteBody)},
        raises=(*_WITH_KEY, *_WITH_BODY, errors.ModelNotFound, errors.PriceBlocked),
        security="teamKey",
        runs_model=True,
    ),
    Operation(
        id="getAccount",
        method="get",
        path="/api/v1/account",
        tag="Account",
        summary="Read the caller's own means",
        description="With any scope: the team, the key, its budgets and what is left of them.",
        answers={200: Answer("The account.", wire.AccountBody)},
        raises=_WITH_KEY,
        security="teamKey",
    ),
    Operation(
        id="getJob",
        method="get",
        path="/api/v1/jobs/{jobId}",
        tag="Jobs",
        summary="Read a job",
        description=(
            "In any state. With the scope `read` any job of the team, with `generate` those of the key. "
            "`Retry-After` says when to look again; each reading signs fresh links."
        ),
        parameters=(_JOB_ID,),
        answers={200: Answer("The job.", wire.JobBody, headers=("Retry-After",))},
        raises=(*_WITH_KEY, errors.JobNotFound),
        security="teamKey",
    ),
    Operation(
        id="cancelJob",
        method="post",
        path="/api/v1/jobs/{jobId}/cancel",
        tag="Jobs",
        summary="Take a queued job back",
        description="Needs the scope `generate`. Free while the job is queued; the upstream itself has no cancel.",
        parameters=(_JOB_ID,),
        answers={200: Answer("The job, cancelled; it cost nothing.", wire.JobBody)},
        raises=(*_WITH_KEY, errors.JobNotFound, errors.Conflict),
        security="teamKey",
    ),
    Operation(
        id="replayWebhook",
        method="post",
        path="/api/v1/jobs/{jobId}/webhook/replay",
        tag="Jobs",
        summary="Send a job's webhook once more",
        description=(
            "Needs the scope `generate` for the key's own jobs, `manage` for any of the team's. The message keeps its "
            "`webhook-id`; it is sent for the first time if there was no URL when the job ended and there is one now."
        ),
        parameters=(_JOB_ID,),
        answers={202: Answer("The delivery; it is sent soon.", webhook_shapes.DeliveryBody)},
        raises=(*_WITH_KEY, errors.JobNotFound, errors.Conflict),
        security="teamKey",
    ),
    Operation(
        id="listModels",
        method="get",
        path="/api/v1/models",
        tag="Models",
        summary="List the models",
        parameters=(
            Parameter("detailed", "query", "With parameters, schema and prices.", {"type": "boolean"}, required=False),
            Parameter(
                "modality", "query", "Only these.", {"type": "string", "enum": ["image", "video"]}, required=False
            ),
        ),
        answers={200: Answer("The models.", wire.ModelList)},
        raises=(errors.InvalidParameter,),
    ),
    Operation(
        id="getModel",
        method="get",
        path="/api/v1/models/{apiId}",
        tag="Models",
        summary="Read a model",
        parameters=(_API_ID,),
        answers={200: Answer("The model in full.", wire.ModelCard)},
        raises=(errors.ModelNotFound,),
    ),
    Operation(
        id="getModelSchema",
        method="get",
        path="/api/v1/models/{apiId}/schema",
        tag="Models",
        summary="Read the JSON Schema of a model's run body",
        parameters=(_API_ID,),
        answers={200: Answer("The schema.", wire.ModelSchema)},
        raises=(errors.ModelNotFound,),
    ),
    Operation(
        id="getImage",
        method="get",
        path="/images/{imageId}.{ext}",
        tag="Pictures",
        summary="Fetch a picture by its signed link",
        description="Links are handed out with jobs and need no header. A picture never changes.",
        parameters=(
            Parameter("imageId", "path", "The picture's id.", {"type": "string"}),
            Parameter("ext", "path", "Its extension.", {"type": "string"}),
            Parameter("exp", "query", "When the link ends, in Unix seconds.", {"type": "string"}),
            Parameter("sig", "query", "The link's signature.", {"type": "string"}),
        ),
        answers={
            200: Answer(
                "The picture.", media_types=("image/png", "image/jpeg", "image/webp"), headers=("ETag", "Cache-Control")
            ),
            304: Answer("`If-None-Match` names this picture.", media_types=(), headers=("ETag", "Cache-Control")),
        },
        raises=(errors.BadLink, errors.ImageNotFound, errors.StoreUnavailable, errors.ArchiveUnavailable),
    ),
    Operation(
        id="upstreamHook",
        method="post",
        path="/hooks/upstream/{token}",
        tag="Operations",
        summary="Take a call of the upstream's",
        description=(
            "For the upstream alone, which was given the address with a job (`TORII_UPSTREAM_WEBHOOKS`). The call is a "
            "hint: the job is read before anything is believed. The answer is the same whatever became of the job."
        ),
        parameters=(Parameter("token", "path", "What the address ends in.", {"type": "string", "writeOnly": True}),),
        answers={204: Answer("Heard.", media_types=())},
        raises=(
            errors.NotFound,
            errors.MalformedBody,
            errors.BodyTooLarge,
            errors.BodyTooSlow,
            errors.StoreUnavailable,
        ),
    ),
    Operation(
        id="live",
        method="get",
        path="/health/live",
        tag="Operations",
        summary="Whether the process answers",
        answers={200: Answer("It does.", wire.Liveness)},
    ),
    Operation(
        id="ready",
        method="get",
        path="/health/ready",
        tag="Operations",
        summary="Whether the process takes requests",
        answers={
            200: Answer("It does.", wire.Readiness),
            503: Answer("It is about to end, or the schema is wrong.", wire.Readiness),
        },
    ),
    Operation(
        id="paid",
        method="get",
        path="/health/paid",
        tag="Operations",
        summary="Whether a paid job can be accepted now",
        answers={
            200: Answer("It can; a `degraded` part makes it wait.", wire.Paid),
            503: Answer("It cannot.", wire.Paid),
        },
        raises=(errors.NotAuthenticated, errors.NotAllowed),
        security="metricsToken",
    ),
    Operation(
        id="metrics",
        method="get",
        path="/metrics",
        tag="Operations",
        summary="This process's metrics",
        answers={200: Answer("Prometheus' text format.", media_types=("text/plain",))},
        raises=(errors.NotAuthenticated, errors.NotAllowed),
        security="metricsToken",
    ),
    Operation(
        id="books",
        method="get",
        path="/metrics/books",
        tag="Operations",
        summary="The metrics of the books",
        description="The same from whichever process answers: one logical target, scraped once.",
        answers={200: Answer("Prometheus' text format.", media_types=("text/plain",))},
        raises=(errors.NotAuthenticated, errors.NotAllowed, errors.StoreUnavailable),
        security="metricsToken",
    ),
    Operation(
        id="welcome",
        method="get",
        path="/",
        tag="Reading",
        summary="What is behind this address",
        answers={200: Answer("Its name and where to read on.", wire.Welcome)},
    ),
    Operation(
        id="documentation",
        method="get",
        path="/schema",
        tag="Reading",
        summary="This document as a page",
        answers={200: Answer("The page.", media_types=("text/html",))},
    ),
    Operation(
        id="openapi",
        method="get",
        path="/schema/openapi.json",
        tag="Reading",
        summary="This document",
        answers={200: Answer("OpenAPI 3.1.")},
    ),
    *admin_operations.OPERATIONS,
)
