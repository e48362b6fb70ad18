"""The front doors that tests of the API ask for."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.door import Door, environment
from tests.support import ports


@pytest.fixture
async def door(sqlite_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Door]:
    """Give a front door on SQLite, for what does not depend on the database."""
    async with Door(environment(sqlite_url, redis_url, str(tmp_path / "archive"), ports.free_one())) as opened:
        yield opened


@pytest.fixture
async def any_door(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Door]:
    """Give a front door: the test runs once on SQLite and once on PostgreSQL."""
    async with Door(environment(database_url, redis_url, str(tmp_path / "archive"), ports.free_one())) as opened:
        yield opened
