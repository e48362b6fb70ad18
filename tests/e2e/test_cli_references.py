"""`torii generate --reference` as people use it: a real gateway, the upstream fetching from it, and what goes wrong."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import editing, household
from tests.support.crooked import Fault, Kind
from tests.support.editing import MODEL, picture
from tests.support.household import Household, torii


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    """Give the tests of this file one gateway, that sells a model which starts from pictures."""
    catalogue = editing.catalogue(tmp_path_factory.mktemp("catalogue"))
    with household.household(tmp_path_factory.mktemp("gateway"), TORII_CATALOGUE=catalogue) as started:
        yield started


@pytest.fixture
def house(running: Household) -> Household:
    """Give the gateway with nothing wrong about it."""
    running.again()
    return running


def words(*references: str) -> list[str]:
    """A command that edits those pictures."""
    named = [word for each in references for word in ("--reference", each)]
    return ["generate", "the same in snow", "--model", MODEL, *named]


def test_a_file_goes_the_whole_way(house: Household, tmp_path: Path) -> None:
    """A file is brought, the upstream fetches it from the gateway, and the picture is saved; again pays nothing."""
    (tmp_path / "cat.png").write_bytes(picture())
    for _ in range(2):
        done = torii([*words("cat.png"), "--idempotency-key", "one"], tmp_path, house.away())
        assert done.returncode == 0, done.stderr
    assert "cat.png is upload_" in done.stderr
    assert "made before" in done.stderr
    assert Path(tmp_path / done.stdout.strip()).exists()
    sent = [job for job in house.emulator.books()["jobs"] if job["model"] == MODEL]
    assert [row["sha256"] for job in sent for row in job["references"]] == [hashlib.sha256(picture()).hexdigest()]


def test_a_lost_answer_brings_the_same_upload(house: Household, tmp_path: Path) -> None:
    """When the answer to an upload is lost it is brought again under the same key, and the order goes on."""
    (tmp_path / "cat.jpg").write_bytes(picture("blue", "JPEG"))
    house.crooked.wrong(Fault(Kind.CUT_AFTER, "POST", "/api/v1/uploads"))
    done = torii(words("cat.jpg"), tmp_path, house.away())
    assert done.returncode == 0, done.stderr
    first, second = house.crooked.requests("POST", "/api/v1/uploads")
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]


def test_mistakes_are_told_before_anything_is_ordered(house: Household, tmp_path: Path) -> None:
    """A file that is none, a model that takes none, and a parameter said twice end without an order."""
    (tmp_path / "cat.png").write_bytes(picture())
    before = house.submits()
    missing = torii(words("dog.png"), tmp_path, house.away())
    assert (missing.returncode, "dog.png" in missing.stderr) == (2, True)
    other = torii(["generate", "x", "--reference", "cat.png"], tmp_path, house.away())
    assert (other.returncode, "takes no reference images" in other.stderr) == (3, True)
    twice = torii([*words("cat.png"), "--param", "images=[]"], tmp_path, house.away())
    assert twice.returncode == 2
    unknown = torii(words("upload_none"), tmp_path, house.away())
    assert (unknown.returncode, "images[0]" in unknown.stderr) == (3, True)
    assert house.submits() == before
