"""The operations of uploads as their callers should know them. Describes; serves nothing."""

from typing import Final

from gateway import errors
from service import upload_shapes
from service.admin_deeds import PAGE
from service.described import Answer, Operation, Parameter

_UPLOAD_ID: Final = Parameter(
    "uploadId", "path", "The upload's id.", {"type": "string", "pattern": "^upload_[0-9A-Za-z]+$"}
)
_IDEMPOTENCY_KEY: Final = Parameter(
    "Idempotency-Key",
    "header",
    "The same key and body give the same upload for 24 hours; another body under it is a 422.",
    {"type": "string", "maxLength": 255},
    required=False,
)
_WITH_KEY: Final = (errors.NotAuthenticated, errors.MissingScope, errors.StoreUnavailable)

OPERATIONS: Final = (
    Operation(
        id="createUpload",
        method="post",
        path="/api/v1/uploads",
        tag="Uploads",
        summary="Bring a picture to start from",
        description=(
            "Needs the scope `generate`. A PNG, JPEG or WebP of at most 20 MiB: the field `file` of a form, the body "
            "itself, or JSON with a `url` that Torii fetches within 10 s. Its id stands in an order whose model takes "
            "reference images (`referenceImages` of a model in full). It is kept until `expiresAt`, and as long as an "
            "unfinished job starts from it."
        ),
        parameters=(_IDEMPOTENCY_KEY,),
        answers={
            201: Answer(
                "The upload.",
                upload_shapes.UploadBody,
                headers=("Location", "Idempotent-Replayed", "RateLimit-Policy", "RateLimit"),
            )
        },
        raises=(
            *_WITH_KEY,
            errors.MalformedBody,
            errors.MissingParameter,
            errors.UnknownParameter,
            errors.InvalidParameter,
            errors.BodyTooLarge,
            errors.BodyTooSlow,
            errors.UnsupportedMediaType,
            errors.UploadsFull,
            errors.RateLimited,
            errors.RequestInFlight,
            errors.KeyReused,
            errors.ArchiveUnavailable,
            errors.Unavailable,
        ),
        security="teamKey",
        body=upload_shapes.UploadFromUrl,
        files=upload_shapes.FILES,
    ),
    Operation(
        id="listUploads",
        method="get",
        path="/api/v1/uploads",
        tag="Uploads",
        summary="List uploads, newest first",
        description="With the scope `read` the team's, with `generate` those of the key.",
        parameters=PAGE,
        answers={200: Answer("A slice of them.", upload_shapes.UploadList)},
        raises=(*_WITH_KEY, errors.InvalidParameter, errors.UnknownParameter),
        security="teamKey",
    ),
    Operation(
        id="getUpload",
        method="get",
        path="/api/v1/uploads/{uploadId}",
        tag="Uploads",
        summary="Read an upload",
        description="With the scope `read` any of the team's, with `generate` those of the key; with a fresh link.",
        parameters=(_UPLOAD_ID,),
        answers={200: Answer("The upload.", upload_shapes.UploadBody)},
        raises=(*_WITH_KEY, errors.UploadNotFound),
        security="teamKey",
    ),
    Operation(
        id="deleteUpload",
        method="delete",
        path="/api/v1/uploads/{uploadId}",
        tag="Uploads",
        summary="Delete an upload",
        description=(
            "With the scope `manage` any of the team's, with `generate` those of the key. It is a 409 that names jobs "
            "while unfinished ones start from it. Pictures that were made from it stay."
        ),
        parameters=(_UPLOAD_ID,),
        answers={204: Answer("It is gone, and its links with it.", media_types=())},
        raises=(*_WITH_KEY, errors.UploadNotFound, errors.Conflict),
        security="teamKey",
    ),
    Operation(
        id="getUploadFile",
        method="get",
        path="/uploads/{uploadId}.{ext}",
        tag="Uploads",
        summary="Fetch an upload by its signed link",
        description="Links are handed out with uploads and need no header.",
        parameters=(
            Parameter("uploadId", "path", "The upload's id.", {"type": "string"}),
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
        raises=(errors.BadLink, errors.UploadNotFound, errors.StoreUnavailable, errors.ArchiveUnavailable),
    ),
)
