"""The names of objects: a function of the job alone, and never a way out of the archive."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import ids
from gateway.archive import keys

AT = datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))


def test_keys_are_pinned() -> None:
    """Pictures lie by team, UTC day and job, each with its sidecar beside it."""
    assert keys.picture("team_a", "job_b", 0, "png", AT) == "pictures/team_a/2026/02/28/job_b/0.png"
    assert keys.sidecar("team_a", "job_b", 0, AT) == "pictures/team_a/2026/02/28/job_b/0.json"


@given(st.datetimes(timezones=st.just(UTC)), st.integers(0, 3), st.sampled_from(["png", "jpg", "webp"]))
def test_every_key_is_accepted(at: datetime, position: int, extension: str) -> None:
    """Whatever ids the house makes, their keys are good ones."""
    key = keys.picture(ids.team(), ids.job(), position, extension, at)
    assert keys.checked(key) == key


@pytest.mark.parametrize(
    "key",
    ["", "/", "/a", "a/", "a//b", "..", "a/../b", "./a", ".torii-archive", "a/.b", "a b", "a\n", "a%2e", "ä", "a\\b"],
)
def test_keys_that_could_leave_the_archive(key: str) -> None:
    """Neither parents, nor hidden files, nor anything a store might read in another way is a key."""
    with pytest.raises(ValueError, match="not a key"):
        keys.checked(key)


@pytest.mark.parametrize(("team", "job", "extension"), [("a/b", "j", "png"), ("t", "..", "png"), ("t", "j", "p.g")])
def test_parts_stay_parts(team: str, job: str, extension: str) -> None:
    """No id can add a level to a key."""
    with pytest.raises(ValueError, match="not a part"):
        keys.picture(team, job, 0, extension, AT)


def test_positions_count_from_zero() -> None:
    """There is no picture before the first."""
    with pytest.raises(ValueError, match="not a position"):
        keys.sidecar("t", "j", -1, AT)


def test_what_lies_beside_a_picture_is_found_by_its_key() -> None:
    """The sidecar and the small copy of a picture are found by the picture's own key, whoever's job shows it."""
    at = datetime(2026, 11, 23, tzinfo=UTC)
    picture = keys.picture("team_a", "job_b", 1, "png", at)
    assert keys.beside(picture) == keys.sidecar("team_a", "job_b", 1, at)
    assert keys.thumbnail(picture) == picture.removesuffix(".png") + ".thumb.webp"
    assert (keys.beside("plain"), keys.thumbnail("plain")) == ("plain.json", "plain.thumb.webp")
    for bad in ("../x.png", "a//b.png", ".hidden"):
        with pytest.raises(ValueError, match="not a key"):
            keys.beside(bad)


def test_a_saved_picture_can_be_found_again() -> None:
    """A file is called after its job and its place there, and what is no key has no name."""
    assert keys.saved_as("pictures/team_1/2026/01/02/job_1/0.png") == "job_1-0.png"
    assert keys.saved_as("0.png") == "0.png"
    with pytest.raises(ValueError, match="not a key"):
        keys.saved_as('job/a".png')
