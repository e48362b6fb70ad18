"""What a measurement found, as values: percentiles, rows, and the plain table they make. Pure; measures nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

Figure = float | int | str


@dataclass(frozen=True)
class Row:
    """One case of one measurement; the names of its figures carry their units."""

    bench: str
    case: str
    figures: Mapping[str, Figure]


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest rank: the smallest value that ``share`` of the sorted values do not exceed."""
    if not ordered:
        raise ValueError("there is no percentile of nothing")
    rank = -(-len(ordered) * share // 1)
    return ordered[min(max(int(rank), 1), len(ordered)) - 1]


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean."""
    return fmean(values)


def spelled(value: Figure) -> str:
    """A figure for people: three digits of a small number, none behind the point of a large one."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(rows: Sequence[Row]) -> str:
    """One table a measurement: a line a case, a column a figure."""
    names = dict.fromkeys(row.bench for row in rows)
    return "\n\n".join(_table(name, [row for row in rows if row.bench == name]) for name in names)


def _table(name: str, rows: Sequence[Row]) -> str:
    columns = list(dict.fromkeys(column for row in rows for column in row.figures))
    cells = [[name, *columns]]
    cells += [[row.case, *(spelled(row.figures.get(column, "")) for column in columns)] for row in rows]
    widths = [max(len(line[number]) for line in cells) for number in range(len(columns) + 1)]
    return "\n".join(_line(line, widths) for line in cells)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = cells
    padded = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
    return "  ".join([first.ljust(widths[0]), *padded]).rstrip()
