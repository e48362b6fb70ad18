"""Writers that are cancelled, as when a caller hangs up: whatever they were at, nobody waits for their lock."""

import asyncio
import gc
import sqlite3
from pathlib import Path

import sqlalchemy as sa

from gateway.storage import database
from gateway.storage.database import Database

ROUNDS = 240
_ADD = sa.text("INSERT INTO probes (number) VALUES (1), (2) RETURNING id")
_LIST = sa.text("SELECT id FROM probes LIMIT 5")


async def write(store: Database) -> None:
    """Three times two statements in one transaction."""
    async with store.write() as tx:
        for _ in range(3):
            await tx.execute(_ADD)
            await tx.execute(_LIST)


async def test_a_cancelled_writer_leaves_no_lock_on_sqlite(tmp_path: Path) -> None:
    """Cancelled at any moment, with its error still referred to, a writer leaves its lock to the next."""
    path = tmp_path / "cancelled.db"
    store = database.open(f"sqlite+aiosqlite:///{path}", lock_wait_s=3.0)
    errors, locked = [], []
    gc.disable()
    try:
        async with store.write() as tx:
            await tx.exec_driver_sql("CREATE TABLE probes (id INTEGER PRIMARY KEY, number INTEGER)")
        for number in range(ROUNDS):
            writing = asyncio.create_task(write(store))
            await asyncio.sleep(number % 40 * 0.0001)  # the moment of the cancellation, which is any
            writing.cancel()
            errors.append(await asyncio.gather(writing, return_exceptions=True))
            if not await asyncio.to_thread(writes, path):
                locked.append(number)
    finally:
        gc.enable()
        await store.close()
    assert locked == []


def writes(path: Path) -> bool:
    """Whether another process could write now, or within a second."""
    other = sqlite3.connect(path, timeout=1.0, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    finally:
        other.close()
    return True
