"""Which bytes are a picture, and which only look like one."""

import hashlib
import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gateway.images import anatomy, picture

SIDES = (96, 64)


def encoded(form: str, size: tuple[int, int] = SIDES, **options: object) -> bytes:
    """A picture of noise, which no format can make very small."""
    noise = Image.effect_noise(size, 60).convert("RGB")
    stream = io.BytesIO()
    noise.save(stream, form, **options)
    return stream.getvalue()


PICTURES = {
    "png": encoded("PNG"),
    "jpeg": encoded("JPEG", quality=95),
    "progressive jpeg": encoded("JPEG", progressive=True),
    "webp": encoded("WEBP"),
    "lossless webp": encoded("WEBP", lossless=True),
    "gif": encoded("GIF"),
    "avif": encoded("AVIF"),
}


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header promises these sides, with a valid checksum and next to no data."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "content_type", "extension"),
    [
        ("png", "image/png", "png"),
        ("jpeg", "image/jpeg", "jpg"),
        ("progressive jpeg", "image/jpeg", "jpg"),
        ("webp", "image/webp", "webp"),
        ("lossless webp", "image/webp", "webp"),
        ("gif", "image/gif", "gif"),
        ("avif", "image/avif", "avif"),
    ],
)
def test_a_whole_picture_is_told_by_its_bytes(name: str, content_type: str, extension: str) -> None:
    """Type, sides, size and hash of a whole picture are read from its bytes alone."""
    data = PICTURES[name]
    assert picture.inspect(data) == picture.Picture(
        content_type=content_type,
        extension=extension,
        width=96,
        height=64,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


@pytest.mark.parametrize("tenths", range(10))
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_cut_at_any_tenth_is_refused(name: str, tenths: int) -> None:
    """A picture of which only the first 0, 10 ... 90 % arrived is no picture."""
    data = PICTURES[name]
    with pytest.raises(picture.NotAPicture):
        picture.inspect(data[: len(data) * tenths // 10])


@pytest.mark.parametrize("missing_bytes", [1, 2, 4, 8, 12, 16])
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_without_its_last_bytes_is_refused(name: str, missing_bytes: int) -> None:
    """A picture that lacks only its end is no picture either."""
    with pytest.raises(picture.NotAPicture):
        picture.inspect(PICTURES[name][:-missing_bytes])


def test_a_wrong_checksum_is_refused() -> None:
    """A PNG whose pixels decode but whose checksum does not fit was damaged on its way."""
    data = bytearray(PICTURES["png"])
    data[data.rfind(b"IEND") - 6] ^= 1  # within the last data chunk's checksum
    with pytest.raises(picture.NotAPicture, match="checksum"):
        picture.inspect(bytes(data))


def test_bytes_after_the_end_do_no_harm() -> None:
    """A paid picture is not thrown away for what some encoder left behind its end."""
    for name in ("png", "jpeg", "webp"):
        assert picture.inspect(PICTURES[name] + b"\0trailing").width == 96


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("mode", ["L", "P", "RGBA"])
def test_other_colour_modes_are_pictures(name: str, mode: str) -> None:
    """Grey, palette and transparent pictures are pictures wherever the format can hold them."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "red").convert("RGB" if name == "jpeg" and mode != "L" else mode).save(stream, name)
    assert picture.inspect(stream.getvalue()).height == 8


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"<html>502 Bad Gateway</html>",
        b'{"error": "gone"}',
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        encoded("TIFF"),
        encoded("BMP"),
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\0\0\0\0WEBP",
        b"GIF89a;",
        b"\0\0\0\x20ftypavif",
        png_of(0, 10),
        png_of(8, 8),
    ],
)
def test_anything_else_is_no_picture(data: bytes) -> None:
    """Error pages, other formats, bare headers and pictures of no size are refused with a short reason."""
    with pytest.raises(picture.NotAPicture) as caught:
        picture.inspect(data)
    assert 0 < len(caught.value.reason) < 150


def of_many_parts() -> dict[str, bytes]:
    """Small files by which a decoder would be held up, all of them whole pictures but for that."""
    jpeg, png = PICTURES["jpeg"], PICTURES["png"]
    scans = PICTURES["progressive jpeg"]
    again = scans[scans.rfind(b"\xff\xda") : -2]
    empty = b"\0\0\0\0zzZz" + struct.pack(">I", zlib.crc32(b"zzZz"))
    return {
        "scans": scans[:-2] + again * anatomy.SCANS_MAX + b"\xff\xd9",
        "scans behind a marker of no length": scans[:-2] + b"\xff\x01" + again * anatomy.SCANS_MAX + b"\xff\xd9",
        "comments": jpeg[:2] + b"\xff\xfe\0\2" * anatomy.PIECES_MAX + jpeg[2:],
        "beginnings": b"\xff\xd8" * anatomy.PIECES_MAX + jpeg,
        "ends before the first scan": jpeg[:2] + b"\xff\xd9" * anatomy.PIECES_MAX + jpeg[2:],
        "fill": jpeg[:2] + b"\xff" * 100_000 + jpeg[2:],
        "nothing but fill": b"\xff\xd8" + b"\xff" * 100_000,
        "restarts before the first scan": jpeg[:2] + b"\xff\xd0" * 50_000,
        "chunks": png[:33] + empty * anatomy.PIECES_MAX + png[33:],
    }


@pytest.mark.parametrize("name", of_many_parts())
def test_a_picture_of_too_many_parts_is_refused_before_it_is_decoded(name: str) -> None:
    """A decoder works for each scan, segment and chunk, however small, so a file of very many is no picture."""
    with pytest.raises(picture.NotAPicture, match="too many parts"):
        picture.inspect(of_many_parts()[name])


def test_what_encoders_and_cameras_make_is_not_too_much() -> None:
    """A few scans more, a long profile, padding, a preview within, and whatever follows the end do no harm."""
    jpeg, scans = PICTURES["jpeg"], PICTURES["progressive jpeg"]
    again = scans[scans.rfind(b"\xff\xda") : -2]
    preview = b"\xff\xe2\xff\xff" + (scans * 100)[:65_533]
    for data in (
        scans[:-2] + again * 50 + b"\xff\xd9",
        jpeg[:2] + preview * 20 + b"\xff" * 4096 + jpeg[2:],
        jpeg + b"\xff\xda" * 1000,
        PICTURES["png"] + b"\0" * 12 * anatomy.PIECES_MAX,
        encoded("JPEG", restart_marker_blocks=1),
    ):
        assert picture.inspect(data).width == 96


@pytest.mark.parametrize("sides", [(8_193, 4_096), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_refused_by_its_header(sides: tuple[int, int]) -> None:
    """A header that promises more pixels than allowed is refused before anything is decoded, and without a warning."""
    with pytest.raises(picture.NotAPicture, match="more than 33554432 pixels"):
        picture.inspect(png_of(*sides))


def test_the_limit_of_pixels_is_the_callers() -> None:
    """A picture of exactly the allowed pixels passes, and of one less allowed is refused."""
    assert picture.inspect(PICTURES["png"], max_pixels=96 * 64).width == 96
    with pytest.raises(picture.NotAPicture):
        picture.inspect(PICTURES["png"], max_pixels=96 * 64 - 1)


def test_the_limit_holds_for_every_format() -> None:
    """No format reaches its decoder with more pixels than allowed."""
    for data in PICTURES.values():
        with pytest.raises(picture.NotAPicture, match="more than 100 pixels"):
            picture.inspect(data, max_pixels=100)


@given(st.sampled_from(sorted(PICTURES)), st.integers(0), st.binary(min_size=1, max_size=4))
def test_damaged_bytes_raise_nothing_else(name: str, place: int, damage: bytes) -> None:
    """Whatever befalls the bytes, the answer is a picture or NotAPicture."""
    data = bytearray(PICTURES[name])
    start = place % len(data)
    data[start : start + len(damage)] = damage
    try:
        found = picture.inspect(bytes(data))
    except picture.NotAPicture:
        return
    assert found.width * found.height <= picture.MAX_PIXELS


@given(st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x20\0\0\0WEBPVP8 ", b"GIF89a"]), st.binary())
def test_noise_raises_nothing_else(head: bytes, noise: bytes) -> None:
    """Noise behind any format's first bytes is NotAPicture."""
    with pytest.raises(picture.NotAPicture):
        picture.inspect(head + noise)
