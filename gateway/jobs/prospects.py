"""When an unfinished job is expected to be done: for people who watch it. A guess by what its model took before.

Decides nothing: when a job is looked at is for ``expect`` to say.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.images.catalogue import Catalogue
from gateway.jobs import quote
from gateway.jobs.record import Job
from gateway.jobs.states import ENDED, State

#: What the house itself takes once the upstream is done.
_KEEPING_S = 1.0
#: For a model that left the catalogue.
_UNKNOWN_S = 45.0


@dataclass(frozen=True)
class Prospect:
    """What is to be expected of a job."""

    began_at: datetime
    expected_at: datetime
    #: It was expected before now.
    late: bool
    #: How much of the way lies behind it, from 0 to 1; a late one stands just before the end.
    share: float


async def of(connection: AsyncConnection, catalogue: Catalogue, concurrency: int, job: Job, now: datetime) -> Prospect:
    """The prospect of a job that has not ended."""
    model = catalogue.models.get(job.model)
    typical_s = await quote.typical_s(
        connection, job.model, job.resolution, _UNKNOWN_S if model is None else model.typical_s
    )
    ahead = await quote.ahead(connection) if job.state is State.QUEUED else 0
    return foresee(job, typical_s, typical_s * (ahead // concurrency), now)


def foresee(job: Job, typical_s: float, wait_s: float, now: datetime) -> Prospect:
    """The prospect of a job of a model that takes ``typical_s``, after a wait where it is still queued."""
    if job.state in ENDED:
        ended_at = job.ended_at or now
        return Prospect(job.created_at, ended_at, late=False, share=1.0)
    begins_at = job.accepted_at or job.submitted_at or now + timedelta(seconds=wait_s)
    expected_at = begins_at + timedelta(seconds=typical_s + _KEEPING_S)
    whole_s = (expected_at - job.created_at).total_seconds()
    passed_s = (now - job.created_at).total_seconds()
    late = now >= expected_at
    share = 0.97 if late or whole_s <= 0 else min(max(passed_s / whole_s, 0.02), 0.97)
    return Prospect(job.created_at, expected_at, late, share)
