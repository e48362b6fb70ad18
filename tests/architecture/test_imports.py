"""Import-linter's contracts hold, cover every room, and each of them can fail."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support import tree

LINT = Path(sys.executable).with_name("lint-imports")
HOUSE = ("gateway", "service", "workers", "cli", "emulator")

#: By the words its name begins with: the module that breaks a contract, and the import that does it.
OFFENCES = (
    ("Rooms of the gateway", "gateway/storage/offence.py", "import gateway.jobs"),
    ("Rooms of the gateway", "gateway/ledger/offence.py", "import gateway.archive"),
    ("The doors stand on the house", "gateway/jobs/offence.py", "import service"),
    ("The doors stand on the house", "service/offence.py", "import workers"),
    ("The emulator imports nothing of ours", "emulator/offence.py", "import gateway.money"),
    ("Nobody imports the emulator", "workers/offence.py", "import emulator"),
    ("litestar only in service", "workers/offence.py", "import litestar"),
    ("Templates only in the console", "service/offence.py", "import jinja2"),
    ("Templates only in the console", "gateway/jobs/offence.py", "import markupsafe"),
    ("arq only in workers", "gateway/jobs/offence.py", "import arq"),
    ("httpx only in upstream", "gateway/archive/offence.py", "import httpx"),
    ("obstore only in archive", "gateway/jobs/offence.py", "import obstore"),
    ("OpenTelemetry only where", "gateway/jobs/offence.py", "import opentelemetry"),
    ("Recording spans is loaded late", "service/offence.py", "import gateway.telemetry.spans"),
)


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the tree in a folder."""
    command = [str(LINT), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def contracts() -> list[dict[str, object]]:
    """Read the contracts from pyproject.toml."""
    found: list[dict[str, object]] = tomllib.loads((tree.ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    return found


def rooms_without_layer(layers: list[str], rooms: list[str]) -> list[str]:
    """Find rooms that no layer names, which could thus import whatever they like."""
    named = {name.strip() for layer in layers for name in layer.split("|")}
    return sorted(set(rooms) - named)


@pytest.fixture(scope="module")
def copied_house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what import-linter reads into a folder of the test's own."""
    folder = tmp_path_factory.mktemp("house")
    for part in HOUSE:
        shutil.copytree(tree.ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(tree.ROOT / "pyproject.toml", folder)
    return folder


def test_all_contracts_are_kept() -> None:
    """Imports of the house point only where its contracts allow."""
    done = lint(tree.ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("contract", "module", "offence"), OFFENCES)
def test_each_contract_can_be_broken(copied_house: Path, contract: str, module: str, offence: str) -> None:
    """One forbidden import breaks the contract that forbids it."""
    offender = copied_house / module
    offender.write_text(f'"""Breaks a rule."""\n\n{offence}\n')
    try:
        done = lint(copied_house)
    finally:
        offender.unlink()
    words = " ".join(done.stdout.split())
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{contract}" in words.split("Broken contracts", 1)[1]
    assert module.removesuffix(".py").replace("/", ".") in words


def test_every_contract_has_an_offence_here() -> None:
    """A new contract comes with the import that breaks it."""
    names = [str(contract["name"]) for contract in contracts()]
    assert [name for name in names if not name.startswith(tuple(offence[0] for offence in OFFENCES))] == []


def test_every_room_has_its_layer() -> None:
    """Each package and module right under gateway is named in the contract of the rooms."""
    layers = next(contract["layers"] for contract in contracts() if str(contract["name"]).startswith("Rooms"))
    assert isinstance(layers, list)
    found = (tree.ROOT / "gateway").glob("*/__init__.py"), (tree.ROOT / "gateway").glob("[a-z]*.py")
    rooms = [f"gateway.{path.parent.name}" for path in found[0]] + [f"gateway.{path.stem}" for path in found[1]]
    assert rooms_without_layer(layers, rooms) == []


def test_a_room_without_layer_is_found() -> None:
    """A room that no layer names is found."""
    assert rooms_without_layer(["gateway.a | gateway.b", "gateway.c"], ["gateway.b", "gateway.d"]) == ["gateway.d"]
