"""How each type of panel is drawn: what Grafana would show of these answers, in its way, by matplotlib."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final

from matplotlib.axes import Axes

from tests.deploy.panels import answers, numbers
from tests.deploy.panels.answers import Period, Series
from tests.deploy.panels.sheet import FAINT, INK, LETTER, LINE, Box, Sheet, shortened

#: Grafana's names of colours on light ground.
COLOURS: Final[Mapping[str, str]] = MappingProxyType(
    {"green": "#3f9142", "yellow": "#d99a00", "red": "#d5293d", "blue": "#2f6fd0", "purple": "#8f3bb8"}
)
PALETTE: Final = (
    "#56a64b", "#f2a900", "#3f8fe0", "#f2711c", "#d5293d", "#2554a8",
    "#a352cc", "#705da0", "#37872d", "#b8860b", "#1f9e9e", "#c15c17",
)  # fmt: skip
_SMALL: Final = 11.5
_ROW: Final = 21

Draw = Callable[[Sheet, Box, Mapping[str, Any], answers.Panel, Period], None]


def draw(sheet: Sheet, box: Box, panel: Mapping[str, Any], answer: answers.Panel, period: Period) -> None:
    """Draw what is in a panel's frame, or "No data" where its queries found no number."""
    if any(math.isfinite(series.last) for each in answer for series in each):
        DRAWN[panel["type"]](sheet, box, panel, answer, period)
    else:
        sheet.text(*box.middle, "No data", 15, color=FAINT, ha="center")


def _written(panel: Mapping[str, Any], value: float) -> str:
    field = panel["fieldConfig"]["defaults"]
    return numbers.shown(value, field["unit"], field.get("decimals"))


