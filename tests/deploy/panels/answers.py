"""What Prometheus answers to every panel of the dashboards, asked as Grafana asks. Draws nothing."""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from tests.deploy import grafana
from tests.deploy.grafana import Question
from tests.support.prometheus import Prometheus

_LEGEND: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")
#: A legend that Grafana makes of the labels itself.
_AUTOMATIC: Final = "__auto"


class Period(msgspec.Struct, frozen=True):
    """From when until when, in Unix seconds, and how far apart the points are."""

    start: float
    end: float
    step_s: int = 4
    rate_s: int = 20

    def variables(self, since: str | None) -> dict[str, str]:
        """What Grafana fills in; `since` is a panel's own period, of which there is today."""
        over = self.end - self.start
        if since is not None:
            now = datetime.fromtimestamp(self.end, UTC)
            over = (now - now.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
        return {
            "__range": f"{max(round(over), 1)}s",
            "__interval": f"{self.step_s}s",
            "__rate_interval": f"{self.rate_s}s",
            "team": ".*",
            "model": ".*",
        }


class Series(msgspec.Struct, frozen=True):
    """One series of an answer: its name in legends, its labels, and (Unix seconds, value) in order."""

    name: str
    labels: dict[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def last(self) -> float:
        """The last value that is a number; NaN if none is."""
        return next((value for _, value in reversed(self.points) if math.isfinite(value)), math.nan)


#: Of each target of a panel, its series.
Panel = tuple[tuple[Series, ...], ...]


class Played(msgspec.Struct, frozen=True):
    """Everything that was asked after a run: by dashboard and panel's id."""

    period: Period
    boards: dict[str, dict[int, Panel]]


def asked(prometheus: Prometheus, period: Period) -> Played:
    """Ask the queries of all panels of all dashboards that are shipped."""
    found = {
        uid: {panel["id"]: tuple(_of(prometheus, period, uid, panel)) for panel in board["panels"] if _asks(panel)}
        for uid, board in grafana.shipped().items()
    }
    return Played(period, found)


def _asks(panel: Mapping[str, Any]) -> bool:
    return bool(panel.get("targets"))


def _of(prometheus: Prometheus, period: Period, uid: str, panel: Mapping[str, Any]) -> Iterator[tuple[Series, ...]]:
    for target in panel["targets"]:
        question = Question(uid, panel["title"], panel["id"], target["expr"])
        text = question.filled(period.variables(panel.get("timeFrom")))
        end = datetime.fromtimestamp(period.end, UTC)
        if target["instant"]:
            rows = [{**row, "values": [row["value"]]} for row in prometheus.query(text, end)]
        else:
            rows = prometheus.course(text, datetime.fromtimestamp(period.start, UTC), end, period.step_s)
        series = [_series(target["legendFormat"], row["metric"], row["values"]) for row in rows]
        yield tuple(sorted(series, key=lambda each: each.name))


def _series(legend: str, labels: Mapping[str, str], values: list[tuple[float, str]]) -> Series:
    own = {name: value for name, value in labels.items() if name != "__name__"}
    # Where there is no number there is no point, as in a gap.
    points = tuple((float(at), float(value)) for at, value in values if math.isfinite(float(value)))
    return Series(named(legend, own), own, points)


def named(legend: str, labels: Mapping[str, str]) -> str:
    """Return a series' name by a panel's legend."""
    if legend == _AUTOMATIC:
        return " ".join(labels.values())
    return _LEGEND.sub(lambda found: labels.get(found[1], ""), legend).strip()
