"""Draws the pictures: real PNG, JPEG and WebP files, told apart by eye. Pure; the same order gives the same bytes."""

import hashlib
import io
import math
import textwrap
import types
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont, ImageOps

from emulator import stamp

MEGAPIXEL = 1024 * 1024
SIDE_LIMIT = 2048
SIDE_STEP = 16
TEXT_LIMIT = 300
TEXT_COLUMNS = 48
CONTENT_TYPES = types.MappingProxyType({"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"})


@dataclass(frozen=True, slots=True)
class Sketch:
    """All that decides a picture's bytes. `token` is hashed into colours and shapes; `caption` is written on it."""

    token: str
    caption: str
    width: int
    height: int
    format: str


def size(aspect_ratio: str, resolution: str) -> tuple[int, int]:
    """Width and height: area = MP x 1024 x 1024 at the ratio, sides multiples of 16, at most 2048.

    pixeldojo.md, "Suggested emulator behaviour"; a side above 2048 shrinks both.
    """
    across, down = (int(part) for part in aspect_ratio.split(":"))
    area = float(resolution.removesuffix(" MP")) * MEGAPIXEL
    width = math.sqrt(area * across / down)
    height = width * down / across
    shrink = min(1.0, SIDE_LIMIT / max(width, height))
    return _step(width * shrink), _step(height * shrink)


def draw(sketch: Sketch) -> bytes:
    """A two-colour gradient with shapes from the token's hash and the caption; about 20 ms a megapixel."""
    digest = hashlib.sha256(sketch.token.encode("utf-8", "replace")).digest()
    image = _background(digest, sketch.width, sketch.height)
    pen = ImageDraw.Draw(image)
    _shapes(pen, digest, sketch.width, sketch.height)
    _caption(pen, sketch)
    return _encode(image, sketch.format)


def plain(width: int, height: int, form: str) -> bytes:
    """A picture as cheap as can be, for load tests: the size is right, the rest is one colour."""
    return _encode(Image.new("RGB", (width, height), (120, 60, 160)), form)


def sized(picture: bytes, form: str, token: str, total_bytes: int) -> bytes:
    """Make a plain picture a file of its own: the token's hash inside, and filled up to `total_bytes`."""
    mark = hashlib.sha256(token.encode("utf-8", "replace")).hexdigest().encode()
    return stamp.put(picture, form, mark, total_bytes)


def _step(side: float) -> int:
    return max(SIDE_STEP, min(SIDE_LIMIT, round(side / SIDE_STEP) * SIDE_STEP))


def _background(digest: bytes, width: int, height: int) -> Image.Image:
    # One small gradient, turned and stretched by Pillow: no pixel passes through Python.
    ramp = Image.linear_gradient("L").rotate(90 * (digest[6] % 4)).resize((width, height), Image.Resampling.BILINEAR)
    return ImageOps.colorize(ramp, black=_colour(digest, 0), white=_colour(digest, 3))


def _colour(digest: bytes, at: int) -> tuple[int, int, int]:
    return digest[at], digest[at + 1], digest[at + 2]


def _shapes(pen: ImageDraw.ImageDraw, digest: bytes, width: int, height: int) -> None:
    for at in range(7, 27, 5):
        x, y = digest[at] * width // 255, digest[at + 1] * height // 255
        reach = min(width, height) // 16 + digest[at + 2] * min(width, height) // 1024
        box = (x - reach, y - reach, x + reach, y + reach)
        colour = _colour(digest, at + 2)
        if digest[at + 3] % 2:
            pen.ellipse(box, fill=colour)
        else:
            pen.rectangle(box, fill=colour)


def _caption(pen: ImageDraw.ImageDraw, sketch: Sketch) -> None:
    printable = "".join(letter if letter.isprintable() else " " for letter in sketch.caption[:TEXT_LIMIT])
    text = "\n".join(textwrap.wrap(printable.encode("utf-8", "replace").decode(), TEXT_COLUMNS))
    font = ImageFont.load_default(max(10, sketch.width // 40))
    spot = (sketch.width // 40, sketch.height // 40)
    pen.multiline_text(spot, text, fill=(255, 255, 255), font=font, stroke_width=2, stroke_fill=(0, 0, 0))


def _encode(image: Image.Image, form: str) -> bytes:
    out = io.BytesIO()
    if form == "png":
        image.save(out, "PNG", compress_level=1)
    elif form == "jpg":
        image.save(out, "JPEG", quality=85)
    else:
        image.save(out, "WEBP", quality=80, method=0)
    return out.getvalue()
