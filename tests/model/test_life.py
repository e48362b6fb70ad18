"""The models of a job's life: every state keeps the laws and leads to an end, and without a guard one does not.

The model is held to the code by names: each step is a function of the house, each way of a job is in its table.
"""

from dataclasses import replace
from functools import cache

import pytest

from gateway.jobs import states
from tests.model import explore, flight, life, walks
from tests.model.explore import BrokenModelError, Walk
from tests.model.world import Rules, World

#: So many states and transitions there must be at the least, or the model has become trivial.
FLOORS = {"from the order to the archive": (10_000, 50_000), "doubts, evidence and a second submit": (40_000, 240_000)}
BOTH = Rules(resubmit_once=True, evidence=True, to_the_end=False)


@cache
def walked(name: str) -> Walk[World]:
    """One walk, made once in each process of the tests."""
    return walks.of(walks.WALKS[name])[0]


@pytest.mark.parametrize("name", walks.WALKS)
def test_every_state_keeps_the_laws_and_leads_to_an_end(name: str) -> None:
    """Whatever dies, is late or is lost: one payment for a job, books that agree, no stray hold, always a way out."""
    found = walked(name)
    states_min, transitions_min = FLOORS[name]
    assert found.states >= states_min
    assert found.transitions >= transitions_min


def test_the_ways_of_the_model_are_the_houses() -> None:
    """A job goes the ways of ``states.WAYS``, and each of them is gone somewhere in the model."""
    gone = set[tuple[str, str]]().union(*(walks.ways(walked(name)) for name in walks.WALKS))
    assert gone == {(before.value, after.value) for before, those in states.WAYS.items() for after in those}


def test_only_a_doubt_lives_again() -> None:
    """The one kind of ended job that moves again is the one that failed as ``submission_unknown``."""
    assert set[str]().union(*(walks.revived(walked(name)) for name in walks.WALKS)) == {"submission_unknown"}


def test_each_step_is_a_function_of_the_house() -> None:
    """Each step that the house takes is named as the function that takes it, unless it is said to be planned."""
    taken = set[str]().union(*(walked(name).steps for name in walks.WALKS))
    ours = {step for step in taken if not step.startswith(walks.OUTSIDE)}
    assert [step for step in sorted(ours - life.PLANNED) if walks.function(step) is None] == []
    assert walks.named(life.PLANNED) == ours - life.PLANNED, "a step is written down and never taken"


@pytest.mark.parametrize(
    ("rules", "law"),
    [
        (Rules(intent_guarded=False), "is open of a job that is"),
        (replace(BOTH, resubmit_once=False, settle_when_quiet=False), "paid 2 times"),
        (Rules(ambiguity_is_a_state=False), "POST was"),
        (Rules(book_without_claim=False), "acceptance was thrown away"),
        (Rules(unsent_by_claim=False), "POST was flying"),
        (Rules(end_by_archive=False), "its picture is in the archive"),
        (Rules(sweeps=False), "no way to an end"),
        (replace(BOTH, resubmit_once=False, no_late_posts=False), "paid 2 times"),
    ],
    ids=["intent", "quiet", "ambiguity", "booking", "unsent", "archive", "sweeps", "late_posts"],
)
def test_without_a_guard_a_law_is_broken(rules: Rules, law: str) -> None:
    """The model can fail: each guard that is taken away is missed, and a shortest story tells how."""
    with pytest.raises(BrokenModelError, match=law) as broken:
        walks.of(rules)
    assert 3 <= len(broken.value.trace) <= 25


def test_a_flight_keeps_its_laws() -> None:
    """One submit for all who ask at once, one hold that moves with the lead, everybody gets an end."""
    found, ends = flight.explored()
    assert found.states > 300
    assert ends > 20
    assert [step for step in sorted(found.steps) if walks.function(step) is None] == []


def test_the_shortest_trace_is_found() -> None:
    """The explorer itself: the first broken state by the fewest steps, and the nearest state that leads nowhere."""

    def count(number: int) -> list[tuple[str, int]]:
        return [] if number == 9 else [("one", number + 1), ("two", number + 2)]

    with pytest.raises(BrokenModelError, match="seven") as broken:
        explore.walk(0, count, lambda number: "seven" if number == 7 else None, 100)
    assert len(broken.value.trace) == 1 + 4
    found = explore.walk(0, lambda number: count(number) if number < 8 else [], lambda _: None, 100)
    assert explore.all_reach(found, lambda number: number in (8, 9)) == 2
    with pytest.raises(BrokenModelError, match="no way"):
        explore.all_reach(found, lambda number: number == 8)
    with pytest.raises(BrokenModelError, match="more than 3 states"):
        explore.walk(0, count, lambda _: None, 3)
