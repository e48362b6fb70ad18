"""How long uploads stay, and what is left of one that never came to be."""

from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from gateway import errors
from gateway.archive import bucket
from gateway.archive.bucket import Bucket
from gateway.jobs import admin, erasing, erasure_sweep, intake, lending, picture_stock, retention, upload_sweep
from gateway.jobs.intake import Intake, Room
from gateway.jobs.retention import Retention
from gateway.jobs.states import State
from gateway.storage import erasure_tables, tables, upload_tables
from gateway.tenancy import teams
from tests.support import crowd
from tests.support.editing import MODEL, picture
from tests.support.rig import Rig
from tests.support.studio import Studio

ROOM: Final = Room(timedelta(days=30), 1 << 30)


async def test_what_an_unfinished_job_starts_from_stays(studio: Studio) -> None:
    """While a job waits or runs, its upload is neither deleted nor swept, though its time is over; then it goes."""
    upload = await studio.bring()
    job = (await studio.order(upload.id)).job
    await studio.change(upload, expires_at=studio.rig.house.clock.now() - timedelta(days=1))
    for _ in range(2):
        with pytest.raises(errors.Conflict, match=job.id) as refused:
            await studio.delete(upload)
        assert refused.value.param == "uploadId"
        await upload_sweep.over_time(studio.rig.shop)
        assert await studio.there() == {upload.id}
        job = await studio.rig.drive(job, State.RUNNING, State.COMPLETED)
    assert (await studio.rig.drive(job)).state is State.COMPLETED
    await upload_sweep.over_time(studio.rig.shop)
    assert await studio.there() == set()
    await erasure_sweep.erasures(studio.rig.shop)
    assert studio.objects() == []
    assert await crowd.rows(studio.rig, upload_tables.upload_uses) == []
    assert await crowd.rows(studio.rig, erasure_tables.erasures) == []


async def test_an_erased_job_forgets_its_uploads(studio: Studio) -> None:
    """Erasing a job leaves no trace of what it started from; the upload is its team's and stays."""
    upload, rig = await studio.bring(), studio.rig
    job = await rig.drive((await studio.order(upload.id)).job)
    await erasing.erase(rig.house.counter, "key of the test", job.team_id, job.id)
    assert await crowd.rows(rig, upload_tables.upload_uses) == []
    assert upload.id not in str(await crowd.rows(rig, tables.jobs))
    assert await studio.there() == {upload.id}


async def test_uploads_go_with_their_team_and_its_choice(studio: Studio) -> None:
    """A deleted team's uploads go, and those that are older than a team keeps what its pictures were made from."""
    rig, now, gone = studio.rig, studio.rig.house.clock.now(), await studio.other("gone")
    old, young, left = await studio.bring(), await studio.bring(picture("blue")), await studio.bring(caller=gone)
    await studio.change(old, created_at=now - timedelta(days=8))
    await upload_sweep.over_time(rig.shop)
    assert await studio.there() == {old.id, young.id, left.id}
    async with rig.house.database.write() as tx:
        await retention.put(tx, rig.caller.team_id, Retention(prompts_days=7))
        await admin.delete_team(tx, "test", await teams.find(tx, "gone"), now)
    await upload_sweep.over_time(rig.shop)
    assert await studio.there() == {young.id}
    await erasure_sweep.erasures(rig.shop)
    assert len(studio.objects()) == 1


class Dying(Bucket):
    """A bucket of a process that dies when the picture is there."""

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """Put it, and be no more."""
        await super().put(key, data, content_type)
        raise SystemExit


async def test_who_dies_with_a_picture_in_hand_leaves_nothing(studio: Studio) -> None:
    """An object whose upload never came to be is deleted an hour later, and not before."""
    rig = studio.rig
    opened = bucket.open(rig.house.settings.archive_url)
    dying = Dying(opened._store, opened._folder, deadline_s=30.0)  # noqa: SLF001  a bucket of the same folder
    taking = Intake(rig.house.database, dying, rig.house.clock, rig.house.outbound, ROOM)
    with pytest.raises(SystemExit):
        await taking.take(rig.caller, picture(), "file")
    dying.close()
    opened.close()
    assert (await studio.there(), len(studio.objects())) == (set(), 1)
    async with rig.house.database.read() as connection:
        assert await erasing.pending(connection) == 0
    await erasure_sweep.erasures(rig.shop)
    assert len(studio.objects()) == 1
    table = erasure_tables.erasures
    async with rig.house.database.write() as tx:
        await tx.execute(table.update().values(due_at=rig.house.clock.now()))
    await erasure_sweep.erasures(rig.shop)
    assert studio.objects() == []
    assert await crowd.rows(rig, table) == []


