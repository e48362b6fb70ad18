"""Walks through all states of a small model, breadth first: says how a bad one is reached, and which lead nowhere.

A model is hashable states and named steps between them. A library for this would bring a language of its own for the
steps; what is needed is a queue, a dictionary of where each state came from, and a walk backwards.
"""

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)

#: What a state's neighbours are: the name of each step and where it leads.
Steps = Callable[[S], Iterable[tuple[str, S]]]


class BrokenModelError(AssertionError):
    """A state that must not be, or that leads nowhere, and the shortest way to it."""

    def __init__(self, what: str, trace: list[str]) -> None:
        super().__init__(f"{what}\n  " + "\n  ".join(trace))
        self.what = what
        self.trace = trace


@dataclass
class Walk(Generic[S]):
    """All that was reached from one state."""

    begin: S
    #: How each state was first reached: by which step, from where.
    came: dict[S, tuple[str, S] | None] = field(default_factory=dict)
    #: Where each state can be entered from.
    before: dict[S, list[S]] = field(default_factory=dict)
    steps: Counter[str] = field(default_factory=Counter)

    @property
    def states(self) -> int:
        """How many states there are."""
        return len(self.came)

    @property
    def transitions(self) -> int:
        """How many steps between them."""
        return self.steps.total()

    def trace(self, state: S) -> list[str]:
        """The shortest way to a state: each step, and what it made of the state."""
        lines = []
        at: S = state
        while (came := self.came[at]) is not None:
            lines.append(f"{came[0]:32} {at}")
            at = came[1]
        return [f"{'':32} {at}", *reversed(lines)]


def walk(begin: S, steps: Steps[S], wrong: Callable[[S], str | None], at_most: int) -> Walk[S]:
    """Every state that can be reached; ``BrokenModelError`` for the first that is wrong, or for more than so many."""
    found = Walk(begin, {begin: None}, {begin: []})
    line = deque([begin])
    while line:
        state = line.popleft()
        if complaint := wrong(state):
            raise BrokenModelError(complaint, found.trace(state))
        for name, after in steps(state):
            if after == state:
                continue
            found.steps[name] += 1
            if after not in found.came:
                found.came[after] = (name, state)
                found.before[after] = []
                line.append(after)
            found.before[after].append(state)
        if found.states > at_most:
            raise BrokenModelError(f"more than {at_most} states", found.trace(state))
    return found


def all_reach(found: Walk[S], end: Callable[[S], bool]) -> int:
    """How many ends there are; ``BrokenModelError`` for the nearest state that leads to none."""
    ends = [state for state in found.came if end(state)]
    leads = set(ends)
    line = deque(ends)
    while line:
        for state in found.before[line.popleft()]:
            if state not in leads:
                leads.add(state)
                line.append(state)
    stranded = next((state for state in found.came if state not in leads), None)
    if stranded is not None:
        raise BrokenModelError("no way to an end", found.trace(stranded))
    return len(ends)
