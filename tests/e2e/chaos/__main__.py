"""``python -m tests.e2e.chaos --seed N --rounds N``: a long run and its report. Exit status 1: something did not hold.

Starts and removes its own servers; nothing of it outlives it.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.e2e.chaos import judges, report, run, truth, world
from tests.e2e.chaos.run import Length
from tests.e2e.chaos.world import Servers
from tests.support.emulator import EmulatorProcess
from tests.support.postgres import Postgres
from tests.support.report import UnavailableError
from tests.support.s3 import RadosGateway
from tests.support.valkey import Valkey


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """What the command was told."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.chaos", description="A run of chaos, and its report.")
    parser.add_argument("--seed", type=int, default=1, help="what happens when follows from it")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument(
        "--archive", choices=("s3", "folder"), default="s3", help="a folder, where S3 cannot be started"
    )
    parser.add_argument("--impatient", action="store_true", help="do not wait for evidence about unknown submissions")
    parser.add_argument("--write", action="store_true", help="write the report into docs/reliability.md")
    parser.add_argument("--keep", action="store_true", help="leave logs and stores in their folder")
    return parser.parse_args(words)


def main() -> int:
    """Play a run and tell of it."""
    asked = parse()
    folder = Path(tempfile.mkdtemp(prefix="torii-chaos-"))
    try:
        with ExitStack() as ending:
            servers = _servers(asked, ending)
            return asyncio.run(_play(asked, servers, folder))
    finally:
        if asked.keep:
            sys.stdout.write(f"kept in {folder}\n")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _servers(asked: argparse.Namespace, ending: ExitStack) -> Servers:
    emulator = ending.enter_context(EmulatorProcess(balance=10_000_000))
    valkey = ending.enter_context(Valkey())
    postgres = ending.enter_context(Postgres(fsync=True)) if asked.database == "postgres" else None
    s3 = None
    if asked.archive == "s3":
        try:
            s3 = ending.enter_context(RadosGateway())
        except UnavailableError as reason:
            sys.stdout.write(f"no S3 server, the archive is a folder: {reason}\n")
    return Servers(emulator, valkey, postgres, s3)


async def _play(asked: argparse.Namespace, servers: Servers, folder: Path) -> int:
    versions = servers.versions()
    async with world.world(servers, folder, services=2, workers=4) as made:
        length = Length(asked.rounds, patient=not asked.impatient)
        played = await run.play(made, asked.seed, length, _tell)
        known = await truth.gather(made)
        found = await judges.judge(played, known)
        text = report.render(played, known, found, versions)
    sys.stdout.write(f"{text}\n")
    if asked.write:
        report.write(text)
    return 1 if any(found.values()) else 0


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
