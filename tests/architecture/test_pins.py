"""The traps of the stack stay shut: versions that look newer and break, and modules that are about to go."""

import re
import tomllib
from importlib import metadata

import pytest

from tests.support import house, tree


def release(package: str) -> tuple[int, ...]:
    """Return the numbers of an installed package's version."""
    return tuple(int(number) for number in re.findall(r"\d+", metadata.version(package))[:3])


def test_arq_is_the_one_that_was_tried() -> None:
    """An arq other than 0.28.0 is a silent downgrade or an untried release: its queue's rules are built upon."""
    assert metadata.version("arq") == "0.28.0"
    assert "arq==0.28.0" in tomllib.loads((tree.ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


def test_redis_client_is_one_that_arq_takes() -> None:
    """The Redis client is 5.3 or a later 5: arq refuses 6, and asking for both installs an old arq."""
    assert (5, 3) <= release("redis") < (6,)


def test_litestar_is_below_3() -> None:
    """Litestar is a 2: the next one moves what the service imports."""
    assert (2, 25) <= release("litestar") < (3,)


def test_nothing_imports_litestar_contrib() -> None:
    """Nothing imports litestar.contrib, which goes in Litestar 3; its parts are in litestar.plugins."""
    found = tree.findings(lambda _, source: house.imports_of(source, "litestar.contrib"))
    assert not found, tree.listed(found)


@pytest.mark.parametrize("name", ["run.txt", "dev.txt"])
def test_requirements_pin_what_was_tried(name: str) -> None:
    """The pinned requirements have the versions that the traps allow."""
    text = (tree.ROOT / "requirements" / name).read_text()
    pins = dict(re.findall(r"^([a-z0-9-]+)(?:\[[^\]]*\])?==(\S+)", text, re.MULTILINE))
    assert pins["arq"] == "0.28.0"
    assert pins["redis"].startswith("5.")
    assert pins["litestar"].startswith("2.")


@pytest.mark.parametrize(
    "source",
    ["import litestar.contrib.jwt\n", "from litestar.contrib import jwt\n", "from litestar import contrib\n"],
)
def test_imports_of_contrib_are_found(source: str) -> None:
    """Each way to import litestar.contrib is found."""
    assert house.imports_of(source, "litestar.contrib") != []
