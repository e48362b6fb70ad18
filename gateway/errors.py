"""Every error the house raises, as one family. Knows codes and fields, never HTTP statuses: those belong to the doors.

::

    ToriiError
    ├── InvalidRequest            the caller's body, query or header is wrong; ``param`` names the field
    │   ├── MalformedBody
    │   ├── MissingParameter
    │   ├── UnknownParameter
    │   └── InvalidParameter
    ├── BodyTooLarge
    ├── BodyTooSlow
    ├── UnsupportedMediaType
    ├── NotAuthenticated          no key, or one that the store does not know
    ├── NotAllowed                the key is good, its scopes or the link are not
    │   ├── MissingScope
    │   ├── ModelNotAllowed
    │   ├── PolicyRefused
    │   ├── PriceBlocked
    │   ├── TeamDrained
    │   ├── UploadsFull
    │   └── BadLink
    ├── NotFound
    │   ├── ModelNotFound
    │   ├── JobNotFound
    │   ├── BatchNotFound
    │   ├── UploadNotFound
    │   ├── ImageNotFound
    │   │   └── ImageGone         its job was erased
    │   ├── TeamNotFound
    │   ├── DeliveryNotFound
    │   └── KeyNotFound
    ├── MethodNotAllowed
    ├── Conflict                  the thing exists, or its state forbids the deed
    │   └── RequestInFlight
    ├── KeyReused
    ├── BudgetExhausted
    ├── RateLimited
    ├── Unavailable               a part we need did not answer; waiting helps
    │   ├── StoreUnavailable
    │   ├── ArchiveUnavailable
    │   ├── StillRunning
    │   ├── UpstreamPaused
    │   └── Draining
    ├── JobFailed                 what a request waited for came to nothing
    │   └── JobRejected
    ├── InternalError             a bug of ours; says nothing of the inside
    └── SettingError              the operator's: a setting is missing or wrong; ``param`` names the variable
        └── SchemaMismatch
"""

import inspect
from enum import StrEnum


class Limit(StrEnum):
    """What a request was one too many for; a closed set, since a metric is labelled with it."""

    #: New generations or uploads a minute, of the key or of its team.
    KEY_RPM = "key_rpm"
    TEAM_RPM = "team_rpm"
    #: Jobs of the team that wait.
    QUEUE_DEPTH = "queue_depth"
    #: Requests of a key that wait for a job.
    WAITERS = "waiters"
    #: Wrong keys that wait for their answer.
    WRONG_KEYS = "wrong_keys"
    OTHER = "other"


class ToriiError(Exception):
    """Something went wrong inside Torii."""

    code = "internal_error"

    def __init__(
        self, message: str | None = None, *, param: str | None = None, retry_after_s: int | None = None
    ) -> None:
        self.message = message or inspect.cleandoc(type(self).__doc__ or "")
        self.param = param
        self.retry_after_s = retry_after_s
        super().__init__(self.message)


class InvalidRequest(ToriiError):
    """The request is not valid."""

    code = "invalid_request"


class MalformedBody(InvalidRequest):
    """The body is not a JSON object."""

    code = "malformed_body"


class MissingParameter(InvalidRequest):
    """A required parameter is missing."""

    code = "missing_parameter"


class UnknownParameter(InvalidRequest):
    """The model has no parameter of that name."""

    code = "unknown_parameter"


class InvalidParameter(InvalidRequest):
    """A parameter's value is not allowed."""

    code = "invalid_parameter"


class BodyTooLarge(ToriiError):
    """The body is larger than this route takes."""

    code = "body_too_large"


class BodyTooSlow(ToriiError):
    """The body did not arrive in time."""

    code = "body_too_slow"


class UnsupportedMediaType(ToriiError):
    """The body must be sent as application/json."""

    code = "unsupported_media_type"


class NotAuthenticated(ToriiError):
    """The API key is missing, malformed, unknown, expired or revoked."""

    code = "invalid_api_key"


class NotAllowed(ToriiError):
    """This key may not do that."""

    code = "not_allowed"


class MissingScope(NotAllowed):
    """The key lacks a scope that this route needs."""

    code = "missing_scope"


class ModelNotAllowed(NotAllowed):
    """The model, or this use of it, is switched off here."""

    code = "model_not_allowed"


