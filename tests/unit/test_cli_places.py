"""Where pictures are saved: names, and that nothing is overwritten or left half."""

from pathlib import Path

import pytest

from cli import places
from cli.failures import Failure, Status
from cli.places import Place

JOB = "job_" + "a" * 22


@pytest.mark.parametrize(
    ("out", "folder", "name"),
    [
        (None, ".", None),
        ("new", "new", None),
        ("new/", "new", None),
        ("dots.in/", "dots.in", None),
        ("gate.png", ".", "gate.png"),
        ("new/gate.JPEG", "new", "gate.JPEG"),
    ],
)
def test_what_out_means(out: str | None, folder: str, name: str | None) -> None:
    """A text that ends like a folder, or has no suffix, is one; else it names a file."""
    assert places.place(out) == Place(Path(folder), name)


def test_a_folder_with_a_dot_that_is_there(tmp_path: Path) -> None:
    """A folder that exists is a folder, whatever it is called."""
    (tmp_path / "v1.2").mkdir()
    assert places.place(str(tmp_path / "v1.2")) == Place(tmp_path / "v1.2")


@pytest.mark.parametrize(("name", "wanted"), [("a.png", "png"), ("a.JPEG", "jpg"), ("a.webp", "webp"), ("a.tif", None)])
def test_the_type_that_a_name_promises(name: str, wanted: str | None) -> None:
    """A known suffix is a type of picture."""
    assert Place(Path(), name).wanted_format == wanted


def test_names(tmp_path: Path) -> None:
    """A picture is called after its job and number, takes no other's name, and is not kept twice."""
    place = Place(tmp_path)
    first = place.save(b"one", JOB, 1, 2, "image/png")
    assert first.name == f"{JOB}-1.png"
    assert place.save(b"one", JOB, 1, 2, "image/png") == first
    assert place.save(b"two", JOB, 1, 2, "image/png").name == f"{JOB}-1.2.png"
    assert place.save(b"three", JOB, 2, 2, "image/jpeg").name == f"{JOB}-2.jpg"
    assert first.read_bytes() == b"one"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_users_name(tmp_path: Path) -> None:
    """The user's name is used as it is for one picture, and numbered for several."""
    place = Place(tmp_path, "gate.png")
    assert place.save(b"one", JOB, 1, 1, "image/png").name == "gate.png"
    assert place.save(b"two", JOB, 2, 3, "image/png").name == "gate-2.png"


def test_an_id_that_is_none(tmp_path: Path) -> None:
    """What a stranger's gateway calls a job cannot lead out of the folder."""
    path = Place(tmp_path).save(b"one", "../../etc/passwd", 1, 1, "text/html")
    assert path == tmp_path / "picture-1.bin"


def test_a_file_that_is_there(tmp_path: Path) -> None:
    """A file of that name is refused before anything is ordered."""
    (tmp_path / "gate.png").touch()
    with pytest.raises(Failure, match="exists") as found:
        Place(tmp_path, "gate.png").prepare()
    assert found.value.status is Status.MISTAKE


def test_trying_leaves_nothing(tmp_path: Path) -> None:
    """A folder is made and tried, and nothing stays in it."""
    Place(tmp_path / "a" / "b").prepare()
    assert list((tmp_path / "a" / "b").iterdir()) == []
