"""What the upstream's answers mean, as small values. Holds no rule and no I/O: ``reading`` decides which one it is."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

#: A paid POST has this long, all in all, to be answered.
SUBMIT_DEADLINE_S: Final = 20.0


class Refusal(StrEnum):
    """Why the upstream surely did not take a job."""

    NOT_CONNECTED = "not_connected"
    RATE_LIMITED = "rate_limited"
    OUT_OF_CREDITS = "out_of_credits"
    KEY_REFUSED = "key_refused"
    #: Ours: the intent was committed too late to be acted on, or its commit was ambiguous, so nothing was sent.
    NOT_SENT = "not_sent"
    #: It does not know ``webhook_url``, which is ours and not the caller's.
    HOOK_REFUSED = "hook_refused"


@dataclass(frozen=True)
class Accepted:
    """202: the upstream took the job and, as far as is known, the credits (pixeldojo.md 1.1).

    ``status_code`` is 0 when it was not the answer to the POST that told.
    """

    upstream_job_id: str
    status_code: int
    cost_micros: int | None
    remaining_micros: int | None
    #: When the upstream made it, by our clock, where that was learned later than at once.
    created_at: datetime | None = None


@dataclass(frozen=True)
class Rejected:
    """The request itself is wrong (400, 404, 413, 415, 422): final, and nothing was charged."""

    status_code: int
    message: str


@dataclass(frozen=True)
class Refused:
    """Surely not accepted, through no fault of the request: it goes back to the queue."""

    refusal: Refusal
    status_code: int | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True)
class Ambiguous:
    """The upstream may have taken the job and the credits: neither to be retried nor to be released."""

    reason: str
    status_code: int | None = None


Submission = Accepted | Rejected | Refused | Ambiguous


@dataclass(frozen=True)
class Result:
    """One picture of a finished job: where it can be fetched for a while, and its seed where told."""

    url: str
    seed: int | None = None


@dataclass(frozen=True)
class Working:
    """Not finished, or in a status that is not known and therefore not terminal (pixeldojo.md 2.10)."""

    status: str


@dataclass(frozen=True)
class Finished:
    """Completed. No results at all is an answer too, and not yet an error of ours to name."""

    results: tuple[Result, ...]
    expires_at: datetime | None


@dataclass(frozen=True)
class Failed:
    """Failed upstream; the credits stay spent unless an answer shows a refund (pixeldojo.md 2.3)."""

    message: str


@dataclass(frozen=True)
class Missing:
    """404: unknown or expired there, which is not the same as failed (pixeldojo.md 2.6)."""


@dataclass(frozen=True)
class Unreadable:
    """No usable answer; reading is free, so it is asked again. ``retry_after_s`` when the upstream said so."""

    reason: str
    status_code: int | None = None
    retry_after_s: float | None = None


Reading = Working | Finished | Failed | Missing | Unreadable


@dataclass(frozen=True)
class Downloaded:
    """The bytes of one picture, as they came."""

    data: bytes


@dataclass(frozen=True)
class Gone:
    """404 or 410: the upstream's copy is not there."""

    status_code: int


@dataclass(frozen=True)
class Undelivered:
    """No bytes this time; downloading is free, so it is tried again."""

    reason: str


Download = Downloaded | Gone | Undelivered
