"""What can become of an attempt, and what can end the doubt about one: the words, and nothing that is done."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from gateway.upstream import answers

#: Without evidence an unknown submission counts as charged after this long.
SETTLED_AFTER: Final = timedelta(hours=24)
#: After the POST's own deadline, this long must pass before anything is settled or sent again.
QUIET: Final = timedelta(seconds=answers.SUBMIT_DEADLINE_S + 60)


class Outcome(StrEnum):
    """What became of an attempt."""

    #: The intent is committed and no answer is booked.
    OPEN = "open"
    ACCEPTED = "accepted"
    #: Taken and paid for, while the job went on by another attempt: its picture is not delivered.
    ORPHANED = "orphaned"
    #: The request itself was refused for good.
    REJECTED = "rejected"
    #: Surely not accepted; the job went back to the queue under the next number.
    REFUSED = "refused"
    #: The answer was lost.
    UNKNOWN = "unknown"
    #: Unknown, and settled as charged.
    SETTLED_CHARGED = "settled_charged"
    #: Unknown, and settled as not charged.
    SETTLED_FREE = "settled_free"


class Evidence(StrEnum):
    """What ended the doubt about an attempt."""

    #: The answer to its POST came after all.
    LATE_ANSWER = "late_answer"
    #: The upstream called about a job, which a reading of that job confirmed.
    WEBHOOK = "webhook"
    #: The upstream's list of jobs shows one that can only be its own.
    JOB_LIST = "job_list"
    #: The upstream's list of jobs, read whole, shows none that could be its own.
    NOT_LISTED = "not_listed"
    #: The upstream's balance fell by what was spent with it, or without it.
    BALANCE = "balance"
    OPERATOR = "operator"
    #: None, for a day.
    TIME = "time"


def settles_at(quiet_at: datetime) -> datetime:
    """When an attempt of which nothing tells counts as charged: a day after it can have been sent."""
    return quiet_at - QUIET + SETTLED_AFTER
