"""The best moments to look at a job: the estimate from intervals, and the plan made on it."""

import itertools
import random
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.jobs import inspection
from gateway.jobs.inspection import Interval, Policy

INTERVALS = st.lists(
    st.tuples(st.floats(0, 300), st.floats(0, 300)).map(lambda pair: Interval(min(pair), max(pair))),
    min_size=1,
    max_size=40,
)


def chosen(policy: Policy) -> list[int]:
    """The steps that a job which takes longest is looked at."""
    steps, last = [0], len(policy.moments_s) - 1
    while steps[-1] < last:
        steps.append(policy.following[steps[-1]])
    return steps[1:]


def cost(moments_s: Sequence[float], steps: Sequence[int]) -> tuple[float, float]:
    """Mean lag and mean looks of looking at these steps, added up one by one."""
    last = len(moments_s) - 1
    lag_s = looks = 0.0
    for cell in range(last):
        at = next(step for step in steps if step > cell)
        lag_s += (moments_s[at] - (moments_s[cell] + moments_s[cell + 1]) / 2) / last
        looks += (steps.index(at) + 1) / last
    return lag_s, looks


def every_schedule(last: int) -> Iterator[tuple[int, ...]]:
    """All ways to look at some of the steps and at the last one."""
    for count in range(last):
        for some in itertools.combinations(range(1, last), count):
            yield (*some, last)


@pytest.mark.parametrize("mean_looks", [1.2, 1.6, 2.0, 3.0])
@pytest.mark.parametrize("shape", [1.0, 2.0, 0.5])
def test_no_schedule_with_as_few_looks_lags_less(mean_looks: float, shape: float) -> None:
    """Of all schedules on ten steps none has both less lag and no more looks than the plan."""
    moments_s = [20 + 40 * (step / 10) ** shape for step in range(11)]
    policy = inspection.plan(moments_s, mean_looks, 0.0)
    lag_s, looks = cost(moments_s, chosen(policy))
    assert looks <= mean_looks + 1e-9
    assert looks == pytest.approx(policy.looks())
    for schedule in every_schedule(10):
        other_lag_s, other_looks = cost(moments_s, schedule)
        assert other_looks > looks - 1e-9 or other_lag_s >= lag_s - 1e-9 or other_looks < looks
        assert not (other_looks <= looks + 1e-9 and other_lag_s < lag_s - 1e-6)


def test_an_even_spread_is_looked_at_in_shrinking_steps() -> None:
    """From 20 to 60 s, two looks a job are best spent at 36, 48, 56 and 60 s: the optimum by hand."""
    policy = inspection.plan([20.0 + step for step in range(41)], 2.0, 0.3)
    found = [policy.moments_s[step] for step in chosen(policy)]
    assert found == pytest.approx([36, 48, 56, 60], abs=1.01)


@settings(max_examples=60, deadline=None)
@given(INTERVALS, st.floats(1.1, 4.0))
def test_a_plan_moves_forward_within_its_looks(seen: list[Interval], mean_looks: float) -> None:
    """Whatever was seen, the moments grow, the looks stay within what is allowed, and the last one is the end."""
    moments_s = inspection.quantiles(seen)
    assert len(moments_s) == inspection.STEPS + 1
    assert list(moments_s) == sorted(moments_s)
    assert moments_s[0] >= 0.0
    assert moments_s[-1] <= max(each.high_s for each in seen) + 0.06
    policy = inspection.plan(moments_s, mean_looks, 0.3)
    assert policy.looks() <= mean_looks + 1e-9
    steps = chosen(policy)
    assert steps == sorted(set(steps))
    assert steps[-1] == inspection.STEPS


def test_what_nobody_looked_into_is_as_dense_as_what_follows() -> None:
    """Two fifths found at the first look, at 36 s, and the rest evenly to 60 s: then the beginning was at 20 s."""
    seen = [Interval(0, 36)] * 16 + [Interval(36, 48)] * 12 + [Interval(48, 56)] * 8 + [Interval(56, 60)] * 4
    assert inspection.quantiles(seen)[0] == pytest.approx(20.0, abs=0.5)


def test_one_look_that_came_much_too_late_spoils_nothing() -> None:
    """A job that was found done after an outage tells little, and is taken to have been like the others."""
    seen = [Interval(43.5, 44.2)] * 20 + [Interval(43.0, 3000.0)]
    assert inspection.quantiles(seen)[-1] <= 50.0


def test_two_kinds_of_jobs_stay_apart() -> None:
    """Where none ends between the quick and the slow, no moment is put there."""
    seen = [Interval(19.5 + number / 40, 19.6 + number / 40) for number in range(30)]
    seen += [Interval(49.0 + number / 40, 49.1 + number / 40) for number in range(70)]
    between = [moment_s for moment_s in inspection.quantiles(seen) if 21 < moment_s < 48]
    assert between == []


def test_the_luck_of_a_few_jobs_does_not_bend_the_plan() -> None:
    """Of a hundred jobs spread evenly, the bends that chance makes from one step to the next are evened out."""
    chance = random.Random(8)  # noqa: S311  chance that can be repeated
    drawn = sorted(chance.uniform(20, 60) for _ in range(100))
    lucky_s = [drawn[min(99, int(step * 2.5))] for step in range(41)]
    moments_s = inspection.quantiles([Interval(each - 0.05, each) for each in drawn])
    assert bends(moments_s) < bends(lucky_s) / 4


def bends(moments_s: Sequence[float]) -> float:
    """How much the steps between moments differ from one to the next, summed up in seconds."""
    steps = [after - before for before, after in itertools.pairwise(moments_s)]
    return sum(abs(after - before) for before, after in itertools.pairwise(steps))
