"""A whole dashboard as one picture: its panels where Grafana would place them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tests.deploy.panels import answers, kinds
from tests.deploy.panels.answers import Period
from tests.deploy.panels.sheet import FAINT, Box, Sheet, shortened

_COLUMN: Final = 58
_LINE: Final = 34
_HEAD: Final = 62
_MARGIN: Final = 6
_COLUMNS: Final = 24
_NOTE: Final = "drawn by matplotlib from the dashboard's own queries, not by Grafana"


def drawn(board: Mapping[str, Any], found: Mapping[int, answers.Panel], period: Period) -> Sheet:
    """Return the dashboard with these answers; a panel that is missing among them is one without data."""
    lines = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    sheet = Sheet(_COLUMNS * _COLUMN + 2 * _MARGIN, _HEAD + lines * _LINE + 2 * _MARGIN)
    _head(sheet, board, period)
    for panel in board["panels"]:
        place = panel["gridPos"]
        box = Box(_MARGIN + place["x"] * _COLUMN, _HEAD + place["y"] * _LINE, place["w"] * _COLUMN, place["h"] * _LINE)
        if panel["type"] == "row":
            sheet.text(box.x + 8, box.middle[1] + 3, f"▾  {panel['title']}", 15, weight="bold")
            continue
        sheet.frame(box)
        title = panel["title"] + ("  (today)" if panel.get("timeFrom") and "today" not in panel["title"] else "")
        sheet.text(box.x + 14, box.y + 20, shortened(title, box.w - 24, 13.5), 13.5, weight="bold")
        kinds.draw(sheet, box.inner(left=4, top=38, right=4, bottom=8), panel, found.get(panel["id"], ()), period)
    return sheet


def _head(sheet: Sheet, board: Mapping[str, Any], period: Period) -> None:
    start, end = (datetime.fromtimestamp(at, UTC) for at in (period.start, period.end))
    own = [each["label"] for each in board["templating"]["list"] if each["type"] == "query"]
    chosen = "".join(f"{label}: All    " for label in own)
    sheet.text(_MARGIN + 8, 22, board["title"], 21, weight="bold")
    sheet.text(_MARGIN + 8, 47, board["description"], 13, color=FAINT)
    right = sheet.width - _MARGIN - 8
    sheet.text(right, 22, f"{chosen}{start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} UTC", 13, ha="right")
    sheet.text(right, 47, _NOTE, 11.5, color=FAINT, ha="right")
