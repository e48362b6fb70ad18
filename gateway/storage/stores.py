"""The stores alone, opened by their settings: what commands work on that need nothing else of the house.

Connects lazily: an unreachable database shows at the first statement, or at ``reach``.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from gateway import errors
from gateway.clock import Clock, SystemClock
from gateway.settings.values import Settings
from gateway.storage import database, schema
from gateway.storage.database import Database, Limits


@dataclass(frozen=True)
class Stores:
    """The stores alone, for commands that work on them."""

    settings: Settings
    database: Database
    clock: Clock


@asynccontextmanager
async def open(settings: Settings) -> AsyncIterator[Stores]:
    """The stores of those settings, closed at the end; connects at the first statement."""
    found = open_database(settings)
    try:
        yield Stores(settings, found, SystemClock())
    finally:
        await found.close()


def open_database(settings: Settings, limits: Limits = database.LIMITS) -> Database:
    """The database of those settings; ``SettingError`` when its folder cannot be made."""
    try:
        return database.open(settings.reveal("database_url"), limits=limits)
    except OSError as error:
        raise errors.SettingError(
            f"TORII_DATABASE_URL: its folder cannot be made ({error.strerror})", param="TORII_DATABASE_URL"
        ) from error


async def answers(found: Database) -> None:
    """Raise ``SettingError`` unless the database answers, whatever is in it."""
    try:
        async with found.read() as connection:
            await connection.execute(sa.select(sa.literal(1)))
    except errors.StoreUnavailable as error:
        raise _unreachable(error) from error


async def reach(found: Database) -> None:
    """Raise ``SettingError`` unless the database answers and has a schema of this release."""
    try:
        await schema.check(found)
    except errors.StoreUnavailable as error:
        raise _unreachable(error) from error


def _unreachable(error: errors.StoreUnavailable) -> errors.SettingError:
    return errors.SettingError(
        f"TORII_DATABASE_URL: the database cannot be reached ({type(error.__cause__).__name__})",
        param="TORII_DATABASE_URL",
    )
