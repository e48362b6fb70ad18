"""When to look at a running job."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.jobs import expect
from gateway.jobs.expect import Forecast
from gateway.jobs.inspection import Interval

STARTS = [Interval(30.6, 44.1)] * expect.ENOUGH


def luck_of(seed: int) -> random.Random:
    """Luck that is the same in each run."""
    return random.Random(seed)  # noqa: S311


def looks(duration_s: float, expected: Forecast, luck: random.Random, late_s: float = 0.15) -> list[float]:
    """The moments at which a job of that duration is looked at, the last one being the first that finds it done."""
    moments = [0.0]
    while moments[-1] < duration_s:
        at_s = expected.next_look(moments[-1], luck.uniform(-1, 1)).at_s
        # A look takes place a little after it was due.
        moments.append(at_s + luck.uniform(0, late_s))
    return moments


def learn(durations_s: Iterable[float]) -> list[tuple[int, float]]:
    """Run jobs one after the other, learning from each: looks and lag of each."""
    luck = luck_of(7)
    seen, results = list(STARTS), []
    for duration_s in durations_s:
        moments = looks(duration_s, expect.forecast(seen[: expect.MEMORY], 44.0), luck)
        seen.insert(0, Interval(moments[-2], moments[-1]))
        results.append((len(moments) - 1, moments[-1] - duration_s))
    return results


def median_lag_s(results: list[tuple[int, float]]) -> float:
    """The middle of the lags."""
    return sorted(lag_s for _, lag_s in results)[len(results) // 2]


def mean_looks(results: list[tuple[int, float]]) -> float:
    """How many looks a job took."""
    return sum(count for count, _ in results) / len(results)


def test_steady_durations_are_met_with_two_looks_and_little_lag() -> None:
    """With the seed's durations, a learned model needs at most two looks on average and lags under 1.5 s."""
    luck = luck_of(1)
    results = learn(luck.uniform(43.6, 44.2) for _ in range(80))[20:]
    assert mean_looks(results) <= 2.0
    assert median_lag_s(results) <= 1.0


def test_a_spread_is_met_with_two_looks_and_bearable_lag() -> None:
    """With durations from 20 to 60 s two looks a job find it within 6 s of its end, half of the time."""
    results: list[tuple[int, float]] = []
    for seed in range(2, 12):
        luck = luck_of(seed)
        results += learn(luck.uniform(20, 60) for _ in range(200))[80:]
    assert mean_looks(results) <= 2.0
    assert median_lag_s(results) <= 6.0


@pytest.mark.parametrize(("before_s", "after_s"), [(44.0, 30.0), (30.0, 44.0)])
def test_a_model_that_changed_is_relearned(before_s: float, after_s: float) -> None:
    """After a model got quicker or slower, lag and looks are soon as they were."""
    results = learn([before_s] * 40 + [after_s] * 140)
    assert median_lag_s(results[-40:]) <= 1.0
    assert mean_looks(results[-40:]) <= 2.2


def test_early_looks_are_probes_until_something_was_learned() -> None:
    """Before anything was seen, looks ahead of the catalogue's typical time are marked as probes."""
    expected = expect.forecast([], 44.0)
    first = expected.next_look(0.0)
    assert first.probe
    assert first.at_s == 0.5
    assert not expected.next_look(44.0).probe
    assert expected.guessed


def test_where_the_upstream_calls_the_schedule_has_the_missing_call_only() -> None:
    """With calls the first look comes after what nearly all jobs took, learnt or not, and is no probe."""
    learnt = [Interval(at_s - 1, at_s) for at_s in range(20, 60)]
    for seen, sure_s in (([], 44.0), (learnt, 56.0)):
        look = expect.forecast(seen, 44.0, called=True).next_look(0.0)
        assert sure_s + 2 <= look.at_s <= sure_s * 1.3
        assert look.safety
        assert not look.probe


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0, 5000),
    st.lists(st.tuples(st.floats(0, 200), st.floats(0, 200)), max_size=40),
    st.floats(0.5, 600),
    st.floats(-1, 1),
    st.booleans(),
)
def test_the_next_look_always_comes_later_and_not_for_ever(
    elapsed_s: float, seen: list[tuple[float, float]], typical_s: float, dither: float, called: bool
) -> None:
    """A look is always ahead of now, so that polling neither spins nor stops."""
    intervals = [Interval(min(pair), max(pair)) for pair in seen]
    look = expect.forecast(intervals, typical_s, called=called).next_look(elapsed_s, dither)
    assert look.at_s >= elapsed_s + 0.2
    assert look.at_s <= elapsed_s + max(600.0, typical_s * 2)
