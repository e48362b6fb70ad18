"""A job as the console shows it: how far it is, when it is expected, what it cost, what became of it. Reads only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from gateway.jobs import lookup, prospects, view
from gateway.jobs.prospects import Prospect
from gateway.jobs.record import Image, Job
from gateway.jobs.states import ENDED, State
from service.console.names import checked_id
from service.console.visits import Visit

#: The steps that every job takes, in order, as a person names them.
STEPS: Final = (
    (State.QUEUED, "Queued"),
    (State.SUBMITTING, "Sent"),
    (State.RUNNING, "Generating"),
    (State.ARCHIVING, "Archiving"),
    (State.COMPLETED, "Done"),
)
#: A page that hears of no changes asks again after so long: soon where much happens, seldom where nothing does.
_SOON_S: Final = 1
_LATER_S: Final = 3
_SELDOM_S: Final = 10
_WATCHED_CLOSELY_S: Final = 180


@dataclass(frozen=True)
class Shown:
    """One job, its pictures, and what is to be expected of it."""

    job: Job
    images: Sequence[Image]
    #: As the API shows it: the cost, the error, what is left.
    body: Mapping[str, Any]
    prospect: Prospect
    #: When to look again for a page that is told nothing (``following``); none once the job has ended.
    again_s: int | None

    @property
    def ended(self) -> bool:
        """Nothing more will come of it."""
        return self.job.state in ENDED

    @property
    def erased(self) -> bool:
        """Neither what it was asked for nor its pictures are kept any more."""
        return self.job.prompt_erased_at is not None and self.job.pictures_erased_at is not None

    @property
    def share_a_second(self) -> float:
        """By how much its bar moves on each second by itself; nothing for one that is late, or not at work."""
        whole_s = (self.prospect.expected_at - self.prospect.began_at).total_seconds()
        return 0.0 if self.prospect.late or self.ended or whole_s <= 0 else 1 / whole_s

    @property
    def prompt(self) -> str:
        """What it should show."""
        return str(self.job.parameters.get("prompt", ""))

    @property
    def steps(self) -> list[tuple[str, str]]:
        """Each step's name, and whether it is ``past``, ``present`` or ``future``."""
        names = [state for state, _ in STEPS]
        at = names.index(self.job.state) if self.job.state in names else _STANDS_AT.get(self.job.state, -1)
        if self.job.state is State.COMPLETED:
            at = len(STEPS)
        told = []
        for number, (_, label) in enumerate(STEPS):
            told.append((label, "past" if number < at else "present" if number == at else "future"))
        return told


_STANDS_AT: Final = MappingProxyType({State.SUBMISSION_UNKNOWN: 1})


async def job(visit: Visit, job_id: str) -> Job:
    """The team's job, if the session may see it; ``JobNotFound``."""
    async with visit.house.database.read() as connection:
        found = await lookup.find(connection, visit.of_team.id, checked_id(job_id), visit.own_key_alone)
        return await lookup.shown(connection, found)


async def of(visit: Visit, job_id: str) -> Shown:
    """How the team's job stands; ``JobNotFound`` for one that the session may not see."""
    house = visit.house
    found = await job(visit, job_id)
    async with house.database.read() as connection:
        images = await lookup.images(connection, found.team_id, found.id) if found.state is State.COMPLETED else []
        prospect = await prospects.of(
            connection, house.catalogue, house.settings.upstream_concurrency, found, visit.now
        )
        seen = await lookup.balance_seen(connection)
    body = view.render(found, images, seen, house.frame, visit.now)
    return Shown(found, images, body, prospect, _again_s(found, visit))


def _again_s(found: Job, visit: Visit) -> int | None:
    if found.state in ENDED:
        return None
    if found.state is State.SUBMISSION_UNKNOWN:
        return _SELDOM_S
    watched_s = (visit.now - found.created_at).total_seconds()
    return _SOON_S if watched_s < _WATCHED_CLOSELY_S else _LATER_S if watched_s < 2 * _WATCHED_CLOSELY_S else _SELDOM_S
