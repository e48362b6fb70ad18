"""The operations that ask for no team's key: pictures, the upstream's calls, health, metrics, and reading about it all.

Describes; serves nothing.
"""

from typing import Final

from gateway import errors
from service import wire
from service.described import Answer, Operation, Parameter

OPERATIONS: Final = (
    Operation(
        id="getImage",
        method="get",
        path="/images/{imageId}.{ext}",
        tag="Pictures",
        summary="Fetch a picture by its signed link",
        description=(
            "Links are handed out with jobs and need no header. A picture never changes. Follow redirects, without a "
            "header that shows a key."
        ),
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
            307: Answer(
                "The picture is at the object store's own address, which ends with the link or sooner "
                "(`TORII_IMAGE_DELIVERY=redirect`).",
                media_types=(),
                headers=("Location", "Cache-Control"),
            ),
            304: Answer("`If-None-Match` names this picture.", media_types=(), headers=("ETag", "Cache-Control")),
        },
        raises=(
            errors.BadLink,
            errors.ImageNotFound,
            errors.ImageGone,
            errors.StoreUnavailable,
            errors.ArchiveUnavailable,
        ),
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
)
