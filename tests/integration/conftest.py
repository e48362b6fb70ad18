"""A rig on each kind of database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.door import Door
from tests.support import rig as rigs
from tests.support import studio as studios
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig
from tests.support.studio import Studio


@pytest.fixture
def migrated() -> bool:
    """Databases have the schema already."""
    return True


@pytest.fixture
async def rig(emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Rig]:
    """Give a gateway whose steps the test takes, once on SQLite and once on PostgreSQL."""
    async with rigs.rig(rigs.environment(emulator, database_url, redis_url, tmp_path)) as built:
        yield built


@pytest.fixture
async def studio(emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Studio]:
    """Give a rig that sells a model which starts from pictures, and a door that hands those out, on each database."""
    environ = studios.environment(emulator, database_url, redis_url, tmp_path)
    async with Door(environ), rigs.rig(environ) as built:
        yield Studio(built, emulator)
