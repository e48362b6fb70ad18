"""Backup and restore of the record: one moment of it into a file, and the file into an empty place. Copies no picture.

A restore is one transaction: it is there as a whole, made safe to go on from (see ``rescue``), or nothing changed.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.clock import Clock
from gateway.jobs import rescue
from gateway.jobs.liveness import Watch
from gateway.jobs.rescue import Doubts, Lost
from gateway.ledger import proof
from gateway.settings.keyring import Keyring
from gateway.storage import backup, backup_file, schema, tables
from gateway.storage.backup_file import Contents, Header
from gateway.storage.database import Database
from gateway.tenancy import audit, keys
from gateway.webhooks import team_secrets

_LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class Origin:
    """What the file says beside its rows."""

    version: str
    archive: str


@dataclass(frozen=True)
class Secrets:
    """What the secret key at hand is of no use for."""

    #: Living API keys that nobody can be recognised by any more.
    void_keys: int
    #: Webhook secrets that cannot be opened.
    sealed: int


@dataclass(frozen=True)
class Restored:
    """What a restore came to."""

    doubts: Doubts
    secrets: Secrets
    #: Balances that are not the sum of their entries: as the backup had them.
    wrong_balances: int


async def back_up(database: Database, clock: Clock, path: Path, origin: Origin) -> Contents:
    """Write the record as it is at one moment; nobody waits for it. Raises ``OSError`` for the file."""
    taken_at = clock.now()
    async with database.snapshot() as connection:
        release = await schema.release(connection)
        revision = await schema.revision(connection)
        if release is None or revision is None:
            raise errors.SchemaMismatch(
                "TORII_DATABASE_URL: the database has no Torii schema; there is nothing to back up",
                param="TORII_DATABASE_URL",
            )
        header = Header(
            version=origin.version,
            schema_release=release,
            revision=revision,
            taken_at=taken_at,
            dialect=database.dialect,
            archive=origin.archive,
        )
        with backup_file.Writer(path, header) as out:
            await backup.write(connection, out)
            return Contents(header, out.finish())


@dataclass(frozen=True)
class Plan:
    """How a backup is to be restored."""

    path: Path
    contents: Contents
    #: When the last worker of before had surely ended; none if none ran after the backup was made.
    stopped_at: datetime | None
    #: Go on although the secret key at hand opens not all that is in it.
    with_void_keys: bool
    actor: str


async def restore(database: Database, clock: Clock, ring: Keyring, plan: Plan) -> Restored:
    """Load the verified file into the empty database.

    ``Conflict`` if it is not empty, ``SchemaMismatch`` for a backup of a newer release, ``SettingError`` if the secret
    key is another one: then nothing has changed.
    """
    header = plan.contents.header
    if header.revision not in schema.revisions():
        raise errors.SchemaMismatch(
            f"the backup is of release {header.schema_release}, made by torii {header.version}, which is newer than "
            "this program; restore it with that one",
            param="file",
        )
    async with database.write() as tx:
        await schema.lock(tx)
        await _require_empty(tx)
        if await schema.revision(tx) is not None:
            await schema.clear_in(tx)
        # Into the schema that it was made in: what the migrations since then do to rows, they do to these.
        await schema.migrate_in(tx, header.revision)
        counts = await backup.load(tx, backup_file.rows(plan.path))
        if counts != plan.contents.trailer.rows:
            raise errors.InvalidParameter(f"{plan.path} cannot be used: it changed while it was read", param="file")
        await schema.migrate_in(tx)
        secrets = await _secrets(tx, ring, clock.now())
        if not plan.with_void_keys:
            _require_secrets(secrets)
        now = clock.now()
        lost = None if plan.stopped_at is None else Lost(header.taken_at, plan.stopped_at)
        doubts = await rescue.rescue(tx, lost, now)
        await _note(tx, plan.actor, "restore", header.taken_at, plan.stopped_at, doubts, now)
        wrong = await proof.differences(tx)
    return Restored(doubts, secrets, len(wrong))


async def after_failover(
    database: Database, clock: Clock, since: datetime | None, actor: str
) -> tuple[datetime, Doubts]:
    """Put in doubt, in place, what a failover may have lost since that moment, or the last sign of a worker's life.

    Returns the moment. ``Conflict`` while a worker lives, or if there is neither.
    """
    await _require_no_worker(database, clock)
    async with database.write() as tx:
        await schema.lock(tx)
        found = since or await rescue.last_sign(tx)
        if found is None:
            raise errors.Conflict(
                "no worker left a sign of when it last lived; say since when commits may be lost: --lost-since",
                param="lost_since",
            )
        now = clock.now()
        doubts = await rescue.rescue(tx, Lost(found, now), now)
        await _note(tx, actor, "failover", found, now, doubts, now)
    return found, doubts


async def _require_empty(tx: AsyncConnection) -> None:
    table = await backup.occupied(tx)
    if table is not None:
        raise errors.Conflict(
            f"the database is not empty: its table {table} has rows. A restore goes into an empty place alone; "
            "name another one in TORII_DATABASE_URL",
            param="TORII_DATABASE_URL",
        )


async def _require_no_worker(database: Database, clock: Clock) -> None:
    """Watch the workers' rows for as long as a dead one's stands still."""
    watch = Watch(clock)
    worker = tables.workers
    while True:
        async with database.read() as connection:
            rows = (await connection.execute(sa.select(worker.c.id, worker.c.host, worker.c.pid, worker.c.beat))).all()
            dead = set(await watch.dead(connection))
        seen = {row.id: row.beat for row in rows}
        if not seen.keys() - dead:
            return
        await asyncio.sleep(_LOOK_EVERY_S)
        async with database.read() as connection:
            again = {row.id: row for row in await connection.execute(sa.select(worker))}
        for worker_id, row in again.items():
            if row.beat != seen.get(worker_id):
                raise errors.Conflict(
                    f"worker {worker_id} is alive (process {row.pid} on {row.host}): stop every worker first",
                    param="workers",
                )


async def _secrets(tx: AsyncConnection, ring: Keyring, now: datetime) -> Secrets:
    return Secrets(
        void_keys=await keys.under_lost_secrets(tx, ring.api_keys, now),
        sealed=await team_secrets.unopened(tx, ring.webhook_secrets),
    )


def _require_secrets(found: Secrets) -> None:
    if found.void_keys or found.sealed:
        raise errors.SettingError(
            f"TORII_SECRET_KEY is not the one that the backup was made with: {found.void_keys} API keys would be void "
            f"and {found.sealed} webhook secrets could not be opened; set the one of then, or accept that with "
            "--with-void-keys",
            param="TORII_SECRET_KEY",
        )


async def _note(
    tx: AsyncConnection,
    actor: str,
    action: str,
    since: datetime,
    until: datetime | None,
    doubts: Doubts,
    now: datetime,
) -> None:
    await audit.note(
        tx,
        actor=actor,
        action=f"record.{action}",
        subject="record",
        at=now,
        after={
            "knownUntil": since.isoformat(),
            "stoppedAt": None if until is None else until.isoformat(),
            "inDoubt": doubts.total,
        },
    )
