"""How a command that talks to a gateway as a caller can end, with the exit status of each kind. Knows no command.

The kinds are told apart so that a script can act on them; `docs/cli.md` has the table.
"""

from enum import IntEnum


class Status(IntEnum):
    """Exit statuses."""

    #: What was asked for is done.
    DONE = 0
    #: Anything that has no status of its own.
    FAILED = 1
    #: The command line or a setting is wrong; nothing was sent.
    MISTAKE = 2
    #: The gateway refused: the key, the budget, a parameter. Nothing was ordered.
    REFUSED = 3
    #: The job ended without pictures.
    JOB_FAILED = 4
    #: The gateway could not be reached, or did not answer as a gateway.
    UNREACHED = 5
    #: The time was over; the job goes on.
    UNFINISHED = 6
    #: The pictures are made and kept at the gateway, and could not be saved here.
    UNSAVED = 7
    #: Ctrl-C; the job goes on.
    INTERRUPTED = 130


class Failure(Exception):
    """What went wrong, in the gateway's words or ours, with the status to end with."""

    def __init__(self, code: str, message: str, status: Status, *, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.param = param


class Again(Exception):
    """What may be different next time, after ``wait_s`` seconds if the gateway said so."""

    def __init__(self, failure: Failure, wait_s: float | None = None) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.wait_s = wait_s
