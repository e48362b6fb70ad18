"""A board as the JSON that Grafana reads. Pure; the same board gives the same text."""

import json
from collections.abc import Iterator
from typing import Any, Final

from deploy.grafana.build.panel import Board, Kind, Panel, Query, Row, Unit

_COLUMNS: Final = 24
_ROW_IDS: Final = 1000
#: Grafana's number of the form of this JSON; newer Grafanas read older ones.
_SCHEMA: Final = 39
#: The books are read each 30 s; bars that are narrower would be empty.
_NARROWEST: Final = "1m"
_DEPLOYS: Final = "count by (version) (torii_build_info) unless count by (version) (torii_build_info offset 5m)"


def text(board: Board) -> str:
    """The file's text."""
    return json.dumps(dashboard(board), indent=2, ensure_ascii=False) + "\n"


def dashboard(board: Board) -> dict[str, Any]:
    """The board as Grafana's own structure."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.answers,
        "tags": ["torii"],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        # Budgets and the ledger count days in UTC.
        "timezone": "utc",
        "time": {"from": board.since, "to": "now"},
        "refresh": board.refresh,
        "links": [
            {
                "type": "dashboards",
                "title": "Torii",
                "tags": ["torii"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "annotations": {"list": [_deploys()]},
        "templating": {"list": list(_variables(board))},
        "panels": list(_panels(board)),
    }


def _source() -> dict[str, str]:
    return {"type": "prometheus", "uid": "${datasource}"}


def _deploys() -> dict[str, Any]:
    return {
        "name": "Releases",
        "datasource": _source(),
        "enable": True,
        "iconColor": "purple",
        "expr": _DEPLOYS,
        "step": "60s",
        "titleFormat": "Torii {{version}}",
        "textFormat": "{{version}} began to run",
    }


def _variables(board: Board) -> Iterator[dict[str, Any]]:
    yield {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus", "current": {}}
    for label in board.variables:
        yield {
            "type": "query",
            "name": label,
            "label": label.capitalize(),
            "datasource": _source(),
            "query": {"query": f"label_values(torii_credits_spent_total, {label})", "refId": label},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": ["All"], "value": ["$__all"]},
        }
    # Where your copy of the runbook is; panels link into it.
    yield {"type": "constant", "name": "runbook", "query": "https://torii.example.com/docs/runbook.md", "hide": 2}


def _panels(board: Board) -> Iterator[dict[str, Any]]:
    top = 0
    number = 0
    for index, row in enumerate(board.rows):
        yield {
            "id": _ROW_IDS + index,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": top, "w": _COLUMNS, "h": 1},
            "panels": [],
        }
        top += 1
        for panel, left, line in _placed(row):
            number += 1
            place = {"x": left, "y": top + line, "w": panel.width, "h": panel.height}
            yield {"id": number, "gridPos": place, **_panel(panel)}
        top += _height(row)


def _placed(row: Row) -> Iterator[tuple[Panel, int, int]]:
    """Each panel with its column and its line below the row's title, from left to right, then below."""
    left = line = tallest = 0
    for panel in row.panels:
        if left + panel.width > _COLUMNS:
            left, line, tallest = 0, line + tallest, 0
        yield panel, left, line
        left += panel.width
        tallest = max(tallest, panel.height)


def _height(row: Row) -> int:
    return max(line + panel.height for panel, _, line in _placed(row))


def _panel(panel: Panel) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": panel.kind.value,
        "title": panel.title,
        "description": panel.answers,
        "datasource": _source(),
        "targets": [_target(panel, query, chr(ord("A") + index)) for index, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _options(panel),
    }
    if panel.kind is Kind.TABLE:
        found["transformations"] = _columns(panel)
    if panel.since:
        found["timeFrom"] = panel.since
    found["links"] = [
        {"title": f"Runbook: {page.replace('-', ' ')}", "url": f"${{runbook}}#{page}", "targetBlank": True}
        for page in panel.pages
    ]
    return found


def _target(panel: Panel, query: Query, letter: str) -> dict[str, Any]:
    now = panel.now or panel.kind in (Kind.GAUGE, Kind.TABLE, Kind.BARS)
    return {
        "refId": letter,
        "datasource": _source(),
        "expr": query.expression,
        "legendFormat": query.legend or "__auto",
        "instant": now,
        "range": not now,
        "interval": _NARROWEST,
        "format": "table" if panel.kind is Kind.TABLE else "time_series",
    }


def _field(panel: Panel) -> dict[str, Any]:
    field: dict[str, Any] = {
        "unit": panel.unit.value,
        "color": {"mode": "palette-classic" if panel.kind is Kind.LINES else "thresholds"},
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": step.value, "color": step.colour} for step in panel.steps],
        },
    }
    if panel.decimals is not None:
        field["decimals"] = panel.decimals
    if panel.kind is Kind.LINES:
        field["custom"] = {
            "drawStyle": "bars" if panel.stacked else "line",
            "fillOpacity": 60 if panel.stacked else 10,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if len(panel.steps) > 1 else "off"},
            "spanNulls": False,
        }
    elif panel.kind is Kind.GAUGE and panel.unit is Unit.SHARE:
        field |= {"min": 0, "max": 1}
    return field


def _options(panel: Panel) -> dict[str, Any]:
    last = {"values": False, "calcs": ["lastNotNull"], "fields": ""}
    match panel.kind:
        case Kind.STAT:
            graph = "none" if panel.now else "area"
            return {"reduceOptions": last, "colorMode": "value", "graphMode": graph, "textMode": "auto"}
        case Kind.GAUGE:
            return {"reduceOptions": last, "orientation": "horizontal", "displayMode": "basic", "showUnfilled": True}
        case Kind.LINES:
            legend = {"displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"]}
            return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
        case Kind.BARS:
            return {"orientation": "horizontal", "showValue": "always", "legend": {"displayMode": "hidden"}}
        case Kind.TABLE:
            return {"showHeader": True, "cellHeight": "sm"}


def _columns(panel: Panel) -> list[dict[str, Any]]:
    """Bring a table's queries together by their labels, and name each value's column."""
    names = {f"Value #{chr(ord('A') + index)}": query.legend for index, query in enumerate(panel.queries)}
    return [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {"excludeByName": {"Time": True}, "renameByName": {"Value": panel.queries[0].legend, **names}},
        },
    ]
