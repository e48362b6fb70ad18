"""When a webhook is tried again."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.webhooks import backoff

START = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_a_round_lasts_about_a_day() -> None:
    """Tried at once, then ever more seldom, eleven times in a little under a day; then it is over."""
    now, moments = START, [START]
    while (following := backoff.next_try(START, len(moments), now, chance=0.5)) is not None:
        now = following
        moments.append(now)
    gaps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(moments)]
    assert gaps == list(backoff.WAITS_S)
    assert gaps == sorted(gaps)
    assert timedelta(hours=20) < moments[-1] - START < backoff.LONGEST_ROUND


@given(tries=st.integers(1, 10), chance=st.floats(0, 1), told=st.none() | st.floats(0, 1e15))
def test_a_wait_is_bounded(tries: int, chance: float, told: float | None) -> None:
    """No wait is shorter than its step by more than the jitter, nor does what was told reach beyond the round's end."""
    at = backoff.next_try(START, tries, START, chance=chance, told_s=told)
    assert at is not None
    wait_s, step_s = (at - START).total_seconds(), backoff.WAITS_S[tries - 1]
    assert wait_s >= step_s * (1 - backoff.JITTER) - 0.001
    assert wait_s <= (step_s * (1 + backoff.JITTER) if told is None else 86_400) + 0.001


def test_what_the_receiver_told_is_heeded() -> None:
    """A longer wait that was asked for is kept, a shorter one is not."""
    for told_s, expected_s in ((600.0, 600.0), (1.0, 5.0), (1e9, 86_400.0)):
        assert backoff.next_try(START, 1, START, chance=0.5, told_s=told_s) == START + timedelta(seconds=expected_s)


def test_a_round_ends_with_its_day() -> None:
    """However few its tries were, a round of a day is over."""
    assert backoff.next_try(START, 2, START + timedelta(hours=24), chance=0.5) is None
    assert backoff.next_try(START, 2, START + timedelta(hours=23), chance=0.5) is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("99999999999999999999999999", 999_999_999_999.0),
        ("Mon, 23 Nov 2026 12:01:30 GMT", 90.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("\u0663", None),
        ("Mon, 99 Nov 2026 12:01:30 GMT", None),
        ("Mon, 23 Nov 99999999999 12:01:30 GMT", None),
    ],
)
def test_retry_after_is_read_or_ignored(text: str, expected: float | None) -> None:
    """Seconds and dates are understood; whatever else a receiver says changes nothing."""
    assert backoff.told_s({"retry-after": text}, START) == expected
