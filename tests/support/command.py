"""Runs the `torii` command as a real process of its own that need not load the house anew each time.

A server process has loaded what the commands need and forks for each run: the same code, arguments, environment, folder
and exit status as from a shell, without a second of imports.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cli import main

#: What the commands load; the forked process has it already.
LOADED = (
    "cli.main", "cli.apply", "cli.backup", "cli.doctor", "cli.jobs", "cli.key", "cli.ledger", "cli.models", "cli.pause",
    "cli.restore", "cli.resume", "cli.team", "cli.upstream", "cli.usage",
)  # fmt: skip
WITHIN_S = 60


def run(words: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `torii` with these words to its end, seeing only this environment."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(LOADED))
    with tempfile.TemporaryDirectory() as scratch:
        out, err = Path(scratch, "out"), Path(scratch, "err")
        process = context.Process(target=_child, args=(list(words), str(folder), dict(environment), str(out), str(err)))
        process.start()
        process.join(WITHIN_S)
        if process.exitcode is None:
            process.kill()
            raise AssertionError(f"torii {' '.join(words)} did not end within {WITHIN_S} s")
        return subprocess.CompletedProcess(["torii", *words], process.exitcode, out.read_text(), err.read_text())


def _child(words: list[str], folder: str, environment: dict[str, str], out: str, err: str) -> None:
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["torii", *words]
    main.main()
