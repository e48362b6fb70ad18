"""What the bytes of a picture are, found by decoding all of them. Never trusts a name or a header, never writes a file.

Takes milliseconds of CPU (12 for a PNG of 1 MP), so callers on an event loop run it in a thread.
"""

import hashlib
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from PIL import ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from gateway.images import anatomy

#: Eight times the largest picture that is sold (4 MP); decoded, it takes 128 MiB.
MAX_PIXELS = 32 * 1024 * 1024


class NotAPicture(Exception):
    """These bytes are not a whole picture of a known type."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Picture:
    """The facts about a picture's bytes. Sides are in pixels, as stored; ``sha256`` is in hexadecimal."""

    content_type: str
    extension: str
    width: int
    height: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Form:
    content_type: str
    extension: str
    # The decoder's own class: Image.open would guess among dozens, and warn by a limit that is global.
    decoder: type[ImageFile.ImageFile]
    begins: re.Pattern[bytes]
    ends: Callable[[bytes], bool]
    crowded: Callable[[bytes], bool]


def extension(content_type: str) -> str | None:
    """The ending of files of that type, as ``inspect`` names both; none for a type that it does not know."""
    return next((form.extension for form in _FORMS if form.content_type == content_type), None)


def kind(data: bytes) -> str | None:
    """The type that the bytes begin like, none for one that is not known; nothing is decoded."""
    return next((form.content_type for form in _FORMS if form.begins.match(data)), None)


def inspect(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture that these bytes are: PNG, JPEG, WebP, GIF or AVIF, whole and decodable.

    Raises ``NotAPicture`` with a short reason, for a picture of more than ``max_pixels``, or of more parts than any
    encoder makes, before it is decoded.
    """
    form = _form(data)
    with _decoding(form):
        width, height = _decode(form, data, max_pixels)
    return Picture(
        content_type=form.content_type,
        extension=form.extension,
        width=width,
        height=height,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


@contextmanager
def opened(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Iterator[ImageFile.ImageFile]:
    """The picture of these bytes, to be decoded within the block; raises ``NotAPicture`` there as ``inspect`` does."""
    form = _form(data)
    with _decoding(form):
        yield _sized(form, data, max_pixels)


def _form(data: bytes) -> _Form:
    form = next((form for form in _FORMS if form.begins.match(data)), None)
    if form is None:
        raise NotAPicture("no known type of picture" if data else "empty")
    if not form.ends(data):
        raise NotAPicture(f"{form.extension}: truncated")
    if form.crowded(data):
        raise NotAPicture(f"{form.extension}: has too many parts")
    return form


@contextmanager
def _decoding(form: _Form) -> Iterator[None]:
    try:
        yield
    except (NotAPicture, MemoryError):  # a machine short of memory says nothing about the picture
        raise
    except Exception as error:  # on hostile bytes a decoder may raise anything
        raise NotAPicture(f"{form.extension}: {str(error)[:100] or type(error).__name__}") from error


def _sized(form: _Form, data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    found = form.decoder(io.BytesIO(data))
    width, height = found.size
    if width * height > max_pixels:
        raise NotAPicture(f"{form.extension}: {width} x {height} is more than {max_pixels} pixels")
    return found


def _decode(form: _Form, data: bytes, max_pixels: int) -> tuple[int, int]:
    # Two opens, because verify() leaves nothing to load, and each of the two misses some truncations.
    found = _sized(form, data, max_pixels)
    found.verify()
    form.decoder(io.BytesIO(data)).load()
    return found.size


def _whole_png(data: bytes) -> bool:
    return b"IEND\xaeB\x60\x82" in data  # the last chunk's name and checksum


def _whole_riff(data: bytes) -> bool:
    return len(data) >= 8 + int.from_bytes(data[4:8], "little")


def _whole_gif(data: bytes) -> bool:
    return data.rstrip(b"\0").endswith(b";")


def _whatever(_data: bytes) -> bool:
    return True


def _never(_data: bytes) -> bool:
    return False


# What must stand at the end is asked only where decoding was seen to miss the loss of the last bytes.
_FORMS = (
    _Form("image/png", "png", PngImageFile, re.compile(rb"\x89PNG\r\n\x1a\n"), _whole_png, anatomy.crowded_png),
    _Form("image/jpeg", "jpg", JpegImageFile, re.compile(rb"\xff\xd8\xff"), _whatever, anatomy.crowded_jpeg),
    _Form("image/webp", "webp", WebPImageFile, re.compile(rb"RIFF....WEBP", re.DOTALL), _whole_riff, _never),
    _Form("image/gif", "gif", GifImageFile, re.compile(rb"GIF8[79]a"), _whole_gif, _never),
    _Form("image/avif", "avif", AvifImageFile, re.compile(rb"....ftyp(avif|avis|mif1)", re.DOTALL), _whatever, _never),
)

#: What the archive calls pictures of those types.
EXTENSIONS: Final = tuple(form.extension for form in _FORMS)
