"""The unit of work on SQLite and PostgreSQL. Knows transactions and their faults; knows no table.

``read`` gives statements that each see what is committed; ``write`` gives one transaction that is committed when the
block ends, and never one that is open across a call to another system. SQLite takes its write lock at the beginning
(``BEGIN IMMEDIATE``), so that a transaction that reads and then writes cannot fail half-way.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util import await_only

from gateway import errors

LOCK_WAIT_S = 10.0
CONNECT_TIMEOUT_S = 3.0
#: A connection that nobody used for so long is asked whether it lives before it is used.
IDLE_TRUSTED_S = 1.0
STATEMENT_TIMEOUT_S = 15.0
WAL_TRIES = 100
WAL_PAUSE_S = 0.05
STALLED_TRANSACTION_MS = 3000
LOCK_TIMEOUT_MS = 3000
LONGEST_TRANSACTION_MS = 6000
#: What ends a transaction that takes its time.
_LIMITS = (
    "lock_timeout",
    "statement_timeout",
    "transaction_timeout",
    "idle_in_transaction_session_timeout",
)

_OURS = (sa.exc.IntegrityError, sa.exc.DataError, sa.exc.ProgrammingError, sa.exc.NotSupportedError)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Limits:
    """How long PostgreSQL lets a transaction of ours go on: idle between statements, and as a whole."""

    stalled_ms: int = STALLED_TRANSACTION_MS
    longest_ms: int = LONGEST_TRANSACTION_MS


LIMITS = Limits()


class Database:
    """A pool of connections to the SQL of record."""

    def __init__(self, reader: AsyncEngine, writer: AsyncEngine) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._writer.dialect.name

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading, each statement on its own; raises ``StoreUnavailable``."""
        with _translated():
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed at the end of the block and rolled back by an exception.

        Raises ``StoreUnavailable`` when the store fails; after a failed commit the caller cannot know whether it
        took place and must ask by reading.
        """
        with _translated():
            async with self._writer.begin() as connection:
                yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """One moment of the whole database, read at leisure; nobody waits. Raises ``StoreUnavailable``."""
        with _translated():
            if self.dialect == "postgresql":
                frozen = self._writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                async with frozen.begin() as connection:
                    await lift_limits(connection)
                    yield connection
                return
            async with self._reader.connect() as connection:
                await connection.exec_driver_sql("BEGIN")
                # The moment is that of the first read.
                await connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
                yield connection

    async def close(self) -> None:
        """Give all connections back."""
        await self._reader.dispose()
        if self._writer is not self._reader:
            await self._writer.dispose()


async def take_long(tx: AsyncConnection) -> None:
    """Let this transaction last: it writes many rows, each statement within its own limit still."""
    if tx.dialect.name == "postgresql":
        known = sa.func.current_setting("transaction_timeout", True).is_not(None)
        await tx.execute(sa.select(sa.func.set_config("transaction_timeout", "0", True)).where(known))


async def lift_limits(tx: AsyncConnection) -> None:
    """Let this transaction take its time, as one over whole tables may; on SQLite there is nothing to lift."""
    if tx.dialect.name == "postgresql":
        for limit in _LIMITS:
            known = sa.func.current_setting(limit, True).is_not(None)
            await tx.execute(sa.select(sa.func.set_config(limit, "0", True)).where(known))


@contextmanager
def _translated() -> Iterator[None]:
    # asyncpg lets plain OSError and TimeoutError through while connecting; SQLAlchemy wraps everything else.
    try:
        yield
    except (sa.exc.TimeoutError, OSError) as error:
        raise _unavailable(error) from error
    except sa.exc.DBAPIError as error:
        # What is left to be raised as it is: a broken constraint, which callers expect, and bugs of ours.
        if not error.connection_invalidated and (isinstance(error, _OURS) or _refused_value(error)):
            raise
        raise _unavailable(error.orig or error) from error


def _refused_value(error: sa.exc.DBAPIError) -> bool:
    """Whether the store refuses a value: waiting for it does not help. SQLAlchemy has no class for asyncpg's word."""
    # Of the server by its class of errors (22, data exception), of the driver itself as a ``ValueError``.
    state = getattr(error.orig, "sqlstate", None)
    cause = None if error.orig is None else error.orig.__cause__
    return isinstance(cause, ValueError) or (isinstance(state, str) and state.startswith("22"))


def _unavailable(cause: BaseException) -> errors.StoreUnavailable:
    log.warning("store_unavailable", reason=type(cause).__name__)
    return errors.StoreUnavailable()


