"""What each error of the house looks like over HTTP: its status, its kind, and the one body that all errors have.

The body is RFC 9457's ``application/problem+json`` with the member ``error`` that PixelDojo's and OpenAI's clients
read. Never tells a caller what went wrong inside: a bug is a 500 with the request's id, which finds it in the logs.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from gateway import errors
from gateway.admission import rate
from gateway.reuse import directives
from gateway.reuse.directives import Handling
from service import callers, front, wire

MEDIA_TYPE: Final = "application/problem+json"
#: The ASGI scope's member that holds the request's id.
REQUEST_ID: Final = "torii.request_id"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Kind:
    """How a door shows one class of errors; ``type`` is the word of OpenAI's vocabulary."""

    status: int
    type: str


_INVALID: Final = Kind(400, "invalid_request_error")
_FORBIDDEN: Final = Kind(403, "permission_error")
_MISSING: Final = Kind(404, "not_found_error")
_TOO_MANY: Final = Kind(429, "rate_limit_error")
_LATER: Final = Kind(503, "server_error")
_NOT_HERE: Final = Kind(504, "server_error")
_BUG: Final = Kind(500, "server_error")

#: Every class of the family; a test holds it complete.
TABLE: Final[Mapping[type[errors.ToriiError], Kind]] = MappingProxyType(
    {
        errors.InvalidRequest: _INVALID,
        errors.MalformedBody: _INVALID,
        errors.MissingParameter: _INVALID,
        errors.UnknownParameter: _INVALID,
        errors.InvalidParameter: _INVALID,
        errors.BodyTooLarge: Kind(413, "invalid_request_error"),
        errors.BodyTooSlow: Kind(408, "invalid_request_error"),
        errors.UnsupportedMediaType: Kind(415, "invalid_request_error"),
        errors.NotAuthenticated: Kind(401, "authentication_error"),
        errors.NotAllowed: _FORBIDDEN,
        errors.MissingScope: _FORBIDDEN,
        errors.ModelNotAllowed: _FORBIDDEN,
        errors.PolicyRefused: _FORBIDDEN,
        errors.PriceBlocked: _FORBIDDEN,
        errors.TeamDrained: _FORBIDDEN,
        errors.UploadsFull: _FORBIDDEN,
        errors.BadLink: _FORBIDDEN,
        errors.NotFound: _MISSING,
        errors.ModelNotFound: _MISSING,
        errors.JobNotFound: _MISSING,
        errors.BatchNotFound: _MISSING,
        errors.UploadNotFound: _MISSING,
        errors.ImageNotFound: _MISSING,
        errors.ImageGone: Kind(410, "not_found_error"),
        errors.TeamNotFound: _MISSING,
        errors.KeyNotFound: _MISSING,
        errors.DeliveryNotFound: _MISSING,
        errors.MethodNotAllowed: Kind(405, "invalid_request_error"),
        errors.Conflict: Kind(409, "invalid_request_error"),
        errors.RequestInFlight: Kind(409, "invalid_request_error"),
        errors.KeyReused: Kind(422, "invalid_request_error"),
        errors.BudgetExhausted: Kind(402, "insufficient_quota"),
        errors.RateLimited: _TOO_MANY,
        rate.OutOfPace: _TOO_MANY,
        errors.NotCached: _NOT_HERE,
        errors.Unavailable: _LATER,
        errors.StoreUnavailable: _LATER,
        errors.ArchiveUnavailable: _LATER,
        errors.StillRunning: _LATER,
        errors.UpstreamPaused: _LATER,
        errors.Draining: _LATER,
        errors.JobFailed: Kind(502, "server_error"),
        errors.JobRejected: _INVALID,
        errors.InternalError: _BUG,
        errors.SettingError: _BUG,
        errors.SchemaMismatch: _BUG,
        errors.ToriiError: _BUG,
    }
)

#: What the framework itself refuses; any other status of its own is either the caller's mistake or a bug.
_OF_STATUS: Final[Mapping[int, type[errors.ToriiError]]] = MappingProxyType(
    {
        404: errors.NotFound,
        405: errors.MethodNotAllowed,
        413: errors.BodyTooLarge,
        415: errors.UnsupportedMediaType,
    }
)


def kind(error: errors.ToriiError) -> Kind:
    """The error's entry, or its nearest ancestor's."""
    return next(TABLE[ancestor] for ancestor in type(error).__mro__ if ancestor in TABLE)


def title(error: type[errors.ToriiError]) -> str:
    """What is the same in all errors of that class: the sentence it is documented by."""
    return inspect.cleandoc(error.__doc__ or "")


def of_house(request: Request[Any, Any, Any], error: errors.ToriiError) -> Response[bytes]:
    """The answer to an error that the house raised."""
    shown = kind(error)
    if shown.status == _BUG.status and not isinstance(error, errors.InternalError):
        # An operator's mistake that surfaced late: its text names settings, which are no caller's business.
        log.error("request_failed", reason=error.message, notes=_notes(error), exc_info=error)
        return _answer(request, errors.InternalError())
    if shown.status >= _BUG.status:
        log.warning("request_refused", code=error.code, notes=_notes(error))
    if isinstance(error, errors.RateLimited):
        refused = front.of(request).house.metrics.rate_limited
        refused.labels(team=request.state.get(callers.TEAM, ""), limit=error.limit.value).inc()
    return _answer(request, error)


def of_framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """The answer to what the framework refused by itself: no such route, method, or parameter."""
    if error.status_code >= _BUG.status:
        return of_bug(request, error)
    response = _answer(request, _OF_STATUS.get(error.status_code, errors.InvalidRequest)())
    allowed = (error.headers or {}).get("allow")
    if allowed is not None:
        response.headers["Allow"] = ", ".join(sorted(allowed.split(", ")))  # it comes out of a set
    return response


def of_bug(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The answer to anything else that was raised: a bug of ours, told to the log alone."""
    log.error("bug", error=type(error).__name__, exc_info=error)
    return _answer(request, errors.InternalError())


def render(error: errors.ToriiError, request_id: str) -> bytes:
    """The body of an error."""
    shown = kind(error)
    message = _encodable(error.message)
    return wire.encode(
        wire.Problem(
            type=f"urn:torii:error:{error.code}",
            title=title(type(error)),
            status=shown.status,
            detail=message,
            instance=f"urn:torii:request:{request_id}",
            error=wire.ErrorMember(
                code=error.code,
                message=message,
                type=shown.type,
                param=None if error.param is None else _encodable(error.param),
            ),
        )
    )


def _answer(request: Request[Any, Any, Any], error: errors.ToriiError) -> Response[bytes]:
    shown = kind(error)
    headers = callers.rate_headers(error.standing) if isinstance(error, rate.OutOfPace) else {}
    if isinstance(error, errors.NotCached):
        headers["Cache-Status"] = directives.cache_status(Handling.ONLY_IF_CACHED)
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, errors.JobFailed):
        headers["X-Should-Retry"] = "false"  # OpenAI's clients heed it; the same request again may cost again
    if isinstance(error, errors.NotAuthenticated):
        headers["WWW-Authenticate"] = "Bearer"  # RFC 6750 section 3
    if isinstance(error, errors.BodyTooSlow):
        headers["Connection"] = "close"  # what is left of the body would be read as the next request
    return Response(
        render(error, str(request.scope.get(REQUEST_ID, "none"))),
        status_code=shown.status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )


def _encodable(text: str) -> str:
    # A message may quote what a caller sent, and half of a surrogate pair can be written in no encoding.
    return text.encode(errors="backslashreplace").decode()


def _notes(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", []))
