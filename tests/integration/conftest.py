"""A rig on each kind of database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import rig as rigs
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig


@pytest.fixture
async def rig(emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Rig]:
    """Give a gateway whose steps the test takes, once on SQLite and once on PostgreSQL."""
    async with rigs.rig(rigs.environment(emulator, database_url, redis_url, tmp_path)) as built:
        yield built
