"""When a key expires, as people write it."""

from datetime import UTC, datetime, timedelta

import pytest

from cli import expiry
from gateway import errors

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("45m", timedelta(minutes=45)),
        ("12h", timedelta(hours=12)),
        ("30d", timedelta(days=30)),
        ("8w", timedelta(weeks=8)),
    ],
)
def test_spans(text: str, span: timedelta) -> None:
    """A span counts from now."""
    assert expiry.moment(text, NOW) == NOW + span


@pytest.mark.parametrize("text", ["2027-01-31T00:00:00Z", "2027-01-31T01:00:00+01:00"])
def test_moments(text: str) -> None:
    """A moment is taken with its zone."""
    assert expiry.moment(text, NOW) == datetime(2027, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "30", "d", "30y", "-3d", "1.5h", "soon", "2027-01-31", "2027-01-31T00:00:00", "٣d"]
)
def test_neither(text: str) -> None:
    """Anything else is refused, a moment without a zone too, and both right forms are shown."""
    with pytest.raises(errors.InvalidParameter, match=r"30d or 8w.*2027-01-31T00:00:00Z") as caught:
        expiry.moment(text, NOW)
    assert caught.value.param == "expires"


def test_too_far_away() -> None:
    """A span beyond the calendar is refused, not a crash."""
    with pytest.raises(errors.InvalidParameter, match="too far away"):
        expiry.moment("999999999w", NOW)
