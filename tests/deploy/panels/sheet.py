"""A sheet of paper in pixels, from its upper left corner, drawn by matplotlib. Knows nothing of dashboards."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from PIL import Image

INK: Final = "#24292e"
FAINT: Final = "#6a6f77"
LINE: Final = "#e4e5e8"
PAPER: Final = "#ffffff"
GROUND: Final = "#f4f5f5"
#: So wide is a letter at most, over a name, as a part of its height.
LETTER: Final = 0.66
#: A point is a pixel.
_DPI: Final = 72
_QUALITY: Final = 82


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    x: float
    y: float
    w: float
    h: float

    def inner(self, left: float = 0, top: float = 0, right: float = 0, bottom: float = 0) -> "Box":
        """The rectangle without its margins."""
        return Box(self.x + left, self.y + top, self.w - left - right, self.h - top - bottom)

    @property
    def middle(self) -> tuple[float, float]:
        """Its centre."""
        return self.x + self.w / 2, self.y + self.h / 2


class Sheet:
    """What is drawn on."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=GROUND)
        self._whole = self.figure.add_axes((0, 0, 1, 1))
        self._whole.set_xlim(0, width)
        self._whole.set_ylim(height, 0)
        self._whole.axis("off")

    def text(self, x: float, y: float, words: str, size: float = 13, **more: Any) -> None:
        """Write at a place; its middle is at y."""
        more = {"color": INK, "va": "center", "parse_math": False, **more}
        self._whole.text(x, y, words, fontsize=size, **more)

    def frame(self, box: Box) -> None:
        """A panel's ground with its border."""
        self._whole.add_patch(
            FancyBboxPatch(
                (box.x + 2, box.y + 2), box.w - 4, box.h - 4, "round,pad=0,rounding_size=3",
                facecolor=PAPER, edgecolor=LINE, linewidth=1,
            )
        )  # fmt: skip

    def fill(self, box: Box, colour: str) -> None:
        """A filled rectangle."""
        self._whole.add_patch(Rectangle((box.x, box.y), box.w, box.h, facecolor=colour, linewidth=0))

    def rule(self, x: float, y: float, width: float) -> None:
        """A line across."""
        self._whole.plot((x, x + width), (y, y), color=LINE, linewidth=1)

    def axes(self, box: Box) -> Axes:
        """A plot in a rectangle."""
        place = (box.x / self.width, 1 - (box.y + box.h) / self.height, box.w / self.width, box.h / self.height)
        return self.figure.add_axes(place, facecolor="none")

    def words(self) -> list[str]:
        """Everything that is written on it, outside of plots."""
        return [each.get_text() for each in self._whole.texts]

    def save(self, path: Path, scale: float = 1.0) -> None:
        """Write it as WebP."""
        drawn = io.BytesIO()
        self.figure.savefig(drawn, format="png", dpi=_DPI * scale)
        with Image.open(drawn) as image:
            image.convert("RGB").save(path, quality=_QUALITY, method=6)


def shortened(words: str, width: float, size: float) -> str:
    """Return the words as far as they fit into a width; what is left out is in their middle."""
    fits = max(int(width / (size * LETTER)), 5)
    if len(words) <= fits:
        return words
    head = (fits - 1) * 2 // 5
    return f"{words[:head]}…{words[len(words) - (fits - 1 - head) :]}"
