"""When looking at a job is worth a request: the best moments for what is known of durations. Pure and bounded.

Known are intervals: unfinished at one look, done at the next. ``quantiles`` makes a distribution of them, by the
self-consistent estimate for interval-censored times (Turnbull's) with one assumption more: what lies below the first
look of anyone is as dense as what lies just above it. ``plan`` then chooses the looks that cost the least expected lag
for a mean number of looks, by dynamic programming over that distribution.
"""

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

#: Steps of the distribution that a plan is made on: its cost grows with their square, and stays at some milliseconds.
STEPS = 40

_ROUNDS = 8
#: Where nobody was ever seen unfinished, the durations are taken to lie within this share below the first "done".
_BLIND_SHARE = 0.06
_NARROWEST_S = 0.05
#: So many steps to either side speak for a moment, a fifth of all.
_NEIGHBOURS = STEPS // 5
#: One step over more than this share of the whole is a gap between two kinds of jobs.
_GAP_SHARE = 0.25
_HALVINGS = 16
#: A look that saves less lag than this is not worth a request, however many are allowed.
_LEAST_GAIN_S = 0.02


@dataclass(frozen=True)
class Interval:
    """One job's duration, as far as looking at it told: more than ``low_s``, at most ``high_s`` seconds."""

    low_s: float
    high_s: float


@dataclass(frozen=True)
class Cell:
    """A stretch of time and the share of jobs that end in it, evenly."""

    low_s: float
    high_s: float
    share: float


@dataclass(frozen=True)
class Policy:
    """The best next look from each step of a distribution: ``following[i]`` is the step to look at after step i."""

    #: The distribution at equal steps of probability, from its beginning to its end.
    moments_s: tuple[float, ...]
    following: tuple[int, ...]

    def after(self, elapsed_s: float, least_s: float) -> float | None:
        """The next look after ``elapsed_s``, at least ``least_s`` later; none beyond the distribution's end."""
        step = max(bisect_right(self.moments_s, elapsed_s) - 1, 0)
        last = len(self.moments_s) - 1
        while step < last:
            step = self.following[step]
            if self.moments_s[step] >= elapsed_s + least_s:
                return self.moments_s[step]
        return None

    def looks(self) -> float:
        """How many looks a job takes on average."""
        last, step, mean = len(self.moments_s) - 1, 0, 0.0
        while step < last:
            mean += 1 - step / last
            step = self.following[step]
        return mean


def quantiles(seen: Sequence[Interval], steps: int = STEPS) -> tuple[float, ...]:
    """The distribution of what was seen, as ``steps + 1`` moments at equal steps of probability."""
    cells = _edged(_cells(seen), max(each.low_s for each in seen))
    bounds = [0.0, *itertools.accumulate(cell.share for cell in cells)]
    found = []
    for step in range(steps + 1):
        wanted = bounds[-1] * step / steps
        at = min(max(bisect_left(bounds, wanted) - 1, 0), len(cells) - 1)
        cell = cells[at]
        part = min(max((wanted - bounds[at]) / cell.share, 0.0), 1.0)
        found.append(cell.low_s + part * (cell.high_s - cell.low_s))
    return _smoothed(found)


def _smoothed(moments_s: Sequence[float]) -> tuple[float, ...]:
    """Each moment as a line through its neighbours has it: what a few jobs say of it alone is mostly luck.

    A plan fitted to the luck of a hundred jobs has an eighth more lag than one for the smoothed moments, in simulation.
    Local linear regression: straight stretches stay as they are, at the ends too. Not across a gap: there are two
    kinds of jobs then, and none that ends between them.
    """
    last = len(moments_s) - 1
    wide_s = (moments_s[last] - moments_s[0]) * _GAP_SHARE
    gaps = [at for at in range(last) if moments_s[at + 1] - moments_s[at] > wide_s]
    found, least_s = [], moments_s[0]
    for step, moment_s in enumerate(moments_s):
        first = max([0, *(at + 1 for at in gaps if at < step)])
        beyond = min([last, *(at for at in gaps if at >= step)]) + 1
        around = range(max(first, step - _NEIGHBOURS), min(beyond, step + _NEIGHBOURS + 1))
        if len(around) == 1:
            found.append(moment_s)
            continue
        middle = (around.start + around.stop - 1) / 2
        mean_s = sum(moments_s[at] for at in around) / len(around)
        square = sum((at - middle) ** 2 for at in around)
        slope = sum((at - middle) * (moments_s[at] - mean_s) for at in around) / square
        # A sharp bend may make the line dip or overshoot; a distribution does neither.
        least_s = min(max(least_s, mean_s + slope * (step - middle)), moments_s[last])
        found.append(least_s)
    return tuple(found)


