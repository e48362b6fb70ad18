"""Small copies of pictures: of every kind that is kept, never larger, and never of what is no picture."""

import io

import pytest
from PIL import Image

from gateway.archive import keys
from gateway.images import picture, thumbnail


def drawn(form: str, width: int, height: int, mode: str = "RGB") -> bytes:
    """A picture of that form and size."""
    made = io.BytesIO()
    Image.new(mode, (width, height), (200, 60, 30) if mode == "RGB" else (200, 60, 30, 90)).save(made, form)
    return made.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "AVIF"])
@pytest.mark.parametrize(
    ("width", "height", "shown"), [(1360, 768, (480, 271)), (300, 900, (160, 480)), (64, 64, (64, 64))]
)
def test_a_copy_is_small_and_keeps_its_shape(form: str, width: int, height: int, shown: tuple[int, int]) -> None:
    """The copy is WebP, at most 480 pixels on its longer side, in the picture's proportions, never enlarged."""
    made = picture.inspect(thumbnail.make(drawn(form, width, height)))
    assert (made.content_type, made.width, made.height) == (thumbnail.CONTENT_TYPE, *shown)


def test_what_is_transparent_stays_so() -> None:
    """A picture with transparency keeps it."""
    with Image.open(io.BytesIO(thumbnail.make(drawn("PNG", 800, 800, "RGBA")))) as made:
        assert made.mode == "RGBA"


@pytest.mark.parametrize("data", [b"", b"no picture", drawn("PNG", 64, 64)[:-20], drawn("JPEG", 64, 64)[:40]])
def test_what_is_no_picture_has_no_copy(data: bytes) -> None:
    """Bytes that are no whole picture are refused in one way."""
    with pytest.raises(picture.NotAPicture):
        thumbnail.make(data)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    """A picture of more pixels than are ever sold is not decoded."""
    with pytest.raises(picture.NotAPicture, match="more than"):
        thumbnail.make(drawn("PNG", 101, 100), max_pixels=10_000)


@pytest.mark.parametrize(
    ("key", "copy"),
    [
        ("pictures/team_1/2026/11/23/job_1/0.png", "pictures/team_1/2026/11/23/job_1/0.thumb.webp"),
        ("pictures/team_1/2026/11/23/job_1/3.webp", "pictures/team_1/2026/11/23/job_1/3.thumb.webp"),
        ("0.png", "0.thumb.webp"),
    ],
)
def test_a_copy_lies_beside_its_picture(key: str, copy: str) -> None:
    """The copy's key follows from the picture's, and is another one."""
    assert keys.thumbnail(key) == copy
    assert keys.checked(copy) == copy
