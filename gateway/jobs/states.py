"""The states of a job, the ways between them, and what each looks like on the wire. Pure."""

from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class State(StrEnum):
    """Where a job is in its life."""

    #: Accepted, paid for by a hold, not yet sent; may be cancelled.
    QUEUED = "queued"
    #: The intent to send the paid POST is committed; whether it left is decided by the answer.
    SUBMITTING = "submitting"
    #: The POST may have been taken, and its answer was lost: neither sent again nor released.
    SUBMISSION_UNKNOWN = "submission_unknown"
    #: The upstream has it, and we know it by the upstream's id.
    RUNNING = "running"
    #: The upstream is done; the pictures are on their way into the archive.
    ARCHIVING = "archiving"
    #: The pictures are ours. Final.
    COMPLETED = "completed"
    #: It ended without pictures; the error says why. Final, save after an unknown submission.
    FAILED = "failed"
    #: The caller took it back before it was sent. Final.
    CANCELLED = "cancelled"


class Failure(StrEnum):
    """Why a job ended without pictures: the ``error.code`` of a job."""

    #: The upstream refused the request itself; nothing was charged.
    UPSTREAM_REJECTED = "upstream_rejected"
    #: The upstream took the job and did not bring a picture.
    UPSTREAM_FAILED = "upstream_failed"
    #: The upstream no longer knows the job, or never finished it.
    UPSTREAM_LOST = "upstream_lost"
    #: The picture was made, and the upstream's copy was gone before ours existed.
    ARCHIVE_LOST = "archive_lost"
    #: Nobody can tell whether the upstream took it; it counts as charged until it is settled.
    SUBMISSION_UNKNOWN = "submission_unknown"
    #: It waited longer in the queue than its team or its caller allows.
    QUEUE_TIMEOUT = "queue_timeout"
    #: It waited in the queue for a day.
    EXPIRED = "expired"
    #: Its model left the catalogue while it waited.
    MODEL_WITHDRAWN = "model_withdrawn"
    #: Its hold no longer covers what it may cost, or nobody knows what that is.
    PRICE_BLOCKED = "price_blocked"
    #: A picture that it was to start from is not there any more, or cannot be reached from outside.
    REFERENCE_LOST = "reference_lost"
    #: The job that it followed was taken back, and its own budget did not cover it.
    BUDGET_EXHAUSTED = "budget_exhausted"
    #: Its caller took it back before it was sent.
    CANCELLED = "cancelled"


#: Nobody listens any more after a day in the queue, and would pay for what nobody reads.
LONGEST_QUEUE: Final = timedelta(hours=24)

ENDED: Final = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})

#: Every way that a job may go. The statements that move a job name both ends and a test holds them to this table.
WAYS: Final = MappingProxyType(
    {
        #: Running at once: an earlier attempt's job was found before the next one was sent.
        State.QUEUED: frozenset({State.SUBMITTING, State.RUNNING, State.CANCELLED, State.FAILED}),
        State.SUBMITTING: frozenset({State.RUNNING, State.QUEUED, State.SUBMISSION_UNKNOWN, State.FAILED}),
        State.SUBMISSION_UNKNOWN: frozenset({State.RUNNING, State.QUEUED, State.FAILED}),
        State.RUNNING: frozenset({State.ARCHIVING, State.FAILED}),
        State.ARCHIVING: frozenset({State.COMPLETED, State.FAILED}),
        State.COMPLETED: frozenset(),
        #: Only one that failed as ``submission_unknown``: late evidence found it after all.
        State.FAILED: frozenset({State.RUNNING}),
        State.CANCELLED: frozenset(),
    }
)

#: The ways of a job that follows another's. Its row stays ``queued`` until the other ends, and it ends with it; one
#: that failed with it as ``submission_unknown`` completes with it too, if the other is found after all.
WAYS_FOLLOWING: Final = MappingProxyType(
    {
        State.QUEUED: frozenset({State.COMPLETED, State.FAILED, State.CANCELLED}),
        State.FAILED: frozenset({State.COMPLETED}),
    }
)

_WIRE: Final = MappingProxyType(
    {
        State.QUEUED: "pending",
        State.SUBMITTING: "pending",
        State.SUBMISSION_UNKNOWN: "processing",
        State.RUNNING: "processing",
        State.ARCHIVING: "processing",
        State.COMPLETED: "completed",
        State.FAILED: "failed",
        State.CANCELLED: "failed",
    }
)

#: Failures before which nothing was spent, so that the caller may order again without paying twice.
UNCHARGED: Final = frozenset(
    {
        Failure.UPSTREAM_REJECTED,
        Failure.QUEUE_TIMEOUT,
        Failure.EXPIRED,
        Failure.MODEL_WITHDRAWN,
        Failure.PRICE_BLOCKED,
        Failure.REFERENCE_LOST,
        Failure.BUDGET_EXHAUSTED,
        Failure.CANCELLED,
    }
)


def wire(state: State) -> str:
    """The four words that a PixelDojo client knows: ``pending``, ``processing``, ``completed``, ``failed``."""
    return _WIRE[state]
