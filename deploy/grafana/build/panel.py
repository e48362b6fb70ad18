"""What a dashboard is made of, as frozen values: what is asked, how it is shown, when it is bad. Renders nothing."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """How a panel shows its answer, by Grafana's own names."""

    STAT = "stat"
    LINES = "timeseries"
    BARS = "barchart"
    GAUGE = "bargauge"
    TABLE = "table"


class Unit(StrEnum):
    """Grafana's ids of the units that we use; credits are a number, since money is not what they are."""

    COUNT = "short"
    CREDITS = "suffix: credits"
    SECONDS = "s"
    HOURS = "h"
    DAYS = "suffix: days"
    SHARE = "percentunit"
    RATE = "reqps"
    SWITCH = "bool_on_off"


@dataclass(frozen=True)
class Step:
    """From this value on, this colour; None is the ground below every step."""

    value: float | None
    colour: str


#: Nothing is a worry.
PLAIN: Final = (Step(None, "blue"),)


def worse_above(warning: float, critical: float) -> tuple[Step, ...]:
    """Green, then yellow, then red as the value rises."""
    return (Step(None, "green"), Step(warning, "yellow"), Step(critical, "red"))


def worse_below(warning: float, critical: float) -> tuple[Step, ...]:
    """Red, then yellow, then green as the value rises."""
    return (Step(None, "red"), Step(critical, "yellow"), Step(warning, "green"))


@dataclass(frozen=True)
class Query:
    """One question in PromQL; ``legend`` names its series by their labels."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel; ``answers`` is the question it answers, ``pages`` the runbook's headings for when it is bad.

    ``since`` shows another period than the dashboard's: ``now/d`` is today in UTC. Widths are of 24 columns.
    """

    title: str
    answers: str
    queries: tuple[Query, ...]
    kind: Kind = Kind.LINES
    unit: Unit = Unit.COUNT
    steps: tuple[Step, ...] = PLAIN
    pages: tuple[str, ...] = ()
    since: str | None = None
    stacked: bool = False
    #: One value for each series, as it is now, instead of its course.
    now: bool = False
    width: int = 12
    height: int = 8
    decimals: int | None = None


@dataclass(frozen=True)
class Row:
    """A title over panels that belong together."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True)
class Board:
    """One dashboard; ``uid`` is its address for ever. ``variables`` are labels by which it can be narrowed."""

    uid: str
    title: str
    answers: str
    rows: tuple[Row, ...]
    variables: tuple[str, ...] = ()
    refresh: str = "1m"
    since: str = "now-24h"

    def panels(self) -> tuple[Panel, ...]:
        """Every panel in order; a panel's id is its place here, from 1."""
        return tuple(panel for row in self.rows for panel in row.panels)
