"""``torii migrate``: the one command, beside ``up``, that changes a database's schema. Never goes back."""

import asyncio

import typer
from alembic.util.exc import CommandError

from cli import screen, stores
from cli.screen import AsJson
from gateway import errors
from gateway.settings.values import Purpose
from gateway.storage import schema
from gateway.storage import stores as house_stores
from gateway.storage.database import Database

app = typer.Typer(add_completion=False)


@app.command()
def migrate(as_json: AsJson = False) -> None:
    """Bring the database to this release's schema; harmless when it is there already."""
    changed = asyncio.run(_migrate())
    if as_json:
        screen.write_json({"changed": changed, "release": schema.RELEASE})
    else:
        done = "brought" if changed else "already"
        screen.console().print(f"the database was {done} up to release {schema.RELEASE}'s schema")


async def _migrate() -> bool:
    async with house_stores.open(stores.settings(Purpose.MIGRATE)) as opened:
        return await bring_up(opened.database)


async def bring_up(database: Database) -> bool:
    """Migrate if need be; whether it was. ``SettingError`` when the database cannot be reached, or is a newer one."""
    try:
        if not await schema.pending(database):
            return False
        await schema.migrate(database)
    except errors.StoreUnavailable as error:
        raise errors.SettingError(
            f"TORII_DATABASE_URL: the database cannot be reached ({type(error.__cause__).__name__})",
            param="TORII_DATABASE_URL",
        ) from error
    except CommandError as error:
        raise errors.SchemaMismatch(
            "TORII_DATABASE_URL: the database was migrated by a newer Torii; deploy that one",
            param="TORII_DATABASE_URL",
        ) from error
    return True
