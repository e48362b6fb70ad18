"""What `--reference` means, before anything is asked."""

from pathlib import Path

import pytest
import typer

from cli import references
from tests.support.editing import picture


def test_names_stay_as_they_are() -> None:
    """URLs and ids of uploads are not looked for on the disk."""
    words = ["https://pictures.example/a.png", "http://127.0.0.1/a.png", "upload_4fZk0Qm1Yx8Tb2Vn6Rc3Wd"]
    assert [(each.name, each.data) for each in references.read(words)] == [(word, None) for word in words]


@pytest.mark.parametrize(("kind", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")])
def test_a_file_is_read(tmp_path: Path, kind: str, media_type: str) -> None:
    """A file is taken whole, as what its first bytes say."""
    file = tmp_path / "picture"
    file.write_bytes(picture(kind=kind))
    (read,) = references.read([str(file)])
    assert (read.data, read.kind) == (picture(kind=kind), media_type)


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    """A file that is not there, a folder, no picture, or too large is a mistake of the command line."""
    text, large = tmp_path / "a.txt", tmp_path / "large.png"
    text.write_text("no picture")
    with large.open("wb") as file:
        file.write(picture())
        file.truncate(21 * 1024 * 1024)
    for wrong in (tmp_path / "none.png", tmp_path, text, large):
        with pytest.raises(typer.BadParameter, match=str(wrong.name)):
            references.read([str(wrong)])