def open(url: str, lock_wait_s: float = LOCK_WAIT_S, limits: Limits = LIMITS) -> Database:
    """A database by its URL; connects lazily, so an unreachable server shows at the first statement.

    ``lock_wait_s`` is how long a writer waits for SQLite's one write lock, and anyone for a pooled connection.
    """
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _open_sqlite(parsed, lock_wait_s)
    return _open_postgresql(parsed, lock_wait_s, limits)


def _open_postgresql(url: sa.URL, lock_wait_s: float, limits: Limits) -> Database:
    writer = create_async_engine(
        url,
        pool_size=10,
        max_overflow=10,
        pool_timeout=lock_wait_s,
        connect_args={
            "timeout": CONNECT_TIMEOUT_S,
            "command_timeout": STATEMENT_TIMEOUT_S,
            "server_settings": {
                "application_name": "torii",
                "synchronous_commit": "on",
                # A process that stalled inside transactions must not keep its locks from everyone else, nor pass them
                # from one of its connections to the next: both are over before it is taken for dead.
                "idle_in_transaction_session_timeout": str(limits.stalled_ms),
                "lock_timeout": str(LOCK_TIMEOUT_MS),
            },
        },
        hide_parameters=True,
    )
    event.listen(writer.sync_engine, "connect", partial(_prepare_postgresql, limits))
    event.listen(writer.sync_engine, "checkin", _note_use)
    event.listen(writer.sync_engine, "checkout", partial(_require_living, writer.dialect))
    return Database(writer.execution_options(isolation_level="AUTOCOMMIT"), writer)


def _prepare_postgresql(limits: Limits, connection: DBAPIConnection, _record: object) -> None:
    # A client that froze between the messages of one statement is not idle to the server, and would keep its locks
    # for as long as it stays frozen. PostgreSQL has a limit for that since 17; before that only TCP's own applies.
    cursor = connection.cursor()
    cursor.execute(
        f"SELECT set_config('transaction_timeout', '{limits.longest_ms}', false) "
        "WHERE current_setting('transaction_timeout', true) IS NOT NULL"
    )
    cursor.close()
    connection.commit()


def _note_use(_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    record.info["used_s"] = time.monotonic()


def _require_living(
    dialect: sa.Dialect, connection: DBAPIConnection, record: ConnectionPoolEntry, _taken: object
) -> None:
    """Have the pool give another connection in the place of one that the server has closed.

    Asking the server each time would be three round trips for each transaction. That a connection was closed is seen
    without asking; only one that nobody used for a while may be lost without a word.
    """
    used_s: float | None = record.info.get("used_s")
    if used_s is None:
        return  # it was made this moment
    try:
        lives = not connection.driver_connection.is_closed()
        if lives and time.monotonic() - used_s > IDLE_TRUSTED_S:
            lives = dialect.do_ping(connection)
    except (dialect.loaded_dbapi.Error, OSError):
        lives = False
    if not lives:
        # Those that were made before it are closed with it: what ended one of them has ended them all.
        raise sa.exc.InvalidatePoolError


def _open_sqlite(url: sa.URL, lock_wait_s: float) -> Database:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    connect_args = {"timeout": lock_wait_s}
    reader = create_async_engine(url, pool_size=4, max_overflow=4, connect_args=connect_args, hide_parameters=True)
    # One writer a process: the rest wait in line here, in order, rather than in SQLite's lock, by chance.
    writer = create_async_engine(
        url, pool_size=1, max_overflow=0, pool_timeout=lock_wait_s, connect_args=connect_args, hide_parameters=True
    )
    for engine in (reader, writer):
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "invalidate", _roll_back)
    event.listen(writer.sync_engine, "begin", _begin_immediate)
    return Database(reader, writer)


def _prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    # The driver must not begin transactions by itself: ours begin with the write lock.
    connection.isolation_level = None
    cursor = connection.cursor()
    _into_wal(cursor)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _roll_back(connection: DBAPIConnection, _record: object, _error: object) -> None:
    """End the transaction of a connection that is given up, as when its caller was cancelled, before it is closed.

    Closed with a statement that somebody still refers to, such as a traceback, SQLite keeps it and its write lock until
    that is collected, and nobody can write meanwhile.
    """
    # What the driver is told runs in its own thread, one after the other: after the statement that was given up, and
    # before the closing that comes next.
    rolling = asyncio.ensure_future(connection.driver_connection.rollback())
    rolling.add_done_callback(lambda done: done.cancelled() or done.exception())


def _into_wal(cursor: DBAPICursor) -> None:
    """Turn the file to write-ahead logging; SQLite's own wait for locks does not cover this one statement."""
    for tries_left in reversed(range(WAL_TRIES)):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if not tries_left:
                raise
            await_only(asyncio.sleep(WAL_PAUSE_S))
        else:
            return


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
