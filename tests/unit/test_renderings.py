"""Answers that were rendered a moment ago: when one is given again, and when it is made anew."""

from datetime import UTC, datetime, timedelta

from service import renderings
from service.renderings import Rendering, Renderings, half_seconds

AT = datetime(2026, 11, 23, 12, 0, 0, 100_000, tzinfo=UTC)
NAME = ("team_1", "job_1", "hit")


def test_one_is_given_while_nothing_has_changed() -> None:
    """The same value, details and remaining credits within the half second: the same bytes. Anything else: none."""
    source, details, kept = object(), {"a": 1}, Renderings()
    kept.keep(NAME, Rendering(source, details, 5, half_seconds(AT), b"{}"))
    found = kept.find(NAME, source, details, 5, AT + timedelta(milliseconds=399))
    assert found is not None
    assert found.body == b"{}"
    assert kept.find(NAME, source, details, 5, AT + timedelta(milliseconds=400)) is None
    assert kept.find(NAME, object(), details, 5, AT) is None
    assert kept.find(NAME, source, {"a": 1}, 5, AT) is None
    assert kept.find(NAME, source, details, 4, AT) is None
    assert kept.find(("team_2", "job_1", "hit"), source, details, 5, AT) is None


def test_memory_is_bounded() -> None:
    """However many jobs are read, no more answers are kept than the maximum, and none that is large."""
    source, kept = object(), Renderings()
    for number in range(renderings.MOST * 2 + 1):
        kept.keep(number, Rendering(source, None, None, half_seconds(AT), b"{}"))
    assert len(kept) <= renderings.MOST
    kept.keep("large", Rendering(source, None, None, half_seconds(AT), bytes(renderings.BYTES_MAX + 1)))
    assert kept.find("large", source, None, None, AT) is None
