"""How hits are spelled in Redis and read again, and how an answer is kept there."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.reuse import answer, hits
from gateway.reuse.answer import Answer, Picture
from gateway.reuse.hits import Saved

AT = datetime(2026, 11, 23, 23, 59, 59, tzinfo=UTC)
ANSWER = Answer(
    version=1_795_000_000_000_000,
    team_id="team_a",
    key_id="k1",
    job_id="job_a",
    model="flux-2-max",
    cost_micros=2_000_000,
    ordered_at=AT,
    completed_at=AT,
    kept_at=AT,
    expires_at=None,
    checked_at=AT,
    pictures=(Picture("img_a", "pictures/a.png", "png", "image/png", 1024, 1024, 9, "00", None),),
)


@given(st.text(), st.text(), st.integers(0, 2**53), st.integers(0, 2**53))
def test_a_field_is_read_as_it_was_spelled(team: str, model: str, number: int, micros: int) -> None:
    """Whatever a team or model is called, its hits are counted under it and the day."""
    field = hits.field(team, model, AT).encode()
    counted = {b"n" + field: str(number).encode(), b"m" + field: str(micros).encode()}
    assert hits.read(counted) == [Saved(team, model, "2026-11-23", number, micros)]


@pytest.mark.parametrize(
    "counted",
    [
        {b"x": b"1"},
        {b"": b"1"},
        {b'n["a","b"]': b"1"},
        {b'n["a","b","c"]': b"many"},
        {b'n["a","b","c"]': b"-1"},
        {b'n["a","b","c"]': b"99999999999999999999"},
        {b'z["a","b","c"]': b"1"},
        {b"n\xff": b"1"},
    ],
)
def test_what_is_no_count_of_ours_is_left_out(counted: dict[bytes, bytes]) -> None:
    """Garbage in Redis neither stops the counting nor gets into the sums."""
    good = hits.field("team_a", "m", AT).encode()
    assert hits.read({**counted, b"n" + good: b"3"}) == [Saved("team_a", "m", "2026-11-23", 3, 0)]


def test_a_day_is_utc() -> None:
    """A hit counts for the day in UTC, whatever zone its moment is told in."""
    told = AT.astimezone(timezone(timedelta(hours=9)))
    assert hits.field("t", "m", told) == hits.field("t", "m", AT)


def test_an_answer_is_read_as_it_was_kept() -> None:
    """An answer comes back from its bytes as it was; what is none of this release's is none."""
    assert answer.decode(answer.encode(ANSWER)) == ANSWER
    for data in (b"", b"{}", answer.encode(ANSWER)[:-1], msgspec.msgpack.encode([1, 2])):
        assert answer.decode(data) is None


def test_an_answer_of_the_next_release_can_be_read() -> None:
    """Fields are only added at the end, so this release reads what the next one keeps."""
    more = [*msgspec.to_builtins(ANSWER, builtin_types=(datetime,)), "something new"]
    assert answer.decode(msgspec.msgpack.encode(more)) == ANSWER
