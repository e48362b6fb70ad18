"""The schema: what the migrations make is what the code says, forwards and backwards, on both databases."""

import asyncio
from datetime import datetime

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from gateway import errors
from gateway.storage import database, outbox, reuse_tables, schema, session_tables, tables
from gateway.storage.database import Database

NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001  a time without a zone is what the test is about


def difference(connection: sa.Connection) -> list[object]:
    """What would still have to change for the database to be as the tables say."""
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": False})
    # Every module of tables declares into one collection, if it is imported.
    assert outbox.deliveries.metadata is reuse_tables.flights.metadata is session_tables.sessions.metadata
    return list(compare_metadata(context, reuse_tables.flights.metadata))


@pytest.fixture
def migrated() -> bool:
    """Databases are empty here."""
    return False


async def test_the_migrations_make_what_the_tables_say(database_url: str) -> None:
    """After all migrations nothing is left to do, and a second run changes nothing."""
    opened = database.open(database_url)
    try:
        for _ in range(2):
            await schema.migrate(opened)
            async with opened.read() as connection:
                assert await connection.run_sync(difference) == []
        assert not await schema.pending(opened)
        await schema.check(opened)
    finally:
        await opened.close()


async def test_a_migration_can_be_taken_back(database_url: str) -> None:
    """Down to nothing and up again leaves the same schema."""
    opened = database.open(database_url)
    try:
        await schema.migrate(opened)
        await schema.downgrade(opened, "base")
        async with opened.read() as connection:
            left = await connection.run_sync(lambda raw: set(sa.inspect(raw).get_table_names()))
        assert left <= {"alembic_version"}
        await schema.migrate(opened)
        async with opened.read() as connection:
            assert await connection.run_sync(difference) == []
    finally:
        await opened.close()


async def test_two_migrations_at_once_make_one_schema(database_url: str) -> None:
    """Two processes that migrate at the same moment both succeed."""
    first, second = database.open(database_url), database.open(database_url)
    try:
        await asyncio.gather(schema.migrate(first), schema.migrate(second))
        await schema.check(first)
    finally:
        await first.close()
        await second.close()


@pytest.mark.parametrize(("ahead", "refused"), [(-1, True), (0, False), (1, False), (2, True)])
async def test_a_process_takes_its_own_schema_and_the_next(database_url: str, ahead: int, refused: bool) -> None:
    """An older schema, or one two releases ahead, is refused with a line that names the setting."""
    opened = database.open(database_url)
    try:
        await schema.migrate(opened)
        async with opened.write() as tx:
            await tx.execute(tables.schema_info.update().values(release=schema.RELEASE + ahead))
        if refused:
            with pytest.raises(errors.SchemaMismatch, match="TORII_DATABASE_URL"):
                await schema.check(opened)
        else:
            await schema.check(opened)
    finally:
        await opened.close()


async def test_an_empty_database_is_refused(database_url: str) -> None:
    """A database without a schema is refused with the command that makes one."""
    opened = database.open(database_url)
    try:
        with pytest.raises(errors.SchemaMismatch, match="torii migrate"):
            await schema.check(opened)
    finally:
        await opened.close()


async def test_sqlite_keeps_its_promises(sqlite_url: str) -> None:
    """SQLite runs with WAL, full synchronisation and foreign keys, and a write begins with the lock."""
    opened = database.open(sqlite_url)
    try:
        await schema.migrate(opened)
        async with opened.read() as connection:
            for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
                assert (await connection.exec_driver_sql(f"PRAGMA {pragma}")).scalar_one() == value
        async with opened.write() as tx:
            other = database.open(sqlite_url, lock_wait_s=0.1)
            try:
                with pytest.raises(errors.StoreUnavailable):
                    await schema.migrate(other)
            finally:
                await other.close()
            await tx.execute(sa.select(sa.literal(1)))
    finally:
        await opened.close()


async def half_way(opened: Database) -> None:
    """Write something, then break off."""
    async with opened.write() as tx:
        await tx.execute(tables.upstream_account.update().values(pause_reason="half-way"))
        raise RuntimeError("half-way")


async def test_a_broken_block_leaves_nothing_behind(database_url: str) -> None:
    """An exception inside a unit of work takes back everything that was written in it."""
    opened = database.open(database_url)
    try:
        await schema.migrate(opened)
        with pytest.raises(RuntimeError, match="half-way"):
            await half_way(opened)
        async with opened.read() as connection:
            reason = (await connection.execute(sa.select(tables.upstream_account.c.pause_reason))).scalar_one()
        assert reason is None
    finally:
        await opened.close()


async def test_a_time_without_a_zone_is_refused(sqlite_url: str) -> None:
    """A time must say its zone before it is stored, and comes back in UTC."""
    opened = database.open(sqlite_url)
    try:
        await schema.migrate(opened)
        async with opened.write() as tx:
            with pytest.raises(sa.exc.StatementError, match="without a zone"):
                await tx.execute(tables.upstream_account.update().values(paused_until=NAIVE))
    finally:
        await opened.close()
