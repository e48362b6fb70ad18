"""The files of this checkout that the architecture tests read. Judges none of them."""

import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("gateway", "service", "workers", "cli", "emulator", "bench", "deploy")
PARTS = (*SHIPPED, "tests")


def modules(*parts: str) -> list[Path]:
    """Return every Python module of these top-level folders, of all of them when none is named."""
    return sorted(path for part in parts or PARTS for path in (ROOT / part).rglob("*.py"))


def findings(check: Callable[[str, str], list[str]], *parts: str) -> list[str]:
    """Apply a check of (path, source) to every module, and return what it found as `path: finding`."""
    found = []
    for path in modules(*parts):
        name = path.relative_to(ROOT).as_posix()
        found += [f"{name}: {finding}" for finding in check(name, path.read_text())]
    return found


def listed(found: Iterable[str]) -> str:
    """Return findings one a line, for an assertion's message, which pytest would cut short otherwise."""
    return "\n" + "\n".join(found)


def committable() -> list[Path]:
    """Return the files that git tracks or would track; none outside a git checkout."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    paths = (ROOT / name for name in done.stdout.split("\0") if name)
    return sorted({path for path in paths if path.is_file()}) if done.returncode == 0 else []