def _steps(panel: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    steps: list[Mapping[str, Any]] = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return steps


def _judged(panel: Mapping[str, Any], value: float) -> str:
    """Return the colour of the highest threshold that the value has reached."""
    reached = [step["color"] for step in _steps(panel) if step["value"] is None or value >= step["value"]]
    return COLOURS[reached[-1]]


def _together(answer: answers.Panel) -> list[Series]:
    return [series for each in answer for series in each if math.isfinite(series.last)]


def _name(panel: Mapping[str, Any], series: Series) -> str:
    return series.name or str(panel["title"])


def _lines(sheet: Sheet, box: Box, panel: Mapping[str, Any], answer: answers.Panel, period: Period) -> None:
    series = _together(answer)
    legend_w = min(_legend_width(panel, series), box.w * 0.5)
    plot = sheet.axes(box.inner(left=66, top=6, right=legend_w + 22, bottom=26))
    stacked = panel["fieldConfig"]["defaults"]["custom"]["drawStyle"] == "bars"
    if stacked:
        _bars(plot, series, period)
    else:
        _courses(plot, series, period)
    _scale(plot, series, stacked=stacked)
    if panel["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "line":
        _thresholds(plot, panel)
    _dress(plot, panel, period)
    _legend(sheet, box.inner(left=box.w - legend_w), panel, series)


def _courses(plot: Axes, series: Sequence[Series], period: Period) -> None:
    for number, each in enumerate(series):
        at, values = _with_gaps(each, period)
        colour = PALETTE[number % len(PALETTE)]
        plot.plot(at, values, color=colour, linewidth=1.6, marker=".", markersize=2.5)
        plot.fill_between(at, values, color=colour, alpha=min(0.1, 0.6 / len(series)), linewidth=0)


def _with_gaps(series: Series, period: Period) -> tuple[list[float], list[float]]:
    """Return times and values, with NaN where a point is missing: nothing is drawn across."""
    at, values = [], []
    for (moment, value), (later, _) in pairwise((*series.points, series.points[-1])):
        at.append(moment)
        values.append(value if math.isfinite(value) else math.nan)
        if later - moment > period.step_s * 1.5:
            at.append(moment + period.step_s)
            values.append(math.nan)
    return at, values


def _bars(plot: Axes, series: Sequence[Series], period: Period) -> None:
    tops: dict[float, float] = {}
    for number, each in enumerate(series):
        points = [(at, value) for at, value in each.points if math.isfinite(value) and value > 0]
        at = [moment for moment, _ in points]
        below = [tops.get(moment, 0.0) for moment in at]
        heights = [value for _, value in points]
        plot.bar(at, heights, period.step_s * 0.82, below, color=PALETTE[number % len(PALETTE)], alpha=0.85)
        tops |= {moment: low + height for moment, low, height in zip(at, below, heights, strict=True)}


def _scale(plot: Axes, series: Sequence[Series], *, stacked: bool) -> None:
    """From 0 where that costs little, and never around a single value."""
    values = [value for each in series for _, value in each.points if math.isfinite(value)]
    low, high = min(values), max(values)
    if stacked:
        plot.set_ylim(0, max(plot.get_ylim()[1], 1))
    elif low >= 0 and (low < high * 0.6 or low == high):
        plot.set_ylim(0, (high or 1) * 1.15)
    else:
        room = (high - low or 1) * 0.1
        plot.set_ylim(low - room, high + room)


def _thresholds(plot: Axes, panel: Mapping[str, Any]) -> None:
    low, high = plot.get_ylim()
    for before, step in pairwise(_steps(panel)):
        # A scale that falls into red is drawn in the colour below the line, one that rises in the colour above it.
        colour = before["color"] if _steps(panel)[0]["color"] == "red" else step["color"]
        if low < step["value"] < high:
            plot.axhline(step["value"], color=COLOURS[colour], linewidth=1.2, linestyle=(0, (6, 4)))


def _dress(plot: Axes, panel: Mapping[str, Any], period: Period) -> None:
    plot.set_xlim(period.start, period.end)
    first = math.ceil(period.start / 60) * 60
    minutes = range(int(first), int(period.end) + 1, 60)
    if plot.bbox.width < 48 * len(minutes):
        minutes = minutes[::2]
    plot.set_xticks(list(minutes), [datetime.fromtimestamp(at, UTC).strftime("%H:%M") for at in minutes])
    unit = panel["fieldConfig"]["defaults"]["unit"]
    if unit == "bool_on_off":
        plot.set_yticks([0, 1])
    else:
        plot.locator_params(axis="y", nbins=5, steps=[1, 2, 5, 10])
    low, high = plot.get_ylim()
    ticks = [tick for tick in plot.get_yticks() if low <= tick <= high]
    plot.set_yticks(ticks, [_written(panel, tick).removesuffix(" credits") for tick in ticks])
    plot.set_ylim(low, high)
    plot.tick_params(length=0, labelsize=_SMALL, labelcolor=FAINT)
    plot.grid(color=LINE, linewidth=1)
    plot.set_axisbelow(True)
    for side in plot.spines.values():
        side.set_visible(False)


def _highest(series: Series) -> float:
    return max(value for _, value in series.points if math.isfinite(value))


def _column(panel: Mapping[str, Any], series: Sequence[Series]) -> float:
    """Return how wide a column of values must be."""
    texts = [_written(panel, value) for each in series for value in (each.last, _highest(each))]
    return max(7, *(len(text) for text in texts)) * _SMALL * LETTER + 12


def _legend_width(panel: Mapping[str, Any], series: Sequence[Series]) -> float:
    longest = max(len(_name(panel, each)) for each in series)
    return 42 + longest * _SMALL * LETTER + 2 * _column(panel, series)


def _legend(sheet: Sheet, box: Box, panel: Mapping[str, Any], series: Sequence[Series]) -> None:
    """A table at the right: names with their colours, the last value and the highest."""
    right = box.x + box.w - 12
    column = _column(panel, series)
    y = box.y + 10
    for at, words in ((right - column, "Last *"), (right, "Max")):
        sheet.text(at, y, words, _SMALL, color=COLOURS["blue"], ha="right")
    fits = int((box.h - 20) / _ROW)
    many = len(series) > fits
    # Where not all fit, those that were never above 0 come last.
    order = sorted(enumerate(series), key=lambda one: many and _highest(one[1]) == 0)
    for number, each in order[: fits - 1] if many else order:
        y += _ROW
        sheet.rule(box.x, y - _ROW / 2, box.w - 10)
        sheet.fill(Box(box.x + 4, y - 2, 13, 4), PALETTE[number % len(PALETTE)])
        name = shortened(_name(panel, each), box.w - 2 * column - 36, _SMALL)
        sheet.text(box.x + 23, y, name, _SMALL)
        for at, value in ((right - column, each.last), (right, _highest(each))):
            sheet.text(at, y, _written(panel, value), _SMALL, ha="right")
    if many:
        sheet.text(box.x + 23, y + _ROW, f"and {len(series) - fits + 1} more, below", _SMALL, color=FAINT)


def _stat(sheet: Sheet, box: Box, panel: Mapping[str, Any], answer: answers.Panel, period: Period) -> None:
    series = _together(answer)
    wide = box.w / len(series)
    texts = [_written(panel, each.last) for each in series]
    size = min(44.0, box.h * 0.42, *((wide - 30) / (LETTER * len(text) * 1.02) for text in texts))
    for number, (each, text) in enumerate(zip(series, texts, strict=True)):
        part = Box(box.x + number * wide, box.y, wide, box.h)
        colour = _judged(panel, each.last)
        if panel["options"]["graphMode"] == "area" and len(each.points) > 1:
            plot = sheet.axes(part.inner(left=8, right=8, top=box.h * 0.62, bottom=6))
            at, values = _with_gaps(each, period)
            plot.plot(at, values, color=colour, linewidth=1.4)
            _scale(plot, [each], stacked=False)
            plot.fill_between(at, values, min(plot.get_ylim()), color=colour, alpha=0.15, linewidth=0)
            plot.set_xlim(period.start, period.end)
            plot.axis("off")
        x, _ = part.middle
        if len(series) > 1:
            sheet.text(x, box.y + box.h * 0.10, shortened(_name(panel, each), wide, 13), 13, ha="center")
        sheet.text(x, box.y + box.h * 0.38, text, size, color=colour, ha="center", weight="bold")


def _gauge(sheet: Sheet, box: Box, panel: Mapping[str, Any], answer: answers.Panel, _: Period) -> None:
    """Bars that lie, each as long as its value is a part of the most."""
    series = _together(answer)
    field = panel["fieldConfig"]["defaults"]
    most = field.get("max") or max((each.last for each in series), default=1) or 1
    texts = [_written(panel, each.last) for each in series]
    name_w = min(max(len(_name(panel, each)) for each in series) * 12.5 * LETTER + 16, box.w * 0.5)
    text_w = max(len(text) for text in texts) * 15 * LETTER + 14
    high = min((box.h - 10) / len(series), 48)
    top = box.y + (box.h - 8 - high * len(series)) / 2
    for number, (each, text) in enumerate(zip(series, texts, strict=True)):
        row = Box(box.x + 14, top + number * high, box.w - 28, high)
        colour = _judged(panel, each.last)
        sheet.text(row.x, row.middle[1], shortened(_name(panel, each), name_w, 12.5), 12.5)
        bar = row.inner(left=name_w, right=text_w, top=5, bottom=5)
        if panel["options"].get("showUnfilled"):
            sheet.fill(bar, "#eef0f2")
        sheet.fill(Box(bar.x, bar.y, bar.w * min(max(each.last / most, 0), 1), bar.h), colour)
        sheet.text(row.x + row.w, row.middle[1], text, 15, color=colour, ha="right", weight="bold")


def _table(sheet: Sheet, box: Box, panel: Mapping[str, Any], answer: answers.Panel, _: Period) -> None:
    """Queries side by side: a row for the labels that they have in common."""
    labels = sorted({label for each in answer for series in each for label in series.labels})
    values = [target["legendFormat"] for target in panel["targets"]]
    rows: dict[tuple[str, ...], list[float]] = {}
    for number, each in enumerate(answer):
        for series in each:
            row = tuple(series.labels.get(label, "") for label in labels)
            rows.setdefault(row, [math.nan] * len(answer))[number] = series.last
    wide = (box.w - 24) / (len(labels) + len(values))
    y = box.y + 10
    for column, name in enumerate((*labels, *values)):
        end = column >= len(labels)
        x = box.x + 12 + (column + end) * wide
        sheet.text(x, y, name, 12.5, color=COLOURS["blue"], ha="right" if end else "left", weight="bold")
    fits = int((box.h - 24) / 25)
    for row, found in sorted(rows.items())[:fits]:
        y += 25
        sheet.rule(box.x + 10, y - 13, box.w - 20)
        for column, word in enumerate(row):
            sheet.text(box.x + 12 + column * wide, y, shortened(word, wide - 8, 12.5), 12.5)
        for column, value in enumerate(found, len(labels) + 1):
            sheet.text(box.x + 12 + column * wide, y, _written(panel, value), 12.5, color=INK, ha="right")
    if len(rows) > fits:
        sheet.text(box.x + 12, y + 22, f"and {len(rows) - fits} more, below", _SMALL, color=FAINT)


#: By Grafana's own names of the types.
DRAWN: Final[Mapping[str, Draw]] = MappingProxyType(
    {"timeseries": _lines, "stat": _stat, "bargauge": _gauge, "barchart": _gauge, "table": _table}
)
