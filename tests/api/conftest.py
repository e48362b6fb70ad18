"""The front doors that tests of the API ask for."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.door import Door, environment
from tests.support import editing, ports


@pytest.fixture
def migrated() -> bool:
    """Databases have the schema already."""
    return True


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


@pytest.fixture
async def editor(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Door]:
    """Give a front door with a model that starts from pictures, on both databases, that may call loopback."""
    environ = environment(database_url, redis_url, str(tmp_path / "archive"), ports.free_one())
    more = {"TORII_CATALOGUE": editing.catalogue(tmp_path), "TORII_WEBHOOK_ALLOW_NETS": "127.0.0.0/8"}
    async with Door({**environ, **more, "TORII_UPLOAD_TEAM_MIB": "25"}) as opened:
        yield opened
