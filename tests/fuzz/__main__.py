"""`python -m tests.fuzz`: a gateway in real processes, fuzzed; the exit status tells whether it kept its document."""

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

from tests.fuzz import ground, runner
from tests.fuzz.runner import Run
from tests.support.emulator import EmulatorProcess
from tests.support.postgres import Postgres
from tests.support.valkey import Valkey

#: Enough for every order that a run can make.
_BALANCE = 10_000_000


def main() -> int:
    """Fuzz once; 0 when every answer was as the document says and nothing died."""
    asked = _arguments()
    _say(f"seed {asked.seed}, {asked.examples} examples an operation, on {asked.database}")
    with (
        tempfile.TemporaryDirectory(prefix="torii-fuzz-") as folder,
        Valkey() as valkey,
        EmulatorProcess(balance=_BALANCE) as emulator,
    ):
        path = Path(folder)
        # The servers' own programs may run as another user, who must be able to enter.
        path.chmod(0o755)
        if asked.database == "sqlite":
            return _fuzz(asked, emulator, f"sqlite+aiosqlite:///{path / 'torii.db'}", valkey.url, path)
        with Postgres() as postgres:
            return _fuzz(asked, emulator, postgres.url(postgres.create()), valkey.url, path)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=25, help="test cases an operation and phase (25)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--max-time", type=int, default=300, help="seconds for the whole run (300)")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--phases", default="examples,coverage,fuzzing,stateful")
    parser.add_argument("--operation", action="append", default=[], help="only this operation; may be repeated")
    return parser.parse_args()


def _fuzz(asked: argparse.Namespace, emulator: EmulatorProcess, database_url: str, redis_url: str, path: Path) -> int:
    run = Run(asked.examples, asked.seed, asked.max_time, tuple(asked.phases.split(",")), tuple(asked.operation))
    with ground.ground(emulator, database_url, redis_url, path) as standing:
        status = runner.carry_out(run, standing, path).returncode
        dead = [process.name for process in standing.processes if not process.running]
        bugs = [
            f"{process.name}: {line}"
            for process in standing.processes
            for line in process.output().splitlines()
            if ground.is_bug(line)
        ]
    for line in (*(f"{name} died" for name in dead), *bugs[:20]):
        _say(line)
    _say(f"{'NOT as documented' if status or dead or bugs else 'as documented'}; seed {asked.seed}")
    return int(bool(status or dead or bugs))


def _say(line: str) -> None:
    sys.stdout.write(f"fuzz: {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    # A person's own settings have no say here.
    for name in list(os.environ):
        if name.startswith(("PIXELDOJO_", "TORII_", "AWS_", "OTEL_", "SCHEMATHESIS_")):
            del os.environ[name]
    raise SystemExit(main())
