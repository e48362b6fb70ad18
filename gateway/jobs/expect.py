"""When to look at a running job, by what its model took before. Pure arithmetic: reads no clock and no store.

Once enough was seen, the looks are those of ``inspection``: the least lag for about two looks a job. Each is moved a
little, job by job, so that what is known of durations stays sharp. Before anything was seen, the catalogue's typical
time is the guess, and idle capacity of the request budget may be used for earlier looks. Where the upstream calls back,
the call brings the look, and the schedule only has one for the call that never comes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.jobs import inspection
from gateway.jobs.inspection import Interval, Policy

#: How many of a model's last jobs speak for the next one.
MEMORY = 100
#: With fewer than this the catalogue still speaks, and early looks are worth their price.
ENOUGH = 3
#: With the submit that makes three requests a picture, with a little room for the late ones.
MEAN_LOOKS = 1.94

_LEAST_STEP_S = 0.3
#: How far a look may be moved, as a share of the way to it from the one before.
_DITHER_SHARE = 0.3
_RARELY = -0.8
_TAIL_STEPS = 4
_STEP_SHARE = 0.02
_GROWTH = 1.5
_LONGEST_STEP_S = 15.0
_PROBE_GROWTH = 1.8
_FIRST_PROBE_S = 0.5
#: The safety look comes after this share of what was seen, and later by this much.
_SURE_SHARE = 0.95
_SAFETY_SHARE = 0.1
_LEAST_SAFETY_S = 2.0


@dataclass(frozen=True)
class Look:
    """The next look, in seconds after acceptance."""

    at_s: float
    #: Only idle capacity is spent on it.
    probe: bool = False
    #: There for a call of the upstream's that does not come.
    safety: bool = False


@dataclass(frozen=True)
class Forecast:
    """What is expected of the next job of a model and resolution."""

    #: Where the durations lie, as far as anything says so, in seconds.
    earliest_s: float
    latest_s: float
    #: None until enough was seen.
    policy: Policy | None
    #: The upstream calls back.
    called: bool = False

    @property
    def guessed(self) -> bool:
        """Whether too little was seen to look by: then a look ahead of the guess is a probe."""
        return self.policy is None and not self.called

    def next_look(self, elapsed_s: float, dither: float = 0.0) -> Look:
        """The next look at a job that was unfinished after ``elapsed_s`` (0 when it was just accepted).

        ``dither``, from -1 to 1, is the job's own: it moves looks that are one of several.
        """
        if self.called:
            return Look(self._safety_s(elapsed_s), safety=True)
        if self.policy is None:
            return self._unlearned(elapsed_s)
        planned_s = self.policy.after(elapsed_s, _LEAST_STEP_S)
        if planned_s is None:
            least_s = max(_LEAST_STEP_S, (self.latest_s - self.earliest_s) / _TAIL_STEPS)
            return Look(elapsed_s + _step_s(elapsed_s - self.latest_s, least_s))
        # The last look moves for few, and only ahead: whom it misses waits long for the next.
        if planned_s < self.latest_s or dither < _RARELY:
            way_s = planned_s - max(elapsed_s, self.earliest_s)
            planned_s = min(planned_s + dither * _DITHER_SHARE * way_s, self.latest_s)
        return Look(max(planned_s, elapsed_s + _LEAST_STEP_S))

    def _safety_s(self, elapsed_s: float) -> float:
        first_s = self.latest_s + max(_LEAST_SAFETY_S, self.latest_s * _SAFETY_SHARE)
        if elapsed_s < first_s:
            return max(first_s, elapsed_s + _LEAST_STEP_S)
        return elapsed_s + _step_s(elapsed_s - self.latest_s, _LEAST_SAFETY_S)

    def _unlearned(self, elapsed_s: float) -> Look:
        if elapsed_s < self.latest_s:
            probe_s = max(_FIRST_PROBE_S, elapsed_s * _PROBE_GROWTH)
            if probe_s < self.latest_s:
                return Look(probe_s, probe=True)
            return Look(max(self.latest_s, elapsed_s + _LEAST_STEP_S))
        return Look(elapsed_s + _step_s(elapsed_s - self.latest_s, max(1.0, self.latest_s * _STEP_SHARE)))


def forecast(seen: Sequence[Interval], typical_s: float, *, called: bool = False) -> Forecast:
    """What to expect after what was ``seen``, newest first; the catalogue's word where that is too little."""
    highs = sorted(interval.high_s for interval in seen)
    if called:
        sure_s = highs[int((len(highs) - 1) * _SURE_SHARE)] if len(highs) >= ENOUGH else typical_s
        return Forecast(0.0, sure_s, None, called=True)
    if len(highs) < ENOUGH:
        return Forecast(0.0, max(highs, default=typical_s), None)
    moments_s = inspection.quantiles(seen)
    policy = inspection.plan(moments_s, MEAN_LOOKS, _LEAST_STEP_S)
    return Forecast(moments_s[0], moments_s[-1], policy)


def _step_s(late_s: float, least_s: float) -> float:
    """Steps that grow with the lateness: a job that is far out is not looked at every second."""
    return min(max(least_s, late_s * (_GROWTH - 1)), max(_LONGEST_STEP_S, least_s))
