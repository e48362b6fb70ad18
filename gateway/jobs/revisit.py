"""When a caller who asks again and again should come back: at the job's expected finish, as far as anybody knows it.

A running job is looked at by Torii itself when it is due, and nothing is new before that. One that is not sent yet
takes what its model took lately, of which each process remembers a little for a while. Where too little was seen,
callers come back soon: what the catalogue says is a guess, and a wait by a guess is a wait for nothing.
"""

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from gateway import errors
from gateway.jobs import quote
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.storage.database import Database

#: Looking again sooner than this tells nobody anything new, where nothing else is known.
SOON_S: Final = 2
MOST_S: Final = 60
#: What was learned is good for so long.
_GOOD_FOR_S: Final = 30.0
_MOST_KEPT: Final = 1000
_NOTHING_SEEN: Final = -1.0
_UNSENT: Final = frozenset({State.QUEUED, State.SUBMITTING})


@dataclass
class Memory:
    """What the models took lately, as one process of the front door knows it."""

    _kept: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    async def takes_s(self, database: Database, job: Job, now_s: float) -> float | None:
        """What a job like this takes, in seconds; none where too little was seen, or the store does not answer."""
        name = (job.model, job.resolution)
        read_s, seconds = self._kept.get(name, (-math.inf, _NOTHING_SEEN))
        if now_s - read_s >= _GOOD_FOR_S:
            try:
                async with database.read() as connection:
                    seconds = await quote.typical_s(connection, *name, _NOTHING_SEEN)
            except errors.StoreUnavailable:
                return None
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[name] = (now_s, seconds)
        return None if seconds == _NOTHING_SEEN else seconds


def unsent(job: Job) -> bool:
    """Whether it depends on what its model takes when to come back."""
    return job.state in _UNSENT


def after_s(job: Job, takes_s: float | None, unknown_wait_s: int, now: datetime) -> int:
    """Whole seconds until it makes sense to ask again about an unfinished job: 1 to ``MOST_S``."""
    if job.state is State.RUNNING:
        return _whole((job.due_at - now).total_seconds())
    if job.state is State.SUBMISSION_UNKNOWN and job.submitted_at is not None:
        # It may be found at any moment; at the latest, its caller is told that nobody knows.
        return min(SOON_S, _whole((job.submitted_at + timedelta(seconds=unknown_wait_s) - now).total_seconds()))
    if unsent(job) and takes_s is not None:
        return _whole(takes_s)
    return SOON_S


def _whole(seconds: float) -> int:
    return min(max(math.ceil(seconds), 1), MOST_S)
