"""Pictures in the terminal itself, where it says that it can show them. Asks the terminal nothing.

A terminal that is asked answers on the keyboard's line, where it may mix with what the user types; so only what the
environment says counts, and inside tmux and screen, which pass no pictures on, nothing is shown.
"""

import base64
import io
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final

from PIL import Image

_CHUNK: Final = 4096
_SIDE_PIXELS: Final = 640
#: How wide a picture is shown, in columns.
COLUMNS: Final = 40
_KITTY_TERMS: Final = frozenset({"xterm-kitty", "xterm-ghostty"})
_ITERM_PROGRAMS: Final = frozenset({"iTerm.app", "WezTerm", "rio"})
#: Konsole shows kitty's pictures since 22.04, spelled 220400.
_KONSOLE: Final = 220_400


class Protocol(StrEnum):
    """How a terminal takes a picture."""

    KITTY = "kitty"
    ITERM = "iterm"


def spoken(environ: Mapping[str, str]) -> Protocol | None:
    """What the terminal of this environment speaks; none where that is not sure."""
    term = environ.get("TERM", "")
    if "TMUX" in environ or "STY" in environ or term.startswith(("screen", "tmux", "dumb", "linux")) or not term:
        return None
    if term in _KITTY_TERMS or environ.get("TERM_PROGRAM") == "ghostty":
        return Protocol.KITTY
    if environ.get("TERM_PROGRAM") in _ITERM_PROGRAMS or environ.get("LC_TERMINAL") == "iTerm2":
        return Protocol.ITERM
    version = environ.get("KONSOLE_VERSION", "")
    return Protocol.KITTY if version.isascii() and version.isdigit() and int(version) >= _KONSOLE else None


def drawn(data: bytes, protocol: Protocol) -> str:
    """The picture, made small, as the terminal takes it, with the line's end behind it."""
    small = _small(data)
    if protocol is Protocol.ITERM:
        size = f"size={len(small)};width={COLUMNS};preserveAspectRatio=1;inline=1"
        return f"\x1b]1337;File={size}:{base64.b64encode(small).decode()}\a\n"
    return "".join(_kitty(base64.b64encode(small).decode())) + "\n"


def _kitty(text: str) -> Iterator[str]:
    """The graphics command in pieces; a quiet one, whose answers nobody would read."""
    for start in range(0, len(text), _CHUNK):
        more = int(start + _CHUNK < len(text))
        head = f"a=T,f=100,q=2,c={COLUMNS},m={more}" if start == 0 else f"m={more}"
        yield f"\x1b_G{head};{text[start : start + _CHUNK]}\x1b\\"


def _small(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as found:
        small = found.convert("RGBA" if found.has_transparency_data else "RGB")
    small.thumbnail((_SIDE_PIXELS, _SIDE_PIXELS))
    made = io.BytesIO()
    small.save(made, "PNG")
    return made.getvalue()
