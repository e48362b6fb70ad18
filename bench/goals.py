"""The numbers to reach, and what a run found beside each. Pure; a goal that was missed fails nothing."""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from bench.figures import Figure, Row

_HOLDS: Final[Mapping[str, Callable[[float, float], bool]]] = MappingProxyType(
    {"<": operator.lt, "<=": operator.le, ">=": operator.ge}
)


@dataclass(frozen=True)
class Goal:
    """One number to reach: of the cases whose name begins so, the figure whose name begins so."""

    bench: str
    case: str
    figure: str
    holds: str
    bound: float
    unit: str = ""

    @property
    def asked(self) -> str:
        """The goal in words."""
        return f"{self.figure} {self.holds} {self.bound:g}{self.unit}"


@dataclass(frozen=True)
class Verdict:
    """What a run found of a goal; none when it did not measure that."""

    goal: Goal
    found: float | None

    @property
    def said(self) -> str:
        """``reached``, ``missed``, or ``not measured``."""
        if self.found is None:
            return "not measured"
        return "reached" if _HOLDS[self.goal.holds](self.found, self.goal.bound) else "missed"


def _lag(case: str, bound_s: float) -> tuple[Goal, Goal]:
    return Goal("lag", case, "median s", "<=", bound_s), Goal("lag", case, "calls/picture", "<=", 3)


GOALS: Final = (
    Goal("hits", "hit", "% of GET floor", ">=", 40, " %"),
    Goal("hits", "hit", "p99 ms at", "<", 10, " ms"),
    Goal("reads", "sqlite", "% of GET floor", ">=", 40, " %"),
    Goal("reads", "postgresql", "% of GET floor", ">=", 40, " %"),
    Goal("accept", "postgresql", "req/s", ">=", 300),
    Goal("accept", "postgresql", "p99 ms at", "<", 50, " ms"),
    *_lag("43.6 to 44.2 s, polling: once learnt", 1.5),
    *_lag("20 to 60 s, polling: once learnt", 6),
    *_lag("20 to 60 s, called: all", 1.5),
    Goal("flight", "the worker", "most MiB", "<", 300, " MiB"),
    Goal("flight", "the worker", "cores used", "<", 1),
    Goal("flight", "the worker", "lag median s", "<=", 1.5, " s"),
    Goal("flight", "the worker", "calls/picture", "<=", 3),
    # What an allocator keeps for itself comes and goes by as much.
    Goal("memory", "serve", "MiB grown", "<", 3, " MiB"),
    Goal("memory", "work", "MiB grown", "<", 3, " MiB"),
    Goal("peers", "LiteLLM", "Torii/it", ">=", 20, " times"),
    Goal("peers", "Portkey", "Torii/it", ">=", 3, " times"),
    Goal("coldstart", "first start", "first picture s", "<", 90, " s"),
    Goal("coldstart", "second start", "ready s", "<", 5, " s"),
)


def judged(rows: Sequence[Row], measured: Iterable[str]) -> list[Verdict]:
    """A verdict on each goal of the measurements that were asked for."""
    names = set(measured)
    return [Verdict(goal, _found(rows, goal)) for goal in GOALS if goal.bench in names]


def table(verdicts: Sequence[Verdict]) -> list[Row]:
    """The verdicts as rows of one table."""
    return [
        Row(
            "goals",
            f"{verdict.goal.bench}: {verdict.goal.case}",
            {
                "goal": verdict.goal.asked,
                "found": "" if verdict.found is None else verdict.found,
                "verdict": verdict.said,
            },
        )
        for verdict in verdicts
    ]


def _found(rows: Sequence[Row], goal: Goal) -> float | None:
    named = [row for row in rows if row.bench == goal.bench and row.case.startswith(goal.case)]
    found = [_figure(row.figures, goal.figure) for row in named]
    return next((value for value in found if value is not None), None)


def _figure(figures: Mapping[str, Figure], name: str) -> float | None:
    exact = figures.get(name)
    value = exact if exact is not None else next((figures[key] for key in figures if key.startswith(name)), None)
    return None if value is None or isinstance(value, str) else float(value)