class BadLink(NotAllowed):
    """The link is forged, belongs to another picture, or has expired; read the job again for a fresh one."""

    code = "bad_link"


class NotFound(ToriiError):
    """There is nothing at this address."""

    code = "not_found"


class ModelNotFound(NotFound):
    """No such model."""

    code = "model_not_found"


class JobNotFound(NotFound):
    """No such job."""

    code = "job_not_found"


class BatchNotFound(NotFound):
    """No such batch."""

    code = "batch_not_found"


class UploadNotFound(NotFound):
    """No such upload."""

    code = "upload_not_found"


class ImageNotFound(NotFound):
    """No such picture."""

    code = "image_not_found"


class ImageGone(ImageNotFound):
    """The picture was erased."""

    code = "image_gone"


class TeamNotFound(NotFound):
    """No such team."""

    code = "team_not_found"


class KeyNotFound(NotFound):
    """No such key."""

    code = "key_not_found"


class DeliveryNotFound(NotFound):
    """No such delivery of a webhook."""

    code = "delivery_not_found"


class MethodNotAllowed(ToriiError):
    """This address does not take that method."""

    code = "method_not_allowed"


class Conflict(ToriiError):
    """The present state of things does not allow that."""

    code = "conflict"


class KeyReused(ToriiError):
    """This Idempotency-Key was used for another body before; use a new key for a new request."""

    code = "idempotency_key_reused"


class RequestInFlight(Conflict):
    """The first request with this Idempotency-Key is not finished yet; send it again in a moment."""

    code = "request_in_flight"


class PolicyRefused(NotAllowed):
    """The team's policy does not allow this request."""

    code = "policy_refused"


class PriceBlocked(NotAllowed):
    """The upstream charged more than was expected for this model and resolution; an operator has to price it first."""

    code = "price_pending"


class TeamDrained(NotAllowed):
    """This team takes no new orders; what it has goes on."""

    code = "team_drained"


class UploadsFull(NotAllowed):
    """The team's uploads take all the room that it has; delete some."""

    code = "uploads_full"


class BudgetExhausted(ToriiError):
    """The budget does not cover this request."""

    code = "budget_exhausted"


class RateLimited(ToriiError):
    """Too many requests; wait and try again."""

    code = "rate_limited"

    def __init__(
        self,
        message: str | None = None,
        *,
        param: str | None = None,
        retry_after_s: int | None = None,
        limit: Limit = Limit.OTHER,
    ) -> None:
        self.limit = limit
        super().__init__(message, param=param, retry_after_s=retry_after_s)


class NotCached(ToriiError):
    """There is no answer in the cache, and the request would have no other."""

    code = "not_cached"


class Unavailable(ToriiError):
    """A part of the gateway does not answer at the moment."""

    code = "unavailable"

    def __init__(self, message: str | None = None, *, param: str | None = None, retry_after_s: int = 2) -> None:
        super().__init__(message, param=param, retry_after_s=retry_after_s)


class StoreUnavailable(Unavailable):
    """The database does not answer at the moment."""

    code = "store_unavailable"


class ArchiveUnavailable(Unavailable):
    """The picture archive does not answer at the moment."""

    code = "archive_unavailable"


class Draining(Unavailable):
    """This process is shutting down; send the request again."""

    code = "draining"


class StillRunning(Unavailable):
    """The picture is not there yet; send the same request again and it goes on waiting for the same one."""

    code = "still_running"


class UpstreamPaused(Unavailable):
    """Nothing is sent to the upstream at the moment, so nothing was ordered."""

    code = "upstream_paused"


class JobFailed(ToriiError):
    """The picture that this request waited for was not made; ``code`` says why, as that of a job does."""

    code = "upstream_failed"

    def __init__(self, message: str | None = None, code: str | None = None) -> None:
        if code is not None:
            self.code = code
        super().__init__(message)


class JobRejected(JobFailed):
    """The upstream refused the request that it was asked to carry out."""

    code = "upstream_rejected"


class InternalError(ToriiError):
    """Something went wrong inside the gateway; the request's id finds it in the logs."""

    code = "internal_error"


class SettingError(ToriiError):
    """A setting is missing or wrong."""

    code = "setting_error"


class SchemaMismatch(SettingError):
    """The database's schema is not one that this release works with."""

    code = "schema_mismatch"
