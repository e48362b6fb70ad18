"""An order on its way to a job: what was asked, by whom, and what came of it. Frozen values; touches no store."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.admission.rate import Standing
from gateway.images.model import Model
from gateway.jobs.gate import Admit, Admitted
from gateway.jobs.idempotency import Ticket
from gateway.jobs.orders import Order
from gateway.jobs.record import Image, Job
from gateway.jobs.references import Sources
from gateway.reuse.answer import Answer
from gateway.reuse.directives import Directives, Handling
from gateway.reuse.places import Place, Places
from gateway.tenancy.choices import Choices

#: A statement in somebody else's transaction, about the job that it makes.
Beside: TypeAlias = Callable[[AsyncConnection, Job, datetime], Awaitable[None]]


@dataclass(frozen=True)
class Caller:
    """On whose behalf: a key and its team."""

    team_id: str
    key_id: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request would have of the cache, and what its key may have."""

    directives: Directives
    choices: Choices
    #: The first key of the chain of rotations that the caller's key belongs to.
    chain: str
    #: The key may read its whole team's jobs.
    reads_team: bool
    #: The team is told of each job at an address of its own.
    told: bool
    #: The team takes no new orders.
    drained: bool
    #: What is to be written in the transaction that makes a job, if one is made; what it raises undoes that.
    beside: Beside | None = None
    #: The route that an ``Idempotency-Key`` counts for; none for the model's own.
    route: str | None = None


#: The house's own hands order anew each time: what they make is kept for others.
ANEW: Final = Wish(Directives(no_cache=True), Choices(), chain="", reads_team=True, told=False, drained=False)


@dataclass(frozen=True)
class Draft:
    """An order that was checked and is not yet a job."""

    caller: Caller
    model: Model
    admit: Admit
    admitted: Admitted
    order: Order
    wish: Wish
    #: Where its answer is kept; none for a request that wants a new picture each time.
    places: Places | None
    ticket: Ticket | None
    #: The span of its request, under which its job's spans are to come (``Traces.parent``).
    trace_parent: str | None = None
    #: The pictures that it starts from; none for most.
    sources: Sources | None = None

    @property
    def fingerprint(self) -> str | None:
        """Under which print its pictures shall be kept; none if they shall not."""
        return None if self.places is None or self.wish.directives.no_store else self.places.own.fingerprint

    @property
    def handling(self) -> Handling:
        """How it is handled if it neither asks the cache nor shares a flight."""
        return Handling.BYPASS if self.places is None else Handling.REQUEST

    @property
    def makes_job(self) -> bool:
        """Whether even a hit makes a job of its own: somebody is to be told, or asks for it by its key later."""
        return self.order.webhook_url is not None or self.wish.told or self.ticket is not None

    @property
    def counts_at_once(self) -> bool:
        """Whether whatever is found is a hit that writes nothing, so that finding and counting it are one."""
        return self.wish.directives.plain and self.wish.reads_team and not self.makes_job

    def writes_nothing(self, answer: Answer) -> bool:
        """Whether its team's own answer is given as it is, under the id of the job that it is of."""
        return not self.makes_job and (self.wish.reads_team or answer.key_id == self.wish.chain)

    @property
    def led_by_body(self) -> bool:
        """Whether nobody was asked about it on its way: no endpoint, and no store about what it starts from."""
        return self.admitted.decision is None and self.sources is None

    def takes(self, answer: Answer, now: datetime) -> bool:
        """Whether the answer is good enough."""
        return self.wish.directives.takes(answer, now)


@dataclass(frozen=True)
class Accepted:
    """What an order came to: a job, and what its caller may still spend, as far as that is known."""

    job: Job
    remaining_micros: int | None
    #: The job is an earlier request's, under the same ``Idempotency-Key``.
    replayed: bool = False
    #: How the caller stands with its limits, where that was asked.
    standing: Standing | None = None
    #: What the cache had to do with it; none for a replay.
    handling: Handling | None = None
    #: The pictures, where the order was answered at once.
    images: tuple[Image, ...] = ()
    #: The answer out of the cache, where it is one.
    answer: Answer | None = None
    #: Where that is kept, if the request's body alone led there: the same body will, too.
    place: Place | None = None
