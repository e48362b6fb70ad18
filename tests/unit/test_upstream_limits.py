"""What the upstream's headers say about pace."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream import limits
from gateway.upstream.limits import Notice

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TEXTS = st.text(max_size=30)


def unix(after_s: float) -> str:
    """A moment so many seconds from now, as Unix seconds."""
    return str(int((NOW + timedelta(seconds=after_s)).timestamp()))


def test_an_answer_that_says_nothing_asks_for_nothing() -> None:
    """Without headers a success changes no pace."""
    assert limits.notice(200, {}, NOW) == Notice()


@pytest.mark.parametrize(
    ("headers", "halt_s"),
    [
        ({}, limits.UNTOLD_HALT_S),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "86400"}, limits.LONGEST_HALT_S),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=9), usegmt=True)}, 9.0),
        ({"retry-after": "soon"}, limits.UNTOLD_HALT_S),
        ({"x-ratelimit-reset": unix(30)}, 30.0),
        ({"retry-after": "3", "x-ratelimit-reset": unix(30)}, 3.0),
    ],
)
def test_a_429_halts_for_as_long_as_it_says(headers: dict[str, str], halt_s: float) -> None:
    """Retry-After wins over the reset, either is bounded, and a refusal that names no time halts a little."""
    said = limits.notice(429, headers, NOW)
    assert said.refused
    assert said.halt_s == pytest.approx(halt_s)


@pytest.mark.parametrize(
    ("reset", "halt_s"),
    [
        (unix(20), 20.0),
        (unix(3600), limits.LONGEST_WINDOW_S),
        (unix(-5), 1.0),
        ("25", 25.0),
        (unix(20) + "000", 20.0),
        ("tomorrow", limits.UNTOLD_HALT_S),
        ("9" * 40, limits.UNTOLD_HALT_S),
    ],
)
def test_a_used_up_window_halts_until_its_reset(reset: str, halt_s: float) -> None:
    """Nothing remaining halts until the reset: Unix seconds, milliseconds or seconds from now, bounded, garbage too."""
    said = limits.notice(200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}, NOW)
    assert not said.refused
    assert said.halt_s == pytest.approx(halt_s)


def test_the_reset_is_by_the_upstreams_clock() -> None:
    """The Date header says what time it is there, however wrong our clock or theirs."""
    skewed = {"date": format_datetime(NOW + timedelta(hours=3), usegmt=True), "x-ratelimit-remaining": "0"}
    said = limits.notice(200, {**skewed, "x-ratelimit-reset": unix(3 * 3600 + 12)}, NOW)
    assert said.halt_s == pytest.approx(12.0)


def test_what_is_left_of_the_window_is_spread_over_it() -> None:
    """Ten requests for the next 30 s are 20 a minute; the limit is told beside it."""
    headers = {"x-ratelimit-limit": "60", "x-ratelimit-remaining": "10", "x-ratelimit-reset": unix(30)}
    assert limits.notice(200, headers, NOW) == Notice(limit_rpm=60, window_rpm=20.0, window_s=30.0)


@given(st.integers(200, 599), TEXTS, TEXTS, TEXTS, TEXTS, TEXTS)
def test_no_header_breaks_anything(status: int, retry: str, limit: str, remaining: str, reset: str, date: str) -> None:
    """Whatever the headers say, the halt is bounded and the rates are not negative."""
    headers = {
        "retry-after": retry,
        "x-ratelimit-limit": limit,
        "x-ratelimit-remaining": remaining,
        "x-ratelimit-reset": reset,
        "date": date,
    }
    said = limits.notice(status, headers, NOW)
    assert 0 <= said.halt_s <= limits.LONGEST_HALT_S
    assert (said.window_rpm or 0) >= 0
    assert 0 <= said.window_s <= limits.LONGEST_WINDOW_S
