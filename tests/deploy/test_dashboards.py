"""The dashboards that are shipped are those that the code builds, and each panel says what it shows."""

import re
from itertools import pairwise

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]

from deploy.grafana.build import boards, render
from deploy.grafana.build.panel import Board, Panel
from tests.deploy import grafana
from tests.support import tree

PROVISIONING = tree.ROOT / "deploy" / "grafana" / "provisioning"


@pytest.mark.parametrize("board", boards.ALL, ids=lambda board: board.uid)
def test_files_are_what_the_code_builds(board: Board) -> None:
    """Each dashboard's file is what `make dashboards` writes."""
    assert grafana.file_of(board.uid).read_text() == render.text(board), "run make dashboards"


def test_there_are_no_other_files() -> None:
    """Each file is a board's, and no two boards share a uid."""
    uids = [board.uid for board in boards.ALL]
    assert sorted(path.stem for path in grafana.FOLDER.iterdir()) == sorted(uids)
    assert len(uids) == len(set(uids))


def every_panel() -> list[tuple[str, Panel]]:
    """Return every panel with its board's uid."""
    return [(board.uid, panel) for board in boards.ALL for panel in board.panels()]


@pytest.mark.parametrize(("uid", "panel"), every_panel(), ids=lambda value: getattr(value, "title", value))
def test_panels_are_whole(uid: str, panel: Panel) -> None:
    """Each panel has a question it answers, a unit, thresholds that rise, and a place that fits the page."""
    assert panel.answers.endswith((".", "?")), uid
    assert panel.unit.value
    assert panel.steps[0].value is None
    later = [step.value for step in panel.steps[1:] if step.value is not None]
    assert len(later) == len(panel.steps) - 1
    assert all(low <= high for low, high in pairwise(later))
    assert panel.width <= 24
    assert panel.queries


def test_panels_do_not_overlap() -> None:
    """No two panels of a dashboard share a place, and ids are unique."""
    for board in grafana.shipped().values():
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            cells = {
                (place["x"] + right, place["y"] + down) for right in range(place["w"]) for down in range(place["h"])
            }
            assert not cells & taken, panel["title"]
            taken |= cells
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids))


def test_spending_is_subtracted() -> None:
    """No panel asks increase() or rate() of the books' counters, which extrapolate; each subtracts an offset."""
    counters = r"torii_(?:credits_\w+|jobs|images_lost)_total"
    asked = [question for question in grafana.questions() if re.search(counters, question.expression)]
    assert len(asked) > 5
    for question in asked:
        assert not re.search(rf"(?:increase|rate)\({counters}", question.expression), question.name
    assert any(" offset $__range" in question.expression for question in asked)


def test_variables_are_declared() -> None:
    """Each variable that a panel uses is the dashboard's own or one of Grafana's."""
    for uid, board in grafana.shipped().items():
        own = {each["name"] for each in board["templating"]["list"]}
        used = set(re.findall(r"\$\{?([a-z]\w*)", grafana.file_of(uid).read_text()))
        assert used <= own, uid


def test_provisioning_finds_them() -> None:
    """Grafana's provisioning names the folder that deploy/compose.yml mounts, and a Prometheus that it runs."""
    compose = yaml.safe_load((tree.ROOT / "deploy" / "compose.yml").read_text())["services"]
    provider = yaml.safe_load((PROVISIONING / "dashboards" / "torii.yml").read_text())["providers"][0]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in compose["grafana"]["volumes"]
    source = yaml.safe_load((PROVISIONING / "datasources" / "torii.yml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in compose
