"""A flight (DESIGN section 10) as a model: up to three callers of one request, one of whom leads and pays.

All of its own steps are planned: ``gateway/reuse`` does not take them yet. The leader's life between its submit and its
end is one step here; ``life`` has it in full.
"""

from collections.abc import Iterator
from typing import NamedTuple

from tests.model import explore
from tests.model.explore import Walk

CALLERS = 3
_DONE = frozenset({"completed", "failed", "cancelled"})

#: What the design asks for and no release does yet.
PLANNED = frozenset({"flights.join", "flights.promote", "flights.finish", "flights.cancel_follower"})


class Caller(NamedTuple):
    """A caller's own job."""

    state: str = "none"
    hold: bool = False
    cost: int = 0


class Flight(NamedTuple):
    """The callers, and what their one request came to."""

    callers: tuple[Caller, ...] = (Caller(),) * CALLERS
    leader: int = -1
    #: queued, sent, unknown; empty when no flight is open.
    phase: str = ""
    submits: int = 0
    #: The picture is kept, and the next one asking gets it from the cache.
    cached: bool = False

    def but(self, number: int, **values: object) -> "Flight":
        """The same with that caller changed."""
        changed = list(self.callers)
        changed[number] = changed[number]._replace(**values)  # type: ignore[arg-type]
        return self._replace(callers=tuple(changed))


def steps(flight: Flight) -> Iterator[tuple[str, Flight]]:
    """Everything that can happen next."""
    asking = next((number for number, caller in enumerate(flight.callers) if caller.state == "none"), None)
    if asking is not None:
        yield from _asks(flight, asking)
    if flight.phase == "queued":
        yield "attempts.open", flight._replace(phase="sent", submits=flight.submits + 1)
        yield "desk.cancel", _promoted(flight, "cancelled")
        yield "sweep.queue_deadlines", _promoted(flight, "failed")
    elif flight.phase == "sent":
        yield "booking.book", flight._replace(phase="unknown")
        yield "flights.finish", _finished(flight, "completed")
        yield "flights.finish", _finished(flight, "failed")
    elif flight.phase == "unknown":
        yield "settlement.found_in", flight._replace(phase="sent")
        yield "settlement.settle_in", _finished(flight, "failed")
    for number, caller in enumerate(flight.callers):
        if caller.state == "follows":
            yield "flights.cancel_follower", flight.but(number, state="cancelled")


def _asks(flight: Flight, asking: int) -> Iterator[tuple[str, Flight]]:
    if flight.cached:
        yield "accept.accept", flight.but(asking, state="completed")
    elif flight.phase:
        yield "flights.join", flight.but(asking, state="follows")
    else:
        yield "accept.accept", flight.but(asking, state="leads", hold=True)._replace(leader=asking, phase="queued")


def _promoted(flight: Flight, how: str) -> Flight:
    """The leader left before its submit: the oldest follower leads and the hold moves with it, or the flight closes."""
    after = flight.but(flight.leader, state=how, hold=False)
    heir = next((number for number, caller in enumerate(after.callers) if caller.state == "follows"), None)
    if heir is None:
        return after._replace(leader=-1, phase="")
    return after.but(heir, state="leads", hold=True)._replace(leader=heir)


def _finished(flight: Flight, how: str) -> Flight:
    after = flight.but(flight.leader, hold=False, cost=1)
    for number, caller in enumerate(after.callers):
        if caller.state in ("leads", "follows"):
            after = after.but(number, state=how)
    return after._replace(leader=-1, phase="", cached=how == "completed")


def wrong(flight: Flight) -> str | None:
    """What is wrong with a state; none if nothing is."""
    holds = sum(caller.hold for caller in flight.callers)
    if holds != bool(flight.phase):
        return f"{holds} holds for a flight that is {flight.phase or 'closed'}"
    if bool(flight.phase) != (flight.leader >= 0):
        return "a flight without a leader, or a leader without a flight"
    if sum(caller.cost for caller in flight.callers) > flight.submits:
        return "more was charged than was sent"
    if any(caller.state == "follows" for caller in flight.callers) and not flight.phase:
        return "somebody follows nobody"
    failed = sum(caller.state == "failed" and caller.cost == 1 for caller in flight.callers)
    if flight.submits > 1 + failed:
        return "sent again, though the first was not lost"
    return None


def explored() -> tuple[Walk[Flight], int]:
    """All its states, and how many of them are ends."""
    found = explore.walk(Flight(), steps, wrong, 10_000)
    return found, explore.all_reach(found, lambda flight: all(caller.state in _DONE for caller in flight.callers))
