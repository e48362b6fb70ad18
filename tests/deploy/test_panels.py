"""The pictures of the dashboards: each type of panel is drawn, what has no data says so, values have their units."""

import math
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from deploy.grafana.build import boards
from deploy.grafana.build.panel import Kind, Unit
from tests.deploy import grafana
from tests.deploy.panels import answers, kinds, numbers, picture
from tests.deploy.panels.answers import Period, Series
from tests.deploy.panels.sheet import Sheet, shortened
from tests.support import tree
from tests.support.prometheus import Prometheus

PERIOD = Period(1_800_000_000.0, 1_800_000_240.0)
LABELS = {"team": "team_one", "model": "flux-2-max", "outcome": "completed", "state": "queued"}


def series(*values: float, name: str = "drawing") -> Series:
    """Return a series with these values, a step apart."""
    return Series(name, LABELS, tuple((PERIOD.start + at * PERIOD.step_s, value) for at, value in enumerate(values)))


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Return those panels of a dashboard that ask something."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def answered(board: dict[str, Any], *values: float) -> dict[int, answers.Panel]:
    """Return one series with these values for each target of each panel."""
    return {panel["id"]: tuple((series(*values),) for _ in panel["targets"]) for panel in panels(board)}


def written(sheet: Sheet) -> int:
    """Return how many panels say that they have no data."""
    return sheet.words().count("No data")


def test_every_type_of_panel_is_drawn() -> None:
    """What a dashboard may consist of has a way to be drawn, and nothing else has."""
    used = {panel["type"] for board in grafana.shipped().values() for panel in panels(board)}
    assert used <= set(kinds.DRAWN)
    assert set(kinds.DRAWN) == {kind.value for kind in Kind}


@pytest.mark.parametrize("unit", Unit)
def test_every_unit_is_written(unit: Unit) -> None:
    """Each unit of the dashboards is written after a value, also after 0 and far from it."""
    for value in (0.0, 0.0004, 0.5, 1.0, 44.0, 99.96, 1234.0, 1_000_000.0, -3.0):
        assert numbers.shown(value, unit.value)
    assert numbers.shown(math.nan, unit.value) == "-"


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (12.0, Unit.CREDITS, "12 credits"),
        (0.25, Unit.SECONDS, "250 ms"),
        (0.00005, Unit.SECONDS, "50 µs"),
        (44.04, Unit.SECONDS, "44 s"),
        (90, Unit.SECONDS, "1.5 min"),
        (7200, Unit.SECONDS, "2 hours"),
        (23.5, Unit.HOURS, "23.5 hours"),
        (72, Unit.HOURS, "3 days"),
        (0.125, Unit.SHARE, "12.5 %"),
        (2.5, Unit.RATE, "2.5/s"),
        (1500, Unit.COUNT, "1.5 K"),
        (1, Unit.SWITCH, "On"),
    ],
)
def test_values_are_written_for_people(value: float, unit: Unit, words: str) -> None:
    """A value has three digits that count, and its unit."""
    assert numbers.shown(value, unit.value) == words


def test_decimals_are_the_panels() -> None:
    """A panel that names its decimals has them, also where they are zeros."""
    assert numbers.shown(3.0, Unit.DAYS.value, 1) == "3.0 days"


@pytest.mark.parametrize("uid", sorted(grafana.shipped()))
def test_a_panel_without_data_says_so(uid: str) -> None:
    """No answer, an empty one and one without a number are "No data"; a panel with a number is not."""
    board = grafana.shipped()[uid]
    everything = panels(board)
    assert written(picture.drawn(board, {}, PERIOD)) == len(everything)
    assert written(picture.drawn(board, answered(board, math.nan, math.inf), PERIOD)) == len(everything)
    found = answered(board, 1.0, math.nan, 2.0, 0.0)
    assert written(picture.drawn(board, found, PERIOD)) == 0
    del found[everything[0]["id"]]
    found[everything[1]["id"]] = tuple(() for _ in everything[1]["targets"])
    assert written(picture.drawn(board, found, PERIOD)) == 2


