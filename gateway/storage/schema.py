"""Bringing the database to this release's schema, and refusing one that this release cannot work with.

Only ``torii migrate`` (which ``torii up`` calls) changes a schema. Releases N and N-1 run side by side, so a process
takes its own release's schema and the next one's, nothing else.
"""

from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.storage import database, tables
from gateway.storage.database import Database

#: Grows by one with each release whose migrations change the schema.
RELEASE = 4

#: Any number, the same in each process: makes two migrations at once wait for each other on PostgreSQL.
_MIGRATION_LOCK = 0x746F726969
_THE_ACCOUNT: Final = sa.select(tables.upstream_account).where(tables.upstream_account.c.id == 1).with_for_update()


def config(connection: sa.Connection | None = None) -> Config:
    """Alembic's configuration, without a file: the scripts lie in this package."""
    alembic = Config()
    alembic.set_main_option("script_location", "gateway.storage:migrations")
    alembic.set_main_option("path_separator", "os")
    alembic.attributes["connection"] = connection
    return alembic


async def migrate(opened: Database, revision: str = "head") -> None:
    """Bring the schema to ``revision``, in one transaction; safe to run twice and by two processes at once."""
    async with opened.write() as tx:
        await lock(tx)
        await migrate_in(tx, revision)


async def lock(tx: AsyncConnection) -> None:
    """Keep other migrations and restores out until the transaction ends; it may take its time."""
    await database.lift_limits(tx)
    if tx.dialect.name == "postgresql":
        await tx.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))


async def migrate_in(tx: AsyncConnection, revision: str = "head") -> None:
    """As ``migrate``, in the caller's own transaction."""
    await tx.run_sync(lambda connection: command.upgrade(config(connection), revision))


async def clear_in(tx: AsyncConnection) -> None:
    """Take the whole schema away, with all that is in it, in the caller's own transaction."""
    await tx.run_sync(lambda connection: command.downgrade(config(connection), "base"))


async def release(connection: AsyncConnection) -> int | None:
    """The release whose schema the database has; none where it has none."""
    return await connection.run_sync(_release)


async def revision(connection: AsyncConnection) -> str | None:
    """The last migration that the database has had; none before the first."""
    return await connection.run_sync(lambda raw: MigrationContext.configure(raw).get_current_revision())


def revisions() -> frozenset[str]:
    """Every migration that this program knows."""
    scripts = ScriptDirectory.from_config(config())
    return frozenset(script.revision for script in scripts.walk_revisions())


async def downgrade(opened: Database, revision: str) -> None:
    """Take the schema back to ``revision``, data of later columns lost; for tests and for an operator's last resort."""
    async with opened.write() as tx:
        await tx.run_sync(lambda connection: command.downgrade(config(connection), revision))


async def check(opened: Database) -> None:
    """Raise ``SchemaMismatch`` unless the schema is this release's or the next one's."""
    async with opened.read() as connection:
        release = await connection.run_sync(_release)
    if release is None:
        raise errors.SchemaMismatch(
            "TORII_DATABASE_URL: the database has no Torii schema; run `torii migrate`", param="TORII_DATABASE_URL"
        )
    if release < RELEASE:
        raise errors.SchemaMismatch(
            f"TORII_DATABASE_URL: the schema is of release {release}, this program needs {RELEASE}; "
            "run `torii migrate`",
            param="TORII_DATABASE_URL",
        )
    if release > RELEASE + 1:
        raise errors.SchemaMismatch(
            f"TORII_DATABASE_URL: the schema is of release {release}, this program knows {RELEASE} and "
            f"{RELEASE + 1}; deploy a newer Torii",
            param="TORII_DATABASE_URL",
        )


def _release(connection: sa.Connection) -> int | None:
    if not sa.inspect(connection).has_table(tables.schema_info.name):
        return None
    return connection.execute(sa.select(tables.schema_info.c.release)).scalar_one_or_none()


async def pending(opened: Database) -> bool:
    """Whether ``migrate`` would change anything."""
    head = ScriptDirectory.from_config(config()).get_current_head()

    def current(connection: sa.Connection) -> str | None:
        return MigrationContext.configure(connection).get_current_revision()

    async with opened.read() as connection:
        return await connection.run_sync(current) != head


async def lock_account(tx: AsyncConnection) -> sa.Row[tuple[object, ...]]:
    """The one row of the upstream account, locked until the transaction ends."""
    return (await tx.execute(_THE_ACCOUNT)).one()
