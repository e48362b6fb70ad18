"""When to look at a running job."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.jobs import expect
from gateway.jobs.expect import Interval


def looks(duration_s: float, seen: list[Interval], typical_s: float = 44.0) -> list[float]:
    """The moments at which a job of that duration is looked at, the last one being the first that finds it done."""
    moments: list[float] = []
    elapsed_s = 0.0
    while elapsed_s < duration_s:
        elapsed_s = expect.next_look(elapsed_s, seen, typical_s).at_s
        moments.append(elapsed_s)
    return moments


def learn(durations: list[float]) -> list[tuple[int, float]]:
    """Run jobs one after the other, learning from each: looks and lag of each."""
    seen: list[Interval] = []
    results = []
    for duration_s in durations:
        moments = looks(duration_s, seen[: expect.MEMORY])
        seen.insert(0, Interval(moments[-2] if len(moments) > 1 else 0.0, moments[-1]))
        results.append((len(moments), moments[-1] - duration_s))
    return results


def test_steady_durations_are_met_with_two_looks_and_little_lag() -> None:
    """With the seed's durations, a learned model needs at most two looks on average and lags under 1.5 s."""
    results = learn([43.6, 44.2] * 50)[20:]
    assert sum(count for count, _ in results) / len(results) <= 2.0
    assert sorted(lag for _, lag in results)[len(results) // 2] <= 1.5


def test_a_model_that_became_quicker_is_relearned() -> None:
    """The estimate also shrinks: after a model got quicker, the lag comes down by itself."""
    results = learn([44.0] * 40 + [30.0] * 400)
    assert results[-1][1] < results[40][1] / 2


def test_early_looks_are_probes_until_something_was_learned() -> None:
    """Before anything was seen, looks ahead of the catalogue's typical time are marked as probes."""
    first = expect.next_look(0.0, [], 44.0)
    assert first.probe
    assert first.at_s == 0.5
    late = expect.next_look(44.0, [], 44.0)
    assert not late.probe


@given(
    st.floats(0, 5000),
    st.lists(st.tuples(st.floats(0, 200), st.floats(0, 200)), max_size=40),
    st.floats(0.5, 600),
)
def test_the_next_look_always_comes_later_and_not_for_ever(
    elapsed_s: float, seen: list[tuple[float, float]], typical_s: float
) -> None:
    """A look is always ahead of now, so that polling neither spins nor stops."""
    intervals = [Interval(min(pair), max(pair)) for pair in seen]
    look = expect.next_look(elapsed_s, intervals, typical_s)
    assert look.at_s >= elapsed_s + 0.2
    assert look.at_s <= elapsed_s + max(600.0, typical_s * 2)
