"""The walks through ``life`` that are made, and what is read from them: the ways that jobs went, the steps taken."""

import importlib
import inspect
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from tests.model import explore, laws, life
from tests.model.explore import Walk
from tests.model.world import ENDED, Rules, World

STATES_MAX: Final = 200_000

#: Each by what it looks at.
WALKS: Final = MappingProxyType(
    {
        "from the order to the archive": Rules(),
        "doubts, evidence and a second submit": Rules(resubmit_once=True, evidence=True, to_the_end=False),
    }
)

#: Where the names of steps are looked up; a module's own name may be short for where it lives.
_ROOMS: Final = ("gateway.jobs", "gateway.upstream", "gateway.reuse")
#: The upstream client's methods are named by their module.
_CLASSES: Final = MappingProxyType({"client": "Upstream"})
#: What nobody in the house does.
OUTSIDE: Final = ("chance.", "time.", "upstream.")


def of(rules: Rules) -> tuple[Walk[World], int]:
    """All states under those rules, and how many of them are ends; ``BrokenModelError`` where a law does not hold."""
    found = explore.walk(World(), lambda world: life.steps(rules, world), laws.wrong, STATES_MAX)
    return found, explore.all_reach(found, lambda world: laws.is_end(rules, world))


def ways(found: Walk[World]) -> set[tuple[str, str]]:
    """Each way from a state of the job to another that was gone."""
    return {
        (before.state, after.state)
        for after, entries in found.before.items()
        for before in entries
        if before.state != after.state
    }


def revived(found: Walk[World]) -> set[str]:
    """The failures of ended jobs that lived again."""
    return {
        before.failure or before.state
        for after, entries in found.before.items()
        for before in entries
        if before.state in ENDED and after.state != before.state
    }


def function(step: str) -> Callable[..., object] | None:
    """The function of the house that a step is named after; none if there is none."""
    module_name, name = step.split(".")
    for room in _ROOMS:
        try:
            module: object = importlib.import_module(f"{room}.{module_name}")
        except ModuleNotFoundError:
            continue
        if module_name in _CLASSES:
            module = getattr(module, _CLASSES[module_name])
        found = getattr(module, name, None)
        if inspect.isroutine(found):
            return found
    return None


def named(planned: frozenset[str]) -> set[str]:
    """The steps of the house that the walks' rules can take, without what is planned."""
    source = inspect.getsource(life)
    quoted = {
        word for word in source.split('"') if word.count(".") == 1 and word.replace(".", "").replace("_", "").isalpha()
    }
    return {word for word in quoted if not word.startswith(OUTSIDE) and word == word.lower()} - planned
