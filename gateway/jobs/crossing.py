"""Plain orders of one key for one model and size, made jobs in one transaction: who comes in, and who waits or may not.

An order that does not fit behind those before it is left for the next crossing and judged anew, since what they take
may come to nothing. The budgets have the last word under their lock (``founding``); what they refuse there undoes the
whole crossing, and the ``ferry`` carries each by itself.
"""

from collections.abc import Hashable, Sequence
from functools import partial

from gateway import errors, ids
from gateway.images import price
from gateway.jobs import founding, idempotency, terms
from gateway.jobs.draft import Accepted, Draft
from gateway.jobs.ferry import Ferry
from gateway.jobs.founding import Plot
from gateway.jobs.parts import Counter
from gateway.jobs.terms import Terms


def takes(draft: Draft) -> bool:
    """Whether the order may cross with others: one that pins, notes or claims something more goes by itself."""
    return draft.sources is None and draft.admitted.decision is None and draft.wish.beside is None


async def carry(ferry: Ferry, counter: Counter, draft: Draft) -> Accepted:
    """The new job, which is committed, and its ``Idempotency-Key`` with it.

    Raises as ``joining.make``, and ``KeyTaken``.
    """
    return await ferry.carry(_way(draft), draft, partial(cross, counter))


async def cross(counter: Counter, drafts: Sequence[Draft]) -> Sequence[Accepted | Exception | None]:
    """One transaction: what each order came to, none for those that are to wait for the next."""
    now = counter.clock.now()
    async with counter.database.write() as tx:
        found = await terms.ask(tx, drafts[0], now)
        seats = _seats(drafts, found)
        plots = [seat for seat in seats if isinstance(seat, Plot)]
        made = await founding.found(tx, plots, found, now) if plots else []
        kept = [(plot.draft.ticket, plot.job_id) for plot in plots if plot.draft.ticket is not None]
        await idempotency.keep_all(tx, drafts[0].caller.team_id, kept, now)
    jobs = iter(made)
    ends: list[Accepted | Exception | None] = []
    for seat in seats:
        if isinstance(seat, Plot):
            founded = next(jobs)
            ends.append(Accepted(founded.job, founded.remaining_micros, handling=seat.draft.handling))
        else:
            ends.append(seat)
    return ends


def _seats(drafts: Sequence[Draft], found: Terms) -> list[Plot | errors.ToriiError | None]:
    """Who comes in by these terms, who may not, and who is to be looked at again when the others are over."""
    seats: list[Plot | errors.ToriiError | None] = []
    taken, micros = 0, 0
    for draft in drafts:
        try:
            hold_micros = found.require(draft, taken, micros)
        except errors.ToriiError as refusal:
            if taken:
                break
            seats.append(refusal)
            continue
        taken, micros = taken + 1, micros + hold_micros
        seats.append(Plot(ids.job(), draft, hold_micros))
    return seats + [None] * (len(drafts) - len(seats))


def _way(draft: Draft) -> Hashable:
    size = price.resolution(draft.model, draft.admitted.parameters)
    return draft.caller.team_id, draft.caller.key_id, draft.model.api_id, size