class Standing(Bucket):
    """A bucket of a process that stands still for hours, before its picture is there or after it."""

    rig: Rig
    before: bool
    #: How far the sweep has come with what it took.
    deleted: bool

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """Put it, and sleep until it was swept away, or is about to be."""
        if not self.before:
            await super().put(key, data, content_type)
        table, now = erasure_tables.erasures, self.rig.house.clock.now()
        async with self.rig.house.database.write() as tx:
            await tx.execute(table.update().values(due_at=now))
            if not self.deleted:
                await tx.execute(table.update().values(due_at=now + erasure_sweep.TRY_AGAIN, tries=1))
        await erasure_sweep.erasures(self.rig.shop)
        if self.before:
            await super().put(key, data, content_type)


@pytest.mark.parametrize(("before", "deleted"), [(False, True), (False, False), (True, True)])
async def test_who_stood_still_too_long_has_no_upload(studio: Studio, before: bool, deleted: bool) -> None:
    """Whoever comes back when a sweep has its object in hand is told so: no row names it, and it does not stay."""
    rig, table = studio.rig, erasure_tables.erasures
    opened = bucket.open(rig.house.settings.archive_url)
    standing = Standing(opened._store, opened._folder, deadline_s=30.0)  # noqa: SLF001  a bucket of the same folder
    standing.rig, standing.before, standing.deleted = rig, before, deleted
    taking = Intake(rig.house.database, standing, rig.house.clock, rig.house.outbound, ROOM)
    with pytest.raises(errors.ArchiveUnavailable):
        await taking.take(rig.caller, picture(), "file")
    standing.close()
    opened.close()
    assert await studio.there() == set()
    async with rig.house.database.write() as tx:
        await tx.execute(table.update().values(due_at=rig.house.clock.now()))
    await erasure_sweep.erasures(rig.shop)
    assert (studio.objects(), await crowd.rows(rig, table)) == ([], [])


async def test_a_team_has_so_many_at_most(studio: Studio) -> None:
    """However small they are, a team may have so many uploads and no more."""
    rig, upload = studio.rig, await studio.bring()
    row = dict((await crowd.rows(rig, upload_tables.uploads))[0]._mapping)  # noqa: SLF001  SQLAlchemy's own name
    many = [{**row, "id": f"upload_{number}"} for number in range(1, intake.MOST)]
    async with rig.house.database.write() as tx:
        for start in range(0, len(many), 1000):
            await tx.execute(upload_tables.uploads.insert(), many[start : start + 1000])
    with pytest.raises(errors.UploadsFull, match="10000 uploads"):
        await studio.bring(picture("blue"))
    await studio.delete(upload)
    await studio.bring(picture("blue"))


async def test_a_link_lives_as_long_as_a_job_may(studio: Studio) -> None:
    """A link for the upstream is signed when the job is sent, and outlives the upload's own time."""
    upload, rig = await studio.bring(), studio.rig
    job = (await studio.order(upload.id)).job
    await studio.change(upload, expires_at=rig.house.clock.now())
    model = rig.house.catalogue.model(MODEL)
    lent = await lending.links(rig.shop, job, model)
    assert not isinstance(lent, lending.Lost | lending.Later)
    ends_at = int(lent[upload.id].partition("exp=")[2].partition("&")[0])
    assert abs(ends_at - rig.house.clock.now().timestamp() - lending.LINK_LIFE_S) < 10


async def test_copies_of_the_archive_hold_uploads(studio: Studio, tmp_path: Path) -> None:
    """Uploads are copied and compared as pictures are; one that is damaged, and one that is gone, are told."""
    rig, database, source = studio.rig, studio.rig.house.database, studio.rig.house.bucket
    first, second = await studio.bring(), await studio.bring(picture("blue"))
    target = bucket.open(str(tmp_path / "copy"))
    copied = await picture_stock.copy(database, source, target)
    assert (copied.looked_at, copied.copied, copied.whole) == (2, 2, True)
    assert await target.get(first.object_key) == picture()
    await target.put(first.object_key, b"something else", "image/png")
    await target.delete(second.object_key)
    compared = await picture_stock.verify(database, target, None)
    assert (compared.damaged, compared.missing) == ([first.object_key], [second.object_key])
    assert (await picture_stock.verify(database, rig.house.bucket, 1)).looked_at == 1
    target.close()