def _cells(seen: Sequence[Interval]) -> list[Cell]:
    """The stretches between all ends of intervals, with the share of jobs that each has by mutual agreement."""
    highs = [max(each.high_s, _NARROWEST_S) for each in seen]
    lows = [max(min(each.low_s, high_s - _NARROWEST_S), 0.0) for each, high_s in zip(seen, highs, strict=True)]
    ends = sorted({0.0, *lows, *highs})
    spans = [(bisect_left(ends, low_s), bisect_left(ends, high_s)) for low_s, high_s in zip(lows, highs, strict=True)]
    shares = [1.0] * (len(ends) - 1)
    for _ in range(_ROUNDS):
        following = [0.0] * len(shares)
        for first, beyond in spans:
            whole = sum(shares[first:beyond])
            for at in range(first, beyond):
                following[at] += shares[at] / whole if whole else 1 / (beyond - first)
        shares = following
    total = sum(shares)
    return [
        Cell(low_s, high_s, share / total)
        for (low_s, high_s), share in zip(itertools.pairwise(ends), shares, strict=True)
        if share > total / 1000
    ]


def _edged(cells: list[Cell], unfinished_s: float) -> list[Cell]:
    """The same with its first cell cut to the density of what follows it: nobody has looked into its depth.

    ``unfinished_s`` is the latest moment at which any job was seen unfinished.
    """
    first, others = cells[0], cells[1:]
    width_s = first.high_s * _BLIND_SHARE
    mass, reach_s = 0.0, 0.0
    # Where nobody was ever seen unfinished that late, what follows is no evidence.
    for cell in others if unfinished_s >= first.high_s * (1 - _BLIND_SHARE) else ():
        mass, reach_s = mass + cell.share, cell.high_s - first.high_s
        if mass >= first.share:
            break
    if mass:
        width_s = reach_s * first.share / mass
    return [Cell(max(first.low_s, first.high_s - width_s), first.high_s, first.share), *others]


def plan(moments_s: Sequence[float], mean_looks: float, least_s: float) -> Policy:
    """The policy of least expected lag among those with at most ``mean_looks`` looks a job, ``least_s`` apart."""
    # The worth of a look, in seconds of lag, is what is searched for: the dearer, the fewer.
    cheap, dear = _LEAST_GAIN_S, len(moments_s) * max(moments_s[-1] - moments_s[0], 1.0)
    best = _priced(moments_s, cheap, least_s)
    if best.looks() <= mean_looks:
        return best
    best = _priced(moments_s, dear, least_s)
    for _ in range(_HALVINGS):
        middle = (cheap * dear) ** 0.5
        found = _priced(moments_s, middle, least_s)
        if found.looks() <= mean_looks:
            dear, best = middle, found
        else:
            cheap = middle
    return best


def _priced(moments_s: Sequence[float], price_s: float, least_s: float) -> Policy:
    """The policy of least lag when each look costs ``price_s``: from the end backwards, one step after the other."""
    last = len(moments_s) - 1
    middles = [0.0, *itertools.accumulate((low + high) / 2 for low, high in itertools.pairwise(moments_s))]
    cost, following = [0.0] * (last + 1), [last] * (last + 1)
    for step in range(last - 1, -1, -1):
        earliest_s = moments_s[step] + least_s if step else 0.0
        best = float("inf")
        for at in range(step + 1, last + 1):
            if moments_s[at] < earliest_s and at < last:
                continue
            lag = (at - step) * moments_s[at] - (middles[at] - middles[step])
            total = lag + price_s * (last - step) + cost[at]
            if total < best:
                best, following[step] = total, at
        cost[step] = best
    return Policy(tuple(moments_s), tuple(following))
