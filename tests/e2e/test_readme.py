"""The README's commands, run as they stand on the page, by somebody who has the repository and a terminal."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.images import picture
from tests.support import ports
from tests.support.node import NodeClient
from tests.support.process import Process

ROOT = Path(__file__).resolve().parents[2]
#: What the page says, and where the gateway of this test listens instead.
ADDRESS = "127.0.0.1:8700"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_KEY = re.compile(r"torii_[0-9A-Za-z]+_[0-9A-Za-z]+")
_STARTS_WITHIN_S = 90.0
_ENDS_WITHIN_S = 90


def blocks(language: str, containing: str = "") -> list[str]:
    """The page's blocks of code in that language, in order."""
    found = _BLOCK.findall((ROOT / "README.md").read_text())
    return [code for said, code in found if said == language and containing in code]


@dataclass(frozen=True)
class Reader:
    """Somebody who reads on while ``make run`` runs: where, at which port, and the key that was printed."""

    folder: Path
    port: int
    key: str

    def run(self, command: list[str], code: str) -> str:
        """What the code says, on both of its outputs, fed to that program; fails with what it complains."""
        done = subprocess.run(
            command,
            input=code.replace(ADDRESS, f"{ports.LOOPBACK}:{self.port}"),
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "TORII_KEY": self.key,
                "TORII_PORT": str(self.port),
            },
            capture_output=True,
            text=True,
            timeout=_ENDS_WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def shell(self, code: str) -> str:
        """A block of the page, pasted."""
        return self.run(["sh", "-e"], code)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """The first block of the page, running, in a folder that has what a clone has."""
    folder, port = tmp_path_factory.mktemp("clone"), ports.free_one()
    for name in ("Makefile", "pyproject.toml", "requirements", ".venv"):
        (folder / name).symlink_to(ROOT / name)
    (start,) = blocks("sh", "make run")
    # What is installed is the suite's own, and stays as it is.
    command = ["make", "--old-file=.venv/.run-installed", *start.split()[1:]]
    with Process(command, folder=folder, environment={"TORII_PORT": str(port)}, name="make") as process:
        process.wait_ready("Order a picture", _STARTS_WITHIN_S)
        found = _KEY.search(process.output())
        assert found is not None
        yield Reader(folder, port, found.group())


def saved(folder: Path, pattern: str) -> list[Path]:
    """The pictures under such names, each of them readable."""
    found = sorted(folder.glob(pattern))
    for path in found:
        assert picture.inspect(path.read_bytes()).width >= 256
    return found


def test_the_first_picture(reader: Reader) -> None:
    """The second command of the page makes a picture and saves it, and the same line again costs nothing."""
    (line,) = blocks("sh", "torii generate")
    reader.shell(line)
    assert len(saved(reader.folder, "*.png")) == 1
    said = reader.shell(line)
    assert "made before: 0 credits" in said


def test_curl(reader: Reader) -> None:
    """The call in curl answers with a finished job and links."""
    (call,) = blocks("sh", "curl")
    said = reader.shell(call)
    assert '"status":"completed"' in said
    assert "/images/" in said


@pytest.mark.parametrize(("library", "name"), [("httpx.Client", "python.png"), ("openai", "openai.png")])
def test_python(reader: Reader, library: str, name: str) -> None:
    """The programs in Python save a picture."""
    (program,) = blocks("python", library)
    reader.run([sys.executable, "-W", "error", "-"], program)
    assert len(saved(reader.folder, name)) == 1


def test_node(reader: Reader, node_client: NodeClient) -> None:
    """The program in JavaScript saves a picture."""
    assert node_client.version
    (program,) = blocks("js")
    reader.run(["node", "--input-type=module", "-"], program)
    assert len(saved(reader.folder, "node.png")) == 1


def test_teams_and_keys(reader: Reader) -> None:
    """The operator's commands of the page do what they say."""
    (commands,) = blocks("sh", "team create")
    said = reader.shell(commands)
    assert "design" in said
    assert _KEY.search(said)


def test_every_block_is_run() -> None:
    """No block of the page is left out above."""
    assert len(blocks("sh")) == 4
    assert len(blocks("python")) == 2
    assert len(blocks("js")) == 1
    assert len(_BLOCK.findall((ROOT / "README.md").read_text())) == 7
