"""What a run says of the numbers to reach: reached, missed, or not measured."""

import pytest

from bench import __main__ as command
from bench import goals
from bench.figures import Row
from bench.goals import Goal, Verdict


def said(rows: list[Row], bench: str, figure: str) -> list[str]:
    """Return the verdicts on a figure of a measurement."""
    return [each.said for each in goals.judged(rows, [bench]) if each.goal.figure == figure]


@pytest.mark.parametrize(
    ("holds", "found", "expected"),
    [
        ("<", 3.0, "missed"),
        ("<", 2.9, "reached"),
        ("<=", 3.0, "reached"),
        (">=", 3.0, "reached"),
        (">=", 2.9, "missed"),
        (">=", None, "not measured"),
    ],
)
def test_a_bound_is_held_to_as_it_is_written(holds: str, found: float | None, expected: str) -> None:
    """What lies on the bound is reached where the goal includes it; what was not measured is neither."""
    assert Verdict(Goal("b", "c", "f", holds, 3.0), found).said == expected


def test_a_figure_whose_name_carries_its_rate_is_found() -> None:
    """A goal names the beginning of a case and of a figure; the first such row speaks."""
    rows = [Row("hits", "hit", {"% of GET floor": 41.0, "% of GET floor, by cpu": 12.0, "p99 ms at 150/s": 11.0})]
    assert said(rows, "hits", "% of GET floor") == ["reached"]
    assert said(rows, "hits", "p99 ms at") == ["missed"]


def test_a_peer_that_could_not_be_installed_is_not_measured() -> None:
    """A row that says why there is no figure reaches and misses nothing."""
    rows = [Row("peers", "LiteLLM", {"not measured": "no network"}), Row("peers", "Portkey 1", {"Torii/it": 2})]
    assert said(rows, "peers", "Torii/it") == ["not measured", "missed"]


def test_only_what_was_asked_for_is_judged() -> None:
    """A run of one measurement says nothing of the goals of the others, and each goal is of a measurement there is."""
    assert {each.goal.bench for each in goals.judged([], ["accept"])} == {"accept"}
    assert {goal.bench for goal in goals.GOALS} <= set(command.MEASUREMENTS)


def test_the_table_names_goal_and_finding() -> None:
    """Each verdict is a line with the goal in words, what was found, and the word for it."""
    (row,) = goals.table([Verdict(Goal("accept", "postgresql", "req/s", ">=", 300), 116.0)])
    assert row == Row("goals", "accept: postgresql", {"goal": "req/s >= 300", "found": 116.0, "verdict": "missed"})
