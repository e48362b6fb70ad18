"""The house's ceilings and habits hold in every module. Complexity and layers have tests or linters of their own."""

import textwrap
from collections.abc import Callable

import pytest

from tests.support import house, tree

LONG_FUNCTION = "def deed():\n" + "    pass\n" * house.FUNCTION_LINES
INNER_IMPORT = "async def deed():\n    if True:\n        import json\n"


def test_modules_and_functions_stay_under_their_ceilings() -> None:
    """A module has at most 400 lines and a function at most 60."""
    assert not (found := tree.findings(lambda _, source: house.too_long(source))), tree.listed(found)


def test_no_import_hides_in_a_function() -> None:
    """Every import stands at the top of its module, where the layers' linter and a reader see it."""
    assert not (found := tree.findings(lambda _, source: house.inner_imports(source))), tree.listed(found)


def test_nothing_is_named_for_a_drawer() -> None:
    """A module, package or class is named for what it is."""
    assert not (found := tree.findings(house.drawers)), tree.listed(found)


def test_no_module_keeps_mutable_state() -> None:
    """What a module holds at its top level cannot grow or change; a table of cases in a test may be a plain list."""
    held = tree.findings(lambda _, source: house.mutable_globals(source), *tree.SHIPPED)
    assert not held, tree.listed(held)
    assert not (found := tree.findings(lambda _, source: house.rebound_globals(source))), tree.listed(found)


def test_every_module_says_what_it_is_for() -> None:
    """Every module opens with a docstring, and an __init__.py holds nothing else."""
    assert not (found := tree.findings(house.undescribed)), tree.listed(found)


@pytest.mark.parametrize(
    ("check", "bad"),
    [
        pytest.param(house.too_long, "\n" * (house.MODULE_LINES + 1), id="long module"),
        pytest.param(house.too_long, LONG_FUNCTION, id="long function"),
        pytest.param(
            house.too_long, "class Thing:\n" + textwrap.indent(f"async {LONG_FUNCTION}", "    "), id="long method"
        ),
        pytest.param(house.inner_imports, INNER_IMPORT, id="inner import"),
        pytest.param(house.inner_imports, "def deed():\n    from json import loads\n", id="inner from-import"),
        pytest.param(house.mutable_globals, "SEEN = []\n", id="list"),
        pytest.param(house.mutable_globals, "SEEN: dict[str, int] = {}\n", id="annotated dict"),
        pytest.param(
            house.mutable_globals, "import collections\nSEEN = collections.defaultdict(list)\n", id="defaultdict"
        ),
        pytest.param(house.mutable_globals, "SEEN = set[str]()\n", id="typed set"),
        pytest.param(house.mutable_globals, "if True:\n    SEEN = {n: n for n in range(3)}\n", id="inside if"),
        pytest.param(house.rebound_globals, "seen = 0\ndef deed():\n    global seen\n    seen = 1\n", id="global"),
    ],
)
def test_each_source_rule_can_be_broken(check: Callable[[str], list[str]], bad: str) -> None:
    """Each rule about source text finds a small bad example."""
    assert len(check(bad)) == 1


@pytest.mark.parametrize(
    ("check", "path", "bad"),
    [
        pytest.param(house.drawers, "gateway/utils.py", '"""."""\n', id="drawer module"),
        pytest.param(house.drawers, "gateway/common/keys.py", '"""."""\n', id="drawer package"),
        pytest.param(house.drawers, "gateway/job_helpers.py", '"""."""\n', id="drawer by suffix"),
        pytest.param(house.drawers, "gateway/jobs.py", '"""."""\nclass JobManager:\n    pass\n', id="drawer class"),
        pytest.param(house.undescribed, "gateway/jobs.py", "X = 1\n", id="no docstring"),
        pytest.param(house.undescribed, "gateway/__init__.py", '"""Rooms."""\nX = 1\n', id="full init"),
    ],
)
def test_each_rule_about_names_can_be_broken(check: Callable[[str, str], list[str]], path: str, bad: str) -> None:
    """Each rule about a module's name and its docstring finds a small bad example."""
    assert len(check(path, bad)) == 1


@pytest.mark.parametrize(
    "good",
    [
        "from types import MappingProxyType\nWAYS = MappingProxyType({1: 2})\n",
        "NAMES = frozenset({1, 2})\nORDER = (1, 2)\n",
        "__all__ = ['a']\n",
        "class Thing:\n    def deed(self):\n        seen = []\n        return seen\n",
        "if True:\n    def deed():\n        seen = []\n        return seen\n",
        "def deed():\n    for n in range(3):\n        seen = {}\n    return seen\n",
    ],
)
def test_frozen_and_local_values_are_allowed(good: str) -> None:
    """A frozen value at module level and a growing one inside a function are no module state."""
    assert house.mutable_globals(good) == []


def test_database_is_no_drawer() -> None:
    """A word that merely ends like a drawer's name is allowed."""
    assert house.drawers("gateway/storage/database.py", "class Database:\n    pass\n") == []
