"""The record into a file and back: the same rows in either database, whole or not at all."""

import asyncio
import gzip
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from gateway import errors
from gateway.clock import SystemClock
from gateway.jobs import rescue, safekeeping
from gateway.jobs.safekeeping import Origin, Plan
from gateway.jobs.states import State
from gateway.settings import keyring
from gateway.settings.keyring import Keyring
from gateway.storage import backup, backup_file, database, declared, schema, tables
from gateway.storage.backup_file import Contents
from gateway.storage.database import Database
from gateway.webhooks import team_secrets
from tests.support.postgres import Postgres
from tests.support.rig import SECRET, Rig

ORIGIN = Origin("1.2.3", "s3://bucket/prefix")
RING = keyring.derive([SecretStr(SECRET)])
Rows = dict[str, list[tuple[Any, ...]]]


async def rows_of(opened: Database) -> Rows:
    """Every row that a backup keeps, in no order of the database's."""
    found: Rows = {}
    async with opened.read() as connection:
        for table in declared.metadata.sorted_tables:
            if table.name not in backup.NOT_KEPT:
                rows = (await connection.execute(sa.select(table))).all()
                found[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return found


async def nulls_of(opened: Database) -> int:
    """How many jobs have no caller's members at all, as SQL sees it."""
    async with opened.read() as connection:
        asked = sa.select(sa.func.count()).where(tables.jobs.c.details.is_(sa.null()))
        return (await connection.execute(asked)).scalar_one()


def plan(path: Path, contents: Contents, **more: Any) -> Plan:
    """How a file is restored when nothing ran after it was made."""
    return Plan(path, contents, **{"stopped_at": None, "with_void_keys": False, "actor": "cli:test", **more})


async def backed_up(rig: Rig, path: Path) -> Contents:
    """A file of the rig's record."""
    return await safekeeping.back_up(rig.house.database, rig.house.clock, path, ORIGIN)


@pytest.fixture
async def empty(postgres: Postgres, database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty place of the other kind: on PostgreSQL for a rig on SQLite, and the other way round."""
    postgres.ensure()
    name = postgres.create()
    other = postgres.url(name) if "sqlite" in database_url else f"sqlite+aiosqlite:///{tmp_path / 'restored.db'}"
    opened = database.open(other)
    yield opened
    await opened.close()
    postgres.drop(name)


@pytest.fixture
async def alike(postgres: Postgres, database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty place of the same kind."""
    postgres.ensure()
    name = postgres.create()
    same = f"sqlite+aiosqlite:///{tmp_path / 'alike.db'}" if "sqlite" in database_url else postgres.url(name)
    opened = database.open(same)
    yield opened
    await opened.close()
    postgres.drop(name)


async def lived(rig: Rig) -> None:
    """A record with something in most tables."""
    await rig.drive(await rig.order(seed=1, num_outputs=2))
    await rig.drive(await rig.order(prompt="кедр · 雪 · \u2028", torii={"metadata": {"a": None, "b": 1.5}}))
    await rig.order(webhook_url="https://example.com/told")
    now = rig.house.clock.now()
    await team_secrets.opened(rig.house.database, rig.house.keys.webhook_secrets, rig.caller.team_id, now)


async def test_a_backup_of_either_goes_into_either(rig: Rig, empty: Database, alike: Database, tmp_path: Path) -> None:
    """What was written is there again, value by value, whichever database it came from and went to."""
    await lived(rig)
    path = tmp_path / "a.backup"
    await backed_up(rig, path)
    contents = backup_file.verify(path)
    before, nulls = await rows_of(rig.house.database), await nulls_of(rig.house.database)
    assert contents.trailer.rows == {name: len(rows) for name, rows in before.items()}
    changed = {"jobs", "audit", "upstream_account"}
    for place in (empty, alike):
        done = await safekeeping.restore(place, SystemClock(), RING, plan(path, contents))
        assert (done.doubts.total, done.wrong_balances, done.secrets.void_keys, done.secrets.sealed) == (0, 0, 0, 0)
        await schema.check(place)
        after = await rows_of(place)
        assert {name: rows for name, rows in after.items() if name not in changed} == {
            name: rows for name, rows in before.items() if name not in changed
        }
        assert len(after["jobs"]) == len(before["jobs"]) == 3
        assert await nulls_of(place) == nulls


async def test_every_column_can_be_spelled(rig: Rig, tmp_path: Path) -> None:
    """The file has each table of the schema but those of living processes, each with all its columns."""
    path = tmp_path / "a.backup"
    await backed_up(rig, path)
    begun = {each.name: each.columns for each in backup_file.rows(path) if isinstance(each, backup_file.Table)}
    assert begun == {
        name: tuple(table.c.keys()) for name, table in declared.metadata.tables.items() if name not in backup.NOT_KEPT
    }


async def test_a_backup_is_one_moment_and_nobody_waits(rig: Rig, tmp_path: Path) -> None:
    """Orders go on while a backup is written, and what they write is whole in it or not there."""
    for number in range(30):
        await rig.order(seed=number)
    path = tmp_path / "a.backup"
    _, *jobs = await asyncio.gather(backed_up(rig, path), *(rig.order(seed=100 + number) for number in range(20)))
    assert len(jobs) == 20
    counts = backup_file.verify(path).trailer.rows
    assert counts["jobs"] == counts["ledger_entries"] >= 30


async def test_the_file_is_its_owners_and_leaves_no_draft(rig: Rig, tmp_path: Path) -> None:
    """The file has mode 0600, no draft is left even by a failure, and no key's text or secret is in it."""
    folder = tmp_path / "backups"
    folder.mkdir()
    path = folder / "a.backup"
    await lived(rig)
    await backed_up(rig, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in folder.iterdir()] == ["a.backup"]
    text = gzip.decompress(path.read_bytes()).decode()
    assert rig.key_text not in text
    assert SECRET not in text
    with backup_file.Writer(folder / "b.backup", _header()) as out:
        out.table("teams", ["id"])
    assert [each.name for each in folder.iterdir()] == ["a.backup"]


def _header() -> backup_file.Header:
    return backup_file.Header(
        version="1", schema_release=1, revision="0001", taken_at=datetime.now(UTC), dialect="sqlite", archive="a"
    )


@pytest.mark.parametrize("harm", ["cut", "flipped", "swapped", "shortened", "other", "empty"])
def test_a_damaged_file_is_refused(tmp_path: Path, harm: str) -> None:
    """A file that is not what was written to the last byte is refused by name, whatever is wrong with it."""
    path = tmp_path / "a.backup"
    with backup_file.Writer(path, _header()) as out:
        out.table("teams", ["id", "name"])
        for number in range(50):
            out.row([f"team_{number}", "a name"])
        out.finish()
    assert backup_file.verify(path).trailer.rows == {"teams": 50}
    whole = path.read_bytes()
    lines = gzip.decompress(whole).splitlines(keepends=True)
    path.write_bytes(
        {
            "cut": whole[: len(whole) // 2],
            "flipped": whole[:150] + bytes([whole[150] ^ 0xFF]) + whole[151:],
            "swapped": gzip.compress(b"".join([lines[0], *lines[1:-1][::-1], lines[-1]])),
            "shortened": gzip.compress(b"".join(lines[:-1])),
            "other": gzip.compress(b'{"kind": "something else"}\n'),
            "empty": b"",
        }[harm]
    )
    with pytest.raises(errors.InvalidParameter, match=r"a\.backup cannot be used"):
        backup_file.verify(path)


async def test_a_place_that_is_not_empty_is_refused(rig: Rig, tmp_path: Path) -> None:
    """A restore over a record that lives changes nothing and names what is there."""
    path = tmp_path / "a.backup"
    contents = await backed_up(rig, path)
    await rig.order()
    before = await rows_of(rig.house.database)
    with pytest.raises(errors.Conflict, match="not empty: its table teams"):
        await safekeeping.restore(rig.house.database, rig.house.clock, RING, plan(path, contents))
    assert await rows_of(rig.house.database) == before


async def test_a_migrated_place_without_rows_is_empty(rig: Rig, empty: Database, tmp_path: Path) -> None:
    """After ``torii migrate`` a place is still empty, and its own fingerprint key gives way to the backup's."""
    path = tmp_path / "a.backup"
    contents = await backed_up(rig, path)
    await schema.migrate(empty)
    await safekeeping.restore(empty, SystemClock(), RING, plan(path, contents))
    assert (await rows_of(empty))["installation"] == (await rows_of(rig.house.database))["installation"]


async def test_a_backup_of_an_older_schema_is_brought_up(rig: Rig, empty: Database, tmp_path: Path) -> None:
    """A backup of an older release is loaded into that release's schema and migrated, as its database would be."""
    await rig.drive(await rig.order(seed=1))
    path = tmp_path / "a.backup"
    await schema.downgrade(rig.house.database, "0004")
    contents = await backed_up(rig, path)
    assert contents.header.revision == "0004"
    assert "deliveries" not in contents.trailer.rows
    await safekeeping.restore(empty, SystemClock(), RING, plan(path, contents))
    await schema.check(empty)
    assert not await schema.pending(empty)
    rows = await rows_of(empty)
    assert (len(rows["jobs"]), len(rows["installation"])) == (1, 1)


async def test_a_backup_of_a_newer_release_is_refused(rig: Rig, empty: Database, tmp_path: Path) -> None:
    """A revision that this program does not know is refused before anything is touched."""
    path = tmp_path / "a.backup"
    with backup_file.Writer(path, _header()) as out:
        out.finish()
    contents = backup_file.verify(path)
    header = msgspec.structs.replace(contents.header, version="9.9", schema_release=99, revision="9999")
    newer = Contents(header, contents.trailer)
    with pytest.raises(errors.SchemaMismatch, match=r"torii 9\.9, which is newer"):
        await safekeeping.restore(empty, SystemClock(), RING, plan(path, newer))
    assert await backup_revision(empty) is None
    assert rig.house.database is not empty


async def backup_revision(opened: Database) -> str | None:
    """The last migration of a place."""
    async with opened.read() as connection:
        return await schema.revision(connection)


async def test_a_table_that_is_not_known_is_not_left_out(rig: Rig, tmp_path: Path) -> None:
    """A database with a table or column of a newer release is refused, since a backup without it would be a lie."""
    async with rig.house.database.write() as tx:
        await tx.execute(sa.text("ALTER TABLE teams ADD COLUMN of_tomorrow INTEGER"))
    with pytest.raises(errors.SchemaMismatch, match=r"teams\.of_tomorrow"):
        await backed_up(rig, tmp_path / "a.backup")
    assert not (tmp_path / "a.backup").exists()


async def test_another_secret_key_is_refused(rig: Rig, empty: Database, tmp_path: Path) -> None:
    """With another TORII_SECRET_KEY nothing is restored, unless it is accepted that its keys are void."""
    await lived(rig)
    path = tmp_path / "a.backup"
    contents = await backed_up(rig, path)
    other: Keyring = keyring.derive([SecretStr("another secret of thirty-two characters and more")])
    with pytest.raises(errors.SettingError, match="1 API keys would be void and 1 webhook secrets"):
        await safekeeping.restore(empty, SystemClock(), other, plan(path, contents))
    assert await backup_revision(empty) is None
    done = await safekeeping.restore(empty, SystemClock(), other, plan(path, contents, with_void_keys=True))
    assert (done.secrets.void_keys, done.secrets.sealed) == (1, 1)
    rotated = keyring.derive([SecretStr("x" * 40), SecretStr(SECRET)])
    async with empty.read() as connection:
        assert await team_secrets.unopened(connection, rotated.webhook_secrets) == 0


async def test_a_restore_that_breaks_off_leaves_an_empty_place(rig: Rig, empty: Database, tmp_path: Path) -> None:
    """A file that turns out to be another one half-way leaves the place as it was, ready for the next try."""
    await lived(rig)
    path = tmp_path / "a.backup"
    contents = await backed_up(rig, path)
    wrong = Contents(contents.header, backup_file.Trailer(rows={"teams": 5}, sha256=contents.trailer.sha256))
    with pytest.raises(errors.InvalidParameter, match="changed while it was read"):
        await safekeeping.restore(empty, SystemClock(), RING, plan(path, wrong))
    assert await backup_revision(empty) is None
    await safekeeping.restore(empty, SystemClock(), RING, plan(path, contents))


async def test_nothing_of_before_works_on(rig: Rig, empty: Database, tmp_path: Path) -> None:
    """No claim and no heartbeat survives, and versions and nudges are beyond what they grew to in the lost time."""
    job = await rig.order()
    async with rig.house.database.write() as tx:
        await tx.execute(
            tables.jobs.update().values(claim="clm_1", claimed_by=rig.shop.worker_id, claimed_at=rig.house.clock.now())
        )
    path = tmp_path / "a.backup"
    contents = await backed_up(rig, path)
    await safekeeping.restore(empty, SystemClock(), RING, plan(path, contents))
    async with empty.read() as connection:
        row = (await connection.execute(sa.select(tables.jobs))).one()
        workers = (await connection.execute(sa.select(tables.workers))).all()
    assert (row.claim, row.claimed_by, row.state, workers) == (None, None, State.QUEUED, [])
    assert (row.version, row.nudges) == (job.version + rescue.BEYOND, job.nudges + rescue.BEYOND)


async def test_what_may_have_been_sent_since_is_in_doubt(rig: Rig, empty: Database, tmp_path: Path) -> None:
    """A queued job of a backup after which workers ran is unknown, its hold kept, from before the backup until now."""
    job = await rig.order()
    path = tmp_path / "a.backup"
    contents = await backed_up(rig, path)
    stopped_at = rig.house.clock.now()
    done = await safekeeping.restore(empty, SystemClock(), RING, plan(path, contents, stopped_at=stopped_at))
    assert (done.doubts.queued, done.doubts.total) == (1, 1)
    async with empty.read() as connection:
        row = (await connection.execute(sa.select(tables.jobs))).one()
        attempt = (await connection.execute(sa.select(tables.attempts))).one()
        held = (await connection.execute(sa.select(tables.balances.c.held_micros))).scalars().all()
    assert (row.id, row.state) == (job.id, State.SUBMISSION_UNKNOWN)
    assert (attempt.outcome, attempt.reason, attempt.number) == ("unknown", "restored", job.attempt)
    assert attempt.opened_at <= contents.header.taken_at < stopped_at < attempt.quiet_at
    assert set(held) == {2_000_000}


async def test_a_failover_puts_in_doubt_what_was_there_before_it(rig: Rig) -> None:
    """In place, queued jobs older than the last beat are unknown; one that was ordered after it is not."""
    old = await rig.order(seed=1)
    now = rig.house.clock.now()
    async with rig.house.database.write() as tx:
        await tx.execute(tables.workers.update().values(beat_at=now - timedelta(minutes=30)))
        await tx.execute(
            tables.jobs.update().values(created_at=now - timedelta(hours=1)).where(tables.jobs.c.id == old.id)
        )
    new = await rig.order(seed=2)
    since, doubts = await safekeeping.after_failover(rig.house.database, rig.house.clock, None, "cli:test")
    assert abs(since - (now - timedelta(minutes=30))) < timedelta(seconds=1)
    assert (doubts.queued, doubts.total) == (1, 1)
    assert (await rig.job(old.id)).state is State.SUBMISSION_UNKNOWN
    assert (await rig.job(new.id)).state is State.QUEUED
    with pytest.raises(errors.Conflict, match="--lost-since"):
        await safekeeping.after_failover(rig.house.database, rig.house.clock, None, "cli:test")
