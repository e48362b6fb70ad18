"""What the labels of metrics may say: closed sets, so that no caller and no upstream adds a series. Counts nothing."""

from enum import StrEnum
from typing import Final

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_STATUS_MIN: Final = 100
_STATUS_MAX: Final = 599


class Stage(StrEnum):
    """The stages of a job, each timed on its own."""

    QUEUE = "queue"
    SUBMIT = "submit"
    UPSTREAM = "upstream"
    ARCHIVE = "archive"
    ANNOUNCE = "announce"


class Operation(StrEnum):
    """The calls to the upstream."""

    SUBMIT = "submit"
    POLL = "poll"
    DOWNLOAD = "download"


class Fault(StrEnum):
    """What an upstream call ended with when it was not an HTTP answer."""

    TIMEOUT = "timeout"
    CONNECT = "connect"
    CUT = "cut"
    OTHER = "other"


def route(template: str, *, waited: bool) -> str:
    """The ``route`` of a request: its template, never its path; those that were asked to wait are kept apart."""
    return f"{template} wait" if waited else template


def method(name: str) -> str:
    """The ``method`` of a request: one that HTTP knows (RFC 9110, RFC 5789), else ``other``."""
    return name if name in _METHODS else "other"


def status(said: int | Fault) -> str:
    """The ``status`` of an answer, 100 to 599, or the fault that came instead; any other number is ``other``."""
    if isinstance(said, Fault):
        return said.value
    return str(said) if _STATUS_MIN <= said <= _STATUS_MAX else Fault.OTHER.value
