"""Answering an order whose bytes were answered from the cache a moment ago: one look at the shelf, and nothing else.

For what is plain: no ``Idempotency-Key``, no wish about the cache, nobody to be told. All else, and whatever is not on
the shelf any more, goes the long way (``accept``), which finds what this does and knows what to do without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.jobs import reusing
from gateway.jobs.draft import Accepted, Caller, Wish
from gateway.jobs.familiar import Order
from gateway.jobs.parts import Counter
from gateway.reuse import hits
from gateway.reuse.answer import Answer
from gateway.reuse.directives import Directives
from gateway.tenancy.recognition import TeamLimits

_PLAIN: Final = Directives()


@dataclass(frozen=True, slots=True)
class Again:
    """An answer that is given once more."""

    answer: Answer
    #: What the request said of itself.
    details: Mapping[str, object] | None
    remaining_micros: int | None


async def again(counter: Counter, caller: Caller, team: TeamLimits, way: str, body: bytes, wish: Wish) -> Again | None:
    """The answer to an order that was answered before; none where it has to be read, or its answer is not there.

    ``way`` names how its bytes are read, without a space: one name for each dialect, and for each model named outside
    of the body. Not for an order with an ``Idempotency-Key``. Counts the hit.
    """
    if wish.directives != _PLAIN or wish.drained or wish.told:
        return None
    library = counter.library
    order = library.familiar.find(team, counter.catalogue.models, way, body)
    if order is None:
        return None
    count = hits.field(caller.team_id, order.model.api_id, counter.clock.now())
    # Whoever may read the whole team's jobs gets the answer as it is, so that finding and counting it are one.
    look = await library.shelf.look(order.place, hit=count if wish.reads_team else "")
    if look is None or look.answer is None:
        return None
    reusing.refresh(counter, order.place, look)
    if not wish.reads_team:
        if look.answer.key_id != wish.chain:
            return None
        await library.shelf.count(count, look.answer.cost_micros)
    return Again(look.answer, order.details, await library.purse.remaining(caller.team_id, caller.key_id))


def remember(counter: Counter, team: TeamLimits, way: str, body: bytes, accepted: Accepted) -> None:
    """Have the same bytes answered by ``again``, if what they came to is a hit that they alone led to."""
    if accepted.place is not None:
        model = counter.catalogue.model(accepted.job.model)
        counter.library.familiar.keep(team, way, body, Order(team, model, accepted.place, accepted.job.details))
