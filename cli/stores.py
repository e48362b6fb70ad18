"""The stores as commands find them: settings read, the database there and of this release's schema.

In a directory where ``torii up`` keeps its ``var/``, its secrets and its Redis are the defaults. Changes nothing.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import sqlalchemy as sa
from redis.asyncio import Redis
from redis.exceptions import RedisError

from cli import house_files
from gateway import errors
from gateway.settings import values
from gateway.settings.values import Purpose, Settings
from gateway.storage import stores as house_stores
from gateway.storage.stores import Stores
from gateway.telemetry import logs


def settings(purpose: Purpose = Purpose.STORE) -> Settings:
    """The settings of this command."""
    read = values.read(purpose, house_files.environment(os.environ))
    quiet(read)
    return read


def quiet(chosen: Settings) -> None:
    """Silence the logs: the command itself says what went wrong."""
    logs.configure(level="CRITICAL", hidden=chosen.secrets())


@asynccontextmanager
async def opened(chosen: Settings | None = None) -> AsyncIterator[Stores]:
    """The open stores. Raises ``SettingError`` when the database is not there, or of another release."""
    chosen = settings() if chosen is None else chosen
    require_file(chosen)
    async with house_stores.open(chosen) as stores:
        await house_stores.reach(stores.database)
        yield stores


async def require(chosen: Settings) -> None:
    """Raise ``SettingError`` unless ``opened`` would open, before a door begins to log."""
    quiet(chosen)
    async with opened(chosen):
        pass


def require_file(chosen: Settings) -> None:
    """Raise ``SettingError`` for a SQLite file that does not exist: opening it would make an empty one."""
    url = sa.make_url(chosen.reveal("database_url"))
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        raise errors.SettingError(
            f"TORII_DATABASE_URL: there is no database at {url.database}; go to the directory of your gateway, "
            "or make one with `torii up` or `torii migrate`",
            param="TORII_DATABASE_URL",
        )


async def reach_redis(redis: Redis) -> None:
    """Raise ``SettingError`` unless Redis answers."""
    try:
        await redis.ping()
    except (RedisError, OSError) as error:
        raise errors.SettingError(
            f"TORII_REDIS_URL: Redis cannot be reached ({type(error).__name__})", param="TORII_REDIS_URL"
        ) from error
