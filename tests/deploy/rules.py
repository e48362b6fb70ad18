"""Prometheus' rules and their tests as a test reads them."""

from typing import Any

import yaml  # type: ignore[import-untyped,unused-ignore]

from tests.support import tree

FOLDER = tree.ROOT / "deploy" / "prometheus"
RULES = sorted((FOLDER / "rules").glob("*.yml"))
TESTS = sorted((FOLDER / "tests").glob("*.yml"))


def all_rules() -> list[dict[str, Any]]:
    """Return every rule in order."""
    files = (yaml.safe_load(path.read_text()) for path in RULES)
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """Return the alerts by name."""
    return {rule["alert"]: rule for rule in all_rules() if "alert" in rule}


def records() -> set[str]:
    """Return the names of what is recorded."""
    return {rule["record"] for rule in all_rules() if "record" in rule}


def tests() -> list[dict[str, Any]]:
    """Return every case of every test of the rules."""
    return [case for path in TESTS for case in yaml.safe_load(path.read_text())["tests"]]
