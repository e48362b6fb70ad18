"""A flight (DESIGN section 10) as a model: up to three callers of one request, one of whom leads and pays.

The leader's life between its submit and its end is one step here; ``life`` has it in full.
"""

from collections.abc import Iterator
from typing import NamedTuple

from tests.model import explore
from tests.model.explore import Walk

CALLERS = 3
_DONE = frozenset({"completed", "failed", "lost", "cancelled"})


class Caller(NamedTuple):
    """A caller's own job; ``lost`` is one that failed as an unknown submission, its own or its leader's."""

    state: str = "none"
    hold: bool = False
    cost: int = 0
    #: Whom it followed when it was lost.
    of: int = -1


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
        for after in _handed_on(flight, "cancelled"):
            yield "desk.cancel", after
        for after in _handed_on(flight, "failed"):
            yield "sweep.queue_deadlines", after
        yield "submission.submit", _finished(flight, "failed", cost=0)
    elif flight.phase == "sent":
        yield "booking.book", flight._replace(phase="unknown")
        yield "keeping.keep", _finished(flight, "completed")
        yield "polling.poll", _finished(flight, "failed")
    elif flight.phase == "unknown":
        yield "settlement.found_in", flight._replace(phase="sent")
        yield "settlement.settle_in", _finished(flight, "lost")
    yield from _alone(flight)


def _alone(flight: Flight) -> Iterator[tuple[str, Flight]]:
    """What happens to a caller that does not lead: it leaves, its time is over, or its doubt ends well."""
    for number, caller in enumerate(flight.callers):
        if caller.state == "follows":
            yield "flights.leave", flight.but(number, state="cancelled")
            if flight.phase == "queued":
                yield "sweep.queue_deadlines", flight.but(number, state="failed")
        elif caller.state == "lost" and caller.of == number:
            yield "settlement.discovered", _revived(flight, number)


def _asks(flight: Flight, asking: int) -> Iterator[tuple[str, Flight]]:
    if flight.cached:
        yield "joining.from_hit", flight.but(asking, state="completed")
    elif flight.phase:
        yield "joining.join", flight.but(asking, state="follows")
    else:
        yield "joining.lead", flight.but(asking, state="leads", hold=True)._replace(leader=asking, phase="queued")


def _handed_on(flight: Flight, how: str) -> Iterator[Flight]:
    """The leader left before its submit: the oldest follower that can pay leads, or the flight closes."""
    after = flight.but(flight.leader, state=how, hold=False)
    for number, caller in enumerate(flight.callers):
        if caller.state == "follows":
            yield after.but(number, state="leads", hold=True)._replace(leader=number)
            # Its own budget does not cover it; then it is the next one's turn.
            after = after.but(number, state="failed")
    yield after._replace(leader=-1, phase="")


def _finished(flight: Flight, how: str, cost: int = 1) -> Flight:
    after = flight.but(flight.leader, hold=False, cost=cost)
    for number, caller in enumerate(after.callers):
        if caller.state in ("leads", "follows"):
            after = after.but(number, state=how, of=flight.leader if how == "lost" else -1)
    return after._replace(leader=-1, phase="", cached=flight.cached or how == "completed")


def _revived(flight: Flight, leader: int) -> Flight:
    """A settled doubt was found after all, and its picture was kept: all who failed with it are completed."""
    after = flight
    for number, caller in enumerate(flight.callers):
        if caller.state == "lost" and caller.of == leader:
            after = after.but(number, state="completed", of=-1)
    return after._replace(cached=True)


def wrong(flight: Flight) -> str | None:
    """What is wrong with a state; none if nothing is."""
    holds = sum(caller.hold for caller in flight.callers)
    if holds != bool(flight.phase):
        return f"{holds} holds for a flight that is {flight.phase or 'closed'}"
    if bool(flight.phase) != (flight.leader >= 0):
        return "a flight without a leader, or a leader without a flight"
    if sum(caller.cost for caller in flight.callers) + (flight.phase in ("sent", "unknown")) != flight.submits:
        return "what was charged is not what was sent"
    if any(caller.state == "follows" for caller in flight.callers) and not flight.phase:
        return "somebody follows nobody"
    if any(caller.hold and caller.state != "leads" for caller in flight.callers):
        return "who does not lead holds credits"
    if any(caller.state == "lost" and flight.callers[caller.of].state == "completed" for caller in flight.callers):
        return "who failed with a doubt was left behind when it was found"
    return None


def explored() -> tuple[Walk[Flight], int]:
    """All its states, and how many of them are ends."""
    found = explore.walk(Flight(), steps, wrong, 10_000)
    return found, explore.all_reach(found, lambda flight: all(caller.state in _DONE for caller in flight.callers))
