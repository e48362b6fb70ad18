"""A catalogue with a model that starts from pictures, and pictures to start from."""

import io
from pathlib import Path

from PIL import Image

MODEL = "p-image-edit"
PARAMETER = "images"
CREDIT = 1_000_000

_CATALOGUE = """
[[parameters.edit]]
name = "prompt"
type = "string"
required = true
max_length = 10_000
description = "What is to change."

[[parameters.edit]]
name = "num_outputs"
type = "integer"
default = 1
minimum = 1
maximum = 4
description = "How many pictures."

[[parameters.edit]]
name = "seed"
type = "integer"
minimum = 0
maximum = 2147483647
description = "The same seed, the same picture."

[[model]]
api_id = "p-image-edit"
name = "P-Image Edit"
description = "Edits pictures"
modality = "image"
capabilities = []
typical_s = 10
parameters = "edit"

[model.prices]
any = { credits = "0.25" }

[model.reference_images]
parameter = "images"
maximum = 3
credits = "0.5"
required = true
megapixels = 1
"""


def catalogue(folder: Path) -> str:
    """Write the file; its path, for ``TORII_CATALOGUE``."""
    file = folder / "catalogue.toml"
    file.write_text(_CATALOGUE)
    return str(file)


def picture(colour: str = "red", kind: str = "PNG", side: int = 64) -> bytes:
    """A picture's bytes."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, kind)
    return buffer.getvalue()


def unmount(folder: Path) -> Path:
    """Take the archive's folder away, as a disk that is not there; where it is now."""
    return folder.rename(folder.with_name("unmounted"))


def mount(away: Path, folder: Path) -> None:
    """Bring it back."""
    away.rename(folder)
