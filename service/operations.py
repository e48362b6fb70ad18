"""Every operation of the front door as its callers should know it: the one list behind the OpenAPI document.

Describes what the handlers do; a test holds the list equal to the routes. Serves nothing.
"""

from typing import Final

from gateway import errors
from gateway.jobs.roster import Status
from service import (
    admin_operations,
    batch_shapes,
    open_operations,
    openai_operations,
    upload_operations,
    webhook_shapes,
    wire,
)
from service.admin_deeds import PAGE, choice
from service.described import Answer, Operation, Parameter

_JOB_ID: Final = Parameter("jobId", "path", "The job's id.", {"type": "string", "pattern": "^job_[0-9A-Za-z]+$"})
_BATCH_ID: Final = Parameter("batchId", "path", "The batch's id.", {"type": "string", "pattern": "^bat_[0-9A-Za-z]+$"})
_API_ID: Final = Parameter("apiId", "path", "The model's id.", {"type": "string", "examples": ["flux-2-max"]})

_IDEMPOTENCY_KEY: Final = Parameter(
    "Idempotency-Key",
    "header",
    "The same key and body give the same job for 24 hours; another body under it is a 422.",
    {"type": "string", "maxLength": 255},
    required=False,
)

_IF_NONE_MATCH: Final = Parameter(
    "If-None-Match", "header", "The tags of answers in hand.", {"type": "string"}, required=False
)
_PREFER: Final = Parameter(
    "Prefer",
    "header",
    "`wait=N`: answer when the job is done, or after N seconds, at most 120. Whoever hangs up cancels nothing.",
    {"type": "string", "examples": ["wait=60"]},
    required=False,
)
_CACHE_CONTROL: Final = Parameter(
    "Cache-Control",
    "header",
    "`no-cache`: made anew; `no-store`: not kept; `only-if-cached`: 504 unless it was made before; `max-age=N` and "
    "`min-fresh=N`: nothing older, and nothing that is about to end.",
    {"type": "string", "examples": ["no-cache"]},
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
            "options. The answer comes before the picture, unless `Prefer` asks to wait for it: read the job at its "
            "`statusUrl`, or listen to its events, until its `status` is `completed` or `failed`. An upper bound of "
            "the cost is held until the upstream has said the price. A request with a seed that was made before is "
            "answered at once, and one that is being made is waited for together: both cost nothing."
        ),
        parameters=(_API_ID, _IDEMPOTENCY_KEY, _PREFER, _CACHE_CONTROL),
        answers={
            200: Answer(
                "The job is done: it was made before, waited for, or is that of an earlier request with this "
                "`Idempotency-Key`.",
                wire.JobBody,
                headers=("Cache-Status", "Age", "Preference-Applied", "RateLimit-Policy", "RateLimit"),
            ),
            202: Answer(
                "The job is accepted and will be carried out.",
                wire.JobBody,
                headers=("Cache-Status", "Retry-After", "Preference-Applied", "RateLimit-Policy", "RateLimit"),
            ),
        },
        raises=(
            *_WITH_KEY,
            *_WITH_BODY,
            errors.ModelNotFound,
            errors.NotCached,
            errors.ArchiveUnavailable,
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
        description=(
            "Needs the scope `generate`. The body and `Cache-Control` are a run's; nothing is ordered, held or spent. "
            "Whether it would be answered from the cache is so at this moment, and no promise."
        ),
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
            "`Retry-After` says when to look again; each reading signs fresh links. A tag stands for what is said and "
            "for half of the links' life, so that after a 304 the links in hand are good for the other half."
        ),
        parameters=(_JOB_ID, _PREFER, _IF_NONE_MATCH),
        answers={
            200: Answer("The job.", wire.JobBody, headers=("Retry-After", "ETag", "Preference-Applied")),
            304: Answer("`If-None-Match` names what would be said.", media_types=(), headers=("Retry-After", "ETag")),
        },
        raises=(*_WITH_KEY, errors.JobNotFound),
        security="teamKey",
    ),
    Operation(
        id="listJobs",
        method="get",
        path="/api/v1/jobs",
        tag="Jobs",
        summary="List jobs, newest first",
        description="With the scope `read` the team's, with `generate` those of the key.",
        parameters=(
            choice("status", "Only these.", enum=[status.value for status in Status]),
            choice("model", "Only of this model."),
            choice("since", "Made at this moment or later.", format="date-time"),
            *PAGE,
        ),
        answers={200: Answer("A slice of them.", wire.JobList)},
        raises=(*_WITH_KEY, errors.InvalidParameter, errors.UnknownParameter),
        security="teamKey",
    ),
    Operation(
        id="watchJob",
        method="get",
        path="/api/v1/jobs/{jobId}/events",
        tag="Jobs",
        summary="Listen to a job",
        description=(
            "Server-sent events: `state` at each change, then `result`, each with the job as `getJob` shows it. An "
            "event's id is the job's version; a silent stream sends a comment every 15 s. With the scope `read` any "
            "job of the team, with `generate` those of the key. The stream ends with the job, with its key, and when "
            "the process ends; then come back with `Last-Event-ID`."
        ),
        parameters=(
            _JOB_ID,
            Parameter("Last-Event-ID", "header", "The last event that came.", {"type": "string"}, required=False),
        ),
        answers={
            200: Answer("The events.", media_types=("text/event-stream",)),
            204: Answer("`Last-Event-ID` is the last event: there will be no other.", media_types=()),
        },
        raises=(*_WITH_KEY, errors.JobNotFound, errors.RateLimited),
        security="teamKey",
    ),
    Operation(
        id="cancelJob",
        method="post",
        path="/api/v1/jobs/{jobId}/cancel",
        tag="Jobs",
        summary="Take a queued job back",
        description=(
            "Needs the scope `generate`. Free while the job is queued; the upstream itself has no cancel. "
            "A job that shares another's generation may be taken back until its end."
        ),
        parameters=(_JOB_ID,),
        answers={200: Answer("The job, cancelled; it cost nothing.", wire.JobBody)},
        raises=(*_WITH_KEY, errors.JobNotFound, errors.Conflict),
        security="teamKey",
    ),
    Operation(
        id="eraseJob",
        method="delete",
        path="/api/v1/jobs/{jobId}",
        tag="Jobs",
        summary="Erase a job's prompt and pictures",
        description=(
            "Needs the scope `manage`. What was asked for, the pictures and what tells of them are gone for good, and "
            "links to them end at once; ids, states and amounts stay. A job that waits is taken back first; one that "
            "was sent can be erased once it has ended. Pictures that another job shows too stay with that one."
        ),
        parameters=(_JOB_ID,),
        answers={200: Answer("The job, erased, now or before.", wire.JobBody)},
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
        id="createBatch",
        method="post",
        path="/api/v1/batches",
        tag="Batches",
        summary="Order many pictures at once",
        description=(
            "Needs the scope `generate`. All items are accepted, with all held that they may cost, or none; what is "
            "wrong is named by its place, such as `items[3].seed`. What was made before is complete at once. At most "
            "`concurrency` of its jobs are in flight at a time. When the last job has ended, `batch.finished` is sent "
            "once; the jobs tell only a `webhook_url` of their own. It counts as one new generation. The body is at "
            "most 4 MiB."
        ),
        parameters=(_IDEMPOTENCY_KEY,),
        answers={
            202: Answer("The batch.", batch_shapes.BatchBody, headers=("RateLimit-Policy", "RateLimit")),
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
            errors.NotCached,
        ),
        security="teamKey",
        body=batch_shapes.BatchWanted,
    ),
    Operation(
        id="listBatches",
        method="get",
        path="/api/v1/batches",
        tag="Batches",
        summary="List batches, newest first",
        description="With the scope `read` the team's, with `generate` those of the key.",
        parameters=PAGE,
        answers={200: Answer("A slice of them.", batch_shapes.BatchList)},
        raises=(*_WITH_KEY, errors.InvalidParameter, errors.UnknownParameter),
        security="teamKey",
    ),
    Operation(
        id="getBatch",
        method="get",
        path="/api/v1/batches/{batchId}",
        tag="Batches",
        summary="Read a batch and its jobs",
        description=(
            "With the scope `read` any of the team's, with `generate` those of the key. What is done is there, "
            "whatever the others do."
        ),
        parameters=(_BATCH_ID, *PAGE),
        answers={200: Answer("The batch, with a slice of its items.", batch_shapes.BatchPage)},
        raises=(*_WITH_KEY, errors.BatchNotFound, errors.InvalidParameter, errors.UnknownParameter),
        security="teamKey",
    ),
    Operation(
        id="cancelBatch",
        method="post",
        path="/api/v1/batches/{batchId}/cancel",
        tag="Batches",
        summary="Take back what waits of a batch",
        description=(
            "Needs the scope `generate`. Nothing more of it is sent; what was sent goes on to its end, and the batch "
            "finishes with it. The last jobs may be taken back a moment after the answer."
        ),
        parameters=(_BATCH_ID,),
        answers={200: Answer("The batch.", batch_shapes.BatchBody)},
        raises=(*_WITH_KEY, errors.BatchNotFound, errors.Conflict),
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
    *upload_operations.OPERATIONS,
    *open_operations.OPERATIONS,
    *openai_operations.OPERATIONS,
    *admin_operations.OPERATIONS,
)
