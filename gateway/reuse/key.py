"""The key of this installation's fingerprints, as the database has it. Makes none: the migration did, once."""

import sqlalchemy as sa

from gateway.reuse.fingerprint import Key
from gateway.storage import reuse_tables
from gateway.storage.database import Database


async def read(database: Database) -> Key:
    """The key; it never changes, so a process reads it once. Raises ``StoreUnavailable``."""
    async with database.read() as connection:
        secret = (await connection.execute(sa.select(reuse_tables.installation.c.fingerprint_key))).scalar_one()
    return Key(bytes(secret))
