"""When to look at a running job: pure arithmetic over what its model took before. Reads no clock and no store.

Known are intervals, not durations: a job was unfinished at ``low_s`` and done at ``high_s`` after its acceptance. The
first look comes a little before the middle of what was seen, so that the estimate can also shrink; the next ones follow
in steps that grow. Before anything was seen, the catalogue's typical time is the middle, and idle capacity of the
request budget may be used for earlier looks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

#: How many of a model's last jobs speak for the next one.
MEMORY = 32
#: With fewer than this the catalogue still speaks, and early looks are worth their price.
ENOUGH = 3

_LEAST_STEP_S = 0.3
_STEP_SHARE = 0.02
_GROWTH = 1.5
_LONGEST_STEP_S = 15.0
_PROBE_GROWTH = 1.8
_FIRST_PROBE_S = 0.5


@dataclass(frozen=True)
class Interval:
    """One job's duration, as far as looking at it told: more than ``low_s``, at most ``high_s`` seconds."""

    low_s: float
    high_s: float


@dataclass(frozen=True)
class Look:
    """The next look, in seconds after acceptance; a ``probe`` is one that only idle capacity is spent on."""

    at_s: float
    probe: bool = False


def next_look(elapsed_s: float, seen: Sequence[Interval], typical_s: float) -> Look:
    """The next look at a job that was unfinished after ``elapsed_s`` (0 when it was just accepted)."""
    if len(seen) < ENOUGH:
        return _unlearned(elapsed_s, seen, typical_s)
    highs = sorted(interval.high_s for interval in seen)
    middle_s = highs[len(highs) // 2]
    late_s = highs[min(len(highs) - 1, len(highs) * 9 // 10)]
    least_s = max(_LEAST_STEP_S, middle_s * _STEP_SHARE)
    first_s = max(middle_s - least_s / 2, _LEAST_STEP_S)
    if elapsed_s < first_s:
        return Look(first_s)
    return Look(elapsed_s + _step_s(elapsed_s - first_s, max(least_s, (late_s - middle_s) / 2)))


def _unlearned(elapsed_s: float, seen: Sequence[Interval], typical_s: float) -> Look:
    if seen:
        typical_s = max(interval.high_s for interval in seen)
    if elapsed_s < typical_s:
        probe_s = max(_FIRST_PROBE_S, elapsed_s * _PROBE_GROWTH)
        return Look(probe_s, probe=True) if probe_s < typical_s else Look(typical_s)
    return Look(elapsed_s + _step_s(elapsed_s - typical_s, max(1.0, typical_s * _STEP_SHARE)))


def _step_s(late_s: float, least_s: float) -> float:
    """Steps that grow with the lateness: a job that is far out is not looked at every second."""
    return min(max(least_s, late_s * (_GROWTH - 1)), max(_LONGEST_STEP_S, least_s))
