"""Plots as SVG: where each bar and line stands, on a scale of round numbers. Pure geometry; templates draw it.

No style and no script: a plot is shapes with classes, and the table beside it says the same in words.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 720
HEIGHT: Final = 220
_LEFT: Final = 46
_RIGHT: Final = 8
_TOP: Final = 14
_BOTTOM: Final = 26
_LINES: Final = 4
_LABELS_MAX: Final = 10
#: Steps that people count in.
_ROUND: Final = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Bar:
    """One part of a column, with what it says when it is pointed at."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    said: str


@dataclass(frozen=True)
class Mark:
    """A text beside an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Plot:
    """All that is drawn."""

    bars: Sequence[Bar]
    rows: Sequence[Mark]
    columns: Sequence[Mark]
    #: Where the limit lies, if it is on the scale.
    limit_y: float | None = None
    limit_said: str = ""

    @property
    def empty(self) -> bool:
        """There is nothing to see."""
        return not self.bars


@dataclass(frozen=True)
class Column:
    """One column's name and its parts: kind, amount, and what is said of it."""

    name: str
    parts: Sequence[tuple[str, float, str]]


def stacked(columns: Sequence[Column], limit: float | None = None, limit_said: str = "") -> Plot:
    """Columns side by side, the parts of each one on top of the other; a limit is a line across."""
    tallest = max((sum(amount for _, amount, _ in column.parts) for column in columns), default=0.0)
    # A limit far above everything would press the columns flat: then it is said, not drawn.
    drawn = limit is not None and (tallest == 0 or limit <= tallest * 5)
    step = _step(max(tallest, limit if drawn and limit is not None else 0.0) / _LINES)
    top = step * math.ceil(max(tallest, limit if drawn and limit is not None else 0.0, step) / step)
    room, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def y(amount: float) -> float:
        return round(_TOP + high * (1 - amount / top), 2)

    slot = room / max(len(columns), 1)
    width = round(min(slot * 0.7, 38.0), 2)
    bars, names = [], []
    every = max(math.ceil(len(columns) / _LABELS_MAX), 1)
    for number, column in enumerate(columns):
        x, below = round(_LEFT + slot * (number + 0.5) - width / 2, 2), 0.0
        for kind, amount, said in column.parts:
            if amount > 0:
                bars.append(Bar(x, y(below + amount), width, round(y(below) - y(below + amount), 2), kind, said))
                below += amount
        if (len(columns) - 1 - number) % every == 0:
            names.append(Mark(round(x + width / 2, 2), column.name))
    rows = [Mark(y(step * line), _number(step * line)) for line in range(round(top / step) + 1)]
    return Plot(bars, rows, names, y(limit) if drawn and limit is not None else None, limit_said)


def _step(least: float) -> float:
    """The smallest round number that is not below that one."""
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(float(power * each) for each in _ROUND if power * each >= least * 0.999_999)


def _number(amount: float) -> str:
    for unit, factor in (("M", 1_000_000), ("k", 1_000)):
        if amount >= factor:
            return f"{amount / factor:g}{unit}"
    return f"{amount:g}"
