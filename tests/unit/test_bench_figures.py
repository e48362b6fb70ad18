"""What a measurement says of its samples: percentiles, the table, and the jobs that speak once a model is learnt."""

import pytest

from bench import figures, lag
from bench.figures import Row
from bench.lag import Story


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([7.0], 0.5, 7.0),
        ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0),
        ([1.0, 2.0, 3.0], 0.5, 2.0),
        ([float(number) for number in range(1, 101)], 0.99, 99.0),
        ([float(number) for number in range(1, 101)], 1.0, 100.0),
        ([float(number) for number in range(1, 101)], 0.0, 1.0),
        ([1.0, 2.0], 0.99, 2.0),
    ],
)
def test_percentiles_are_values_that_were_seen(values: list[float], share: float, expected: float) -> None:
    """A percentile is the nearest rank, never a value in between."""
    assert figures.percentile(values, share) == expected


def test_nothing_has_no_percentile() -> None:
    """Of no samples there is no percentile."""
    with pytest.raises(ValueError, match="nothing"):
        figures.percentile([], 0.5)


def test_the_table_has_a_line_for_each_case() -> None:
    """Each measurement is a table of its own, with a column for each figure that any case has."""
    rows = [
        Row("accept", "floor", {"req/s": 12345.6}),
        Row("accept", "sqlite", {"req/s": 150.4, "% of floor": 1.23456}),
        Row("lag", "all", {"jobs": 60}),
    ]
    assert figures.table(rows) == (
        "accept   req/s  % of floor\n"
        "floor   12,346\n"
        "sqlite     150        1.23\n"
        "\n"
        "lag  jobs\n"
        "all    60"
    )  # fmt: skip


def story(ordered_at: float, completed_at: float, calls: int = 3) -> Story:
    """Return a job that the upstream finished a second before."""
    return Story(ordered_at, completed_at - 1, completed_at, calls)


def test_only_later_jobs_show_what_was_learnt() -> None:
    """Once learnt are the jobs ordered after the third had ended, in whatever order they are told."""
    early = [story(0, 44), story(4, 48), story(8, 52), story(50, 94)]
    late = [story(52, 96), story(60, 104)]
    assert lag.after_learning([*late, *early], 3) == late
    assert lag.after_learning(early[:2], 3) == []


def test_lag_is_told_by_median_and_calls() -> None:
    """The figures are of the lag from the upstream's end, and the mean of the calls."""
    told = lag.told([story(0, 44, calls=2), story(4, 48, calls=5)])
    assert (told["jobs"], told["median s"], told["max s"]) == (2, 1.0, 1.0)
    assert (told["calls/picture"], told["most calls"]) == (3.5, 5)
