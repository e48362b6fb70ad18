"""The emulator's pictures: sizes, formats, and that one order is one picture."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from emulator import picture, stamp

RATIOS = ("1:1", "16:9", "9:16", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3")
FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}


def _sketch(seen: str = "a", caption: str = "gate", form: str = "png") -> picture.Sketch:
    return picture.Sketch(seen, caption, 256, 144, form)


def _opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("resolution", ["0.5 MP", "1 MP", "2 MP", "4 MP"])
def test_a_size_keeps_the_ratio_and_the_limits(ratio: str, resolution: str) -> None:
    """Sides are multiples of 16, at most 2048, near the ratio, and no larger in area than ordered by more than 4 %."""
    width, height = picture.size(ratio, resolution)
    across, down = (int(part) for part in ratio.split(":"))
    area = float(resolution.removesuffix(" MP")) * 1024 * 1024
    assert width % 16 == height % 16 == 0
    assert max(width, height) <= 2048
    assert width / height == pytest.approx(across / down, rel=0.03)
    assert width * height <= area * 1.04


def test_the_square_sizes_are_the_known_ones() -> None:
    """One megapixel is 1024 x 1024, four are 2048 x 2048."""
    assert picture.size("1:1", "1 MP") == (1024, 1024)
    assert picture.size("1:1", "4 MP") == (2048, 2048)


@pytest.mark.parametrize("form", FORMATS)
def test_a_picture_is_a_real_file_of_its_format(form: str) -> None:
    """Each format decodes as what it says, in the size ordered."""
    image = _opened(picture.draw(_sketch(form=form)))
    assert image.format == FORMATS[form]
    assert image.size == (256, 144)


def test_the_same_order_is_the_same_picture() -> None:
    """The same sketch gives the same bytes, another token another picture."""
    assert picture.draw(_sketch("a")) == picture.draw(_sketch("a"))
    colours = {_opened(picture.draw(_sketch(token, ""))).resize((1, 1)).getpixel((0, 0)) for token in "abcdefgh"}
    assert len(colours) == 8


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet=st.characters(), max_size=400))
def test_any_text_can_be_drawn(text: str) -> None:
    """No prompt makes the drawing fail, lone surrogates and control characters included."""
    assert picture.draw(_sketch(text, text)).startswith(b"\x89PNG")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("total_bytes", [0, 20_000, 300_001])
def test_a_stamped_file_is_still_the_same_picture(form: str, total_bytes: int) -> None:
    """Stamping fills a file up to the bytes asked for and changes no pixel."""
    plain = picture.plain(160, 96, form)
    filled = stamp.put(plain, form, b"mark", total_bytes)
    assert _opened(filled).tobytes() == _opened(plain).tobytes()
    if total_bytes:
        assert abs(len(filled) - total_bytes) <= 32


@pytest.mark.parametrize("form", FORMATS)
def test_plain_pictures_of_two_jobs_are_two_files(form: str) -> None:
    """A load test's pictures differ from job to job, so that no archive stores them as one."""
    plain = picture.plain(160, 96, form)
    first, second = (picture.sized(plain, form, token, 10_000) for token in ("a", "b"))
    assert first != second
    assert len(first) == len(second)
