"""A small copy of a picture, for lists of many. Pure work on bytes: never reads or writes a file.

Takes tens of milliseconds of CPU, so callers on an event loop run it in a thread.
"""

import io
from typing import Final

from PIL import Image

from gateway.images import picture

CONTENT_TYPE: Final = "image/webp"
#: The longer side; sharp at twice the density of the tiles it is shown in.
SIDE_PIXELS: Final = 480
_QUALITY: Final = 78


def make(data: bytes, *, max_pixels: int = picture.MAX_PIXELS) -> bytes:
    """The copy, as WebP; never larger than the picture. Raises ``NotAPicture`` as ``picture.inspect`` does."""
    with picture.opened(data, max_pixels=max_pixels) as found:
        # JPEG is decoded at a fraction of its size; other types pass this over.
        found.draft("RGB", (SIDE_PIXELS, SIDE_PIXELS))
        small = found.convert("RGBA" if found.has_transparency_data else "RGB")
    small.thumbnail((SIDE_PIXELS, SIDE_PIXELS), Image.Resampling.LANCZOS, reducing_gap=2.0)
    made = io.BytesIO()
    small.save(made, "WEBP", quality=_QUALITY, method=4)
    return made.getvalue()
