"""The release before this one, as the history has it: the tree of the last commit before this release's schema."""

import io
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from gateway.storage import schema
from tests.support.report import UnavailableError
from tests.support.tree import ROOT

_SCHEMA = "gateway/storage/schema.py"


def _git(*words: str) -> bytes:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=True).stdout


def unpack(folder: Path) -> Path:
    """Put that tree into an empty folder; ``UnavailableError`` where there is no such history."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        raise UnavailableError("not a git checkout, so there is no release before this one to start")
    commit = _before()
    with tarfile.open(fileobj=io.BytesIO(_git("archive", commit))) as tree:
        tree.extractall(folder, filter="data")
    assert f"RELEASE = {schema.RELEASE - 1}\n" in (folder / _SCHEMA).read_text()
    return folder


def _before() -> str:
    """The last commit of the release before; the head itself while this release is not committed."""
    if re.search(rf"^RELEASE = {schema.RELEASE - 1}$", _git("show", f"HEAD:{_SCHEMA}").decode(), re.MULTILINE):
        return "HEAD"
    mark = f"^RELEASE = {schema.RELEASE}$"
    first = _git("log", "--format=%H", "-n1", "-G", mark, "--", _SCHEMA).decode().strip()
    if not first or subprocess.run(["git", "-C", str(ROOT), "cat-file", "-e", f"{first}^"], check=False).returncode:
        raise UnavailableError("the history is cut off before the release before this one")
    return f"{first}^"
