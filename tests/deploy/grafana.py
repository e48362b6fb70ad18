"""The dashboards as a test reads them: from the files that are shipped, as Grafana would ask their questions."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import tree

FOLDER = tree.ROOT / "deploy" / "grafana" / "dashboards"
VARIABLE = re.compile(r"\$\{?\w+")


@dataclass(frozen=True)
class Question:
    """One query of a panel."""

    board: str
    panel: str
    number: int
    expression: str

    @property
    def name(self) -> str:
        """How a failure names it."""
        return f"{self.board}: {self.panel}"

    def filled(self, values: Mapping[str, str]) -> str:
        """Return the query as Grafana sends it, with these values for its variables."""
        text = self.expression
        for variable in sorted(values, key=len, reverse=True):
            text = text.replace(f"${variable}", values[variable])
        assert not VARIABLE.search(text.replace("${1}", "")), f"{self.name}: an unknown variable in {text}"
        return text


def shipped() -> dict[str, dict[str, Any]]:
    """Return the dashboards by their uid."""
    found = (json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json")))
    return {board["uid"]: board for board in found}


def questions() -> list[Question]:
    """Return every query of every panel, and of the annotations."""
    return [question for uid, board in shipped().items() for question in _of(uid, board)]


def _of(uid: str, board: Mapping[str, Any]) -> Iterator[Question]:
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield Question(uid, panel["title"], panel["id"], target["expr"])
    for annotation in board["annotations"]["list"]:
        yield Question(uid, annotation["name"], 0, annotation["expr"])


def file_of(uid: str) -> Path:
    """Return the file of a dashboard."""
    return FOLDER / f"{uid}.json"