def one_of_each() -> dict[str, Any]:
    """Return a dashboard with one panel of each type and unit in use, side by side."""
    every = [panel for board in grafana.shipped().values() for panel in panels(board)]
    kept = {(panel["type"], panel["fieldConfig"]["defaults"]["unit"]): panel for panel in every}
    stacked = next(panel for panel in every if panel["title"] == "Jobs by state")
    placed = [
        {**panel, "id": number, "gridPos": {"x": number % 4 * 6, "y": number // 4 * 7, "w": 6, "h": 7}}
        for number, panel in enumerate((*kept.values(), stacked))
    ]
    return {**grafana.shipped()["torii-jobs"], "panels": placed}


@pytest.mark.parametrize("values", [(0.0,), (5.0, 5.0, 5.0), (-2.0, -1.0), (1.0, math.nan, 1e6), (0.0, 0.0)])
def test_whatever_is_answered_becomes_a_picture(values: tuple[float, ...], tmp_path: Path) -> None:
    """One point, a constant, something below 0, a gap and nothing but 0 are drawn without a warning."""
    board = one_of_each()
    picture.drawn(board, answered(board, *values), PERIOD).save(tmp_path / "each.webp", 0.3)
    with Image.open(tmp_path / "each.webp") as image:
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 10


def test_panels_stand_where_grafana_places_them() -> None:
    """Each panel's title and each row's is on its dashboard's picture, however long."""
    for board in grafana.shipped().values():
        words = picture.drawn(board, {}, PERIOD).words()
        missing = [panel["title"] for panel in panels(board) if not any(panel["title"] in each for each in words)]
        assert missing == []
        assert all(any(row["title"] in word for word in words) for row in board["panels"] if row["type"] == "row")


def test_more_series_than_fit_are_counted() -> None:
    """A legend and a table that are too long say how much they leave out."""
    board = grafana.shipped()["torii-jobs"]
    chosen = next(panel for panel in board["panels"] if panel["type"] == "timeseries")
    crowd = tuple(series(1.0, 2.0, name=f"state {number}") for number in range(30))
    words = picture.drawn(board, {chosen["id"]: (crowd,)}, PERIOD).words()
    shown = sum(word.startswith("state ") for word in words)
    assert f"and {30 - shown} more, below" in words


def test_a_colour_is_that_of_the_threshold_reached() -> None:
    """A stat is written in the colour of the highest threshold that its value has reached."""
    board = grafana.shipped()["torii-upstream"]
    days = next(panel for panel in board["panels"] if panel["title"] == "Days the credits last")
    for value, colour in ((2.0, "red"), (3.0, "yellow"), (6.9, "yellow"), (7.0, "green")):
        sheet = picture.drawn(board, {days["id"]: ((series(value),),)}, PERIOD)
        assert kinds.COLOURS[colour] in [each.get_color() for each in sheet.figure.axes[0].texts], value


def test_names_follow_the_panels_legend() -> None:
    """A legend's labels are filled in; Grafana's own legend is the labels; one that is missing is left out."""
    assert answers.named("{{team}} {{ window }}", {"team": "a", "window": "day"}) == "a day"
    assert answers.named("{{team}} {{window}}", {"team": "a"}) == "a"
    assert answers.named("__auto", {"job": "torii-books"}) == "torii-books"


def test_long_names_keep_their_ends() -> None:
    """What does not fit is left out in the middle, since ids begin alike and labels that differ come last."""
    assert shortened("short", 500, 12) == "short"
    cut = shortened("team_0123456789abcdef collapsed", 140, 12)
    assert len(cut) < 20
    assert cut.startswith("team_")
    assert cut.endswith("collapsed")


def test_today_begins_at_midnight_in_utc() -> None:
    """A panel of today reaches back to the day's beginning, the others to the period's."""
    assert PERIOD.variables(None)["__range"] == "240s"
    assert PERIOD.variables("now/d")["__range"] == f"{round(PERIOD.end % 86400)}s"


def test_all_panels_are_asked(prometheus: Prometheus) -> None:
    """A real Prometheus takes each query over a period; what it has nothing of is kept as no series at all."""
    end = datetime.now(UTC).timestamp()
    found = answers.asked(prometheus, Period(end - 40, end))
    for uid, board in grafana.shipped().items():
        assert set(found.boards[uid]) == {panel["id"] for panel in panels(board)}
        assert all(len(found.boards[uid][panel["id"]]) == len(panel["targets"]) for panel in panels(board))
    assert msgspec.json.decode(msgspec.json.encode(found), type=answers.Played) == found
    alerts = found.boards["torii-overview"][1][0]
    assert [len(each.points) for each in alerts] == [11]
    # What an earlier test's run left in this Prometheus is no team's and no model's of anybody.
    assert any(answered == () for board in found.boards.values() for panel in board.values() for answered in panel)


def test_a_course_has_its_points_and_its_refusals(prometheus: Prometheus) -> None:
    """A range query gives a point each step from its start to its end; what is no PromQL is refused aloud."""
    end = datetime.now(UTC)
    (found,) = prometheus.course("vector(3)", end - timedelta(seconds=20), end, 5)
    assert [value for _, value in found["values"]] == ["3"] * 5
    with pytest.raises(AssertionError, match="parse error"):
        prometheus.course("sum(", end - timedelta(seconds=20), end, 5)


def test_only_the_pictures_draw() -> None:
    """Nothing but the pictures of dashboards imports matplotlib: nothing that runs a gateway needs it."""
    drawing = [path for path in tree.modules() if re.search(r"^(from|import) matplotlib", path.read_text(), re.M)]
    assert {path.parent for path in drawing} == {tree.ROOT / "tests" / "deploy" / "panels"}


def test_every_dashboard_has_its_picture() -> None:
    """docs/dashboards holds one picture for each dashboard, and the page shows each."""
    page = (tree.ROOT / "docs" / "dashboards.md").read_text()
    found = {path.stem for path in (tree.ROOT / "docs" / "dashboards").glob("*.webp")}
    assert found == {board.uid for board in boards.ALL}
    assert all(f"(dashboards/{uid}.webp)" in page for uid in found)
