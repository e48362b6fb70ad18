"""``python -m tests.e2e.rehearsal --rounds N``: a rehearsal and its report. Exit status 1: something failed.

Starts and removes its own servers; nothing of it outlives it.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.e2e.chaos import judges, truth, world
from tests.e2e.chaos.world import Servers
from tests.e2e.rehearsal import play, report
from tests.e2e.rehearsal.play import Scale
from tests.support import earlier
from tests.support.emulator import EmulatorProcess
from tests.support.postgres import Postgres
from tests.support.prometheus import Prometheus
from tests.support.report import UnavailableError
from tests.support.s3 import RadosGateway
from tests.support.valkey import Valkey


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """What the command was told."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.rehearsal", description="A deploy rehearsed under load.")
    parser.add_argument("--rounds", type=int, default=2, help="how often all is rolled back and forth")
    parser.add_argument("--write", action="store_true", help="write the report into docs/reliability.md")
    parser.add_argument("--keep", action="store_true", help="leave logs and stores in their folder")
    return parser.parse_args(words)


def main() -> int:
    """Play a rehearsal and tell of it."""
    asked = parse()
    folder = Path(tempfile.mkdtemp(prefix="torii-rehearsal-"))
    try:
        with ExitStack() as ending:
            servers = Servers(
                ending.enter_context(EmulatorProcess(balance=10_000_000)),
                ending.enter_context(Valkey(appendonly=True)),
                ending.enter_context(Postgres(fsync=True)),
                _s3(ending),
            )
            return asyncio.run(_play(asked, servers, ending.enter_context(Prometheus()), folder))
    finally:
        if asked.keep:
            sys.stdout.write(f"kept in {folder}\n")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _s3(ending: ExitStack) -> RadosGateway | None:
    try:
        return ending.enter_context(RadosGateway())
    except UnavailableError as reason:
        sys.stdout.write(f"no S3 server, the archive is a folder: {reason}\n")
        return None


async def _play(asked: argparse.Namespace, servers: Servers, prometheus: Prometheus, folder: Path) -> int:
    tree = folder / "before"
    try:
        before = earlier.unpack(tree)
    except UnavailableError as reason:
        sys.stdout.write(f"one release alone: {reason}\n")
        before = None
    versions = {**servers.versions(), "Prometheus": prometheus.version.removeprefix("prometheus ")}
    async with world.world(servers, folder, services=2, workers=3) as made:
        played = await play.play(made, before, prometheus, Scale(rounds=asked.rounds, pause_s=3.0), _tell)
        known = await truth.gather(made)
        found = await judges.judge(played.run, known)
        text = report.render(played, known, found, versions, releases=1 if before is None else 2)
    sys.stdout.write(f"{text}\n")
    if asked.write:
        report.write(text)
    return 1 if played.crowd.failures or any(found.values()) else 0


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
