"""What an attempt still means to its job: whether the job waits for it, may run by it, or has gone on without it. Pure.

A job mostly has one attempt that counts. It has more once an attempt in doubt was followed by another one: then each
attempt's credits are settled on their own, and the first of them that turns out to have been taken carries the job.
"""

from enum import StrEnum
from typing import Final

from gateway.jobs.record import Job
from gateway.jobs.states import Failure, State


class Bearing(StrEnum):
    """An attempt's bearing on its job."""

    #: The job waits for this attempt's answer.
    CARRIES = "carries"
    #: The job waits for a later attempt, or to send it, and may as well run by this one.
    SPARE = "spare"
    #: The job runs by another attempt or has ended: only this one's credits are left to be settled.
    APART = "apart"


_WAITING: Final = frozenset({State.SUBMITTING, State.SUBMISSION_UNKNOWN})


def of(job: Job, number: int) -> Bearing:
    """The bearing of an attempt that has not had its answer."""
    if job.state in _WAITING or undecided(job):
        return Bearing.CARRIES if number == job.attempt else Bearing.SPARE
    return Bearing.SPARE if job.state is State.QUEUED else Bearing.APART


def undecided(job: Job) -> bool:
    """Whether the job is the one kind of ended job that may live again; whose pictures nobody shall have never does."""
    unknown = job.state is State.FAILED and job.error_code == Failure.SUBMISSION_UNKNOWN
    return unknown and job.pictures_erased_at is None
