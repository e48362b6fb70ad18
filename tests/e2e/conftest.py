"""A gateway in real processes: the rig accepts orders, real workers carry them out."""

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support import rig as rigs
from tests.support.emulator import EmulatorProcess
from tests.support.process import Process, StartProcess
from tests.support.rig import Rig


@pytest.fixture
def environ(emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    """Give the settings of the gateway under test, once on SQLite and once on PostgreSQL."""
    return rigs.environment(emulator, database_url, redis_url, tmp_path)


@pytest.fixture
async def rig(environ: dict[str, str]) -> AsyncIterator[Rig]:
    """Give the test's own hands on the gateway's stores."""
    async with rigs.rig(environ) as built:
        yield built


@pytest.fixture
def start_worker(start_process: StartProcess, environ: dict[str, str]) -> Callable[..., Process]:
    """Start `torii work` as a real process, and wait until it beats."""

    def start(name: str = "worker", **more: str) -> Process:
        command = [sys.executable, "-m", "workers"]
        return start_process(command, {**environ, **more}, name=name).wait_ready("worker_ready")

    return start
