"""What the upstream does wrong once it has the job: while it is polled, and when its pictures are fetched."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from gateway.jobs import lookup
from gateway.jobs.states import Failure, State
from gateway.storage import tables
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig

CREDIT = 1_000_000


def submits(emulator: EmulatorProcess) -> tuple[int, int]:
    """How many POSTs reached the upstream, and how many jobs it took."""
    totals = emulator.books()["totals"]
    return totals["submitsReceived"], totals["submitsAccepted"]


async def test_completed_without_images_is_upstream_failed(rig: Rig, emulator: EmulatorProcess) -> None:
    """A completion without a picture is read three times, then it is the upstream's failure; no second submit."""
    emulator.switch(outcome={"kind": "completed_without_images"})
    job = await rig.drive(await rig.order())
    assert (job.state, job.error_code) == (State.FAILED, Failure.UPSTREAM_FAILED)
    assert submits(emulator) == (1, 1)


async def test_another_image_type_is_kept_as_what_it_is(rig: Rig, emulator: EmulatorProcess) -> None:
    """A JPEG that came under the name of a PNG is archived and shown as a JPEG."""
    emulator.switch(outcome={"kind": "wrong_type", "served": "jpg"})
    job = await rig.drive(await rig.order(output_format="png"))
    async with rig.house.database.read() as connection:
        (image,) = await lookup.images(connection, rig.caller.team_id, job.id)
    assert (image.content_type, image.extension) == ("image/jpeg", "jpg")
    assert image.object_key.endswith(".jpg")


@pytest.mark.parametrize("kind", ["not_a_picture", "truncated"])
async def test_three_whole_downloads_without_a_picture_settle_it(
    rig: Rig, emulator: EmulatorProcess, kind: str
) -> None:
    """What is no picture is downloaded three times, never generated again, and then the upstream's failure."""
    emulator.switch(outcome={"kind": kind})
    job = await rig.drive(await rig.order(), within_s=30)
    assert (job.state, job.error_code) == (State.FAILED, Failure.UPSTREAM_FAILED)
    totals = emulator.books()["totals"]
    assert totals["downloads"] == 3
    assert submits(emulator) == (1, 1)


async def test_fewer_pictures_than_asked_are_partial(rig: Rig, emulator: EmulatorProcess) -> None:
    """Two of three pictures complete the job as partial."""
    emulator.switch(outcome={"kind": "fewer_images", "images": 2})
    job = await rig.drive(await rig.order(num_outputs=3))
    assert (job.state, job.partial) == (State.COMPLETED, True)
    async with rig.house.database.read() as connection:
        assert len(await lookup.images(connection, rig.caller.team_id, job.id)) == 2


async def test_a_lost_picture_is_told_only_when_it_is_surely_gone(rig: Rig, emulator: EmulatorProcess) -> None:
    """A missing copy is asked for again; only after its time is over the job fails as archive_lost, and is counted."""
    emulator.switch(outcome={"kind": "missing_file"})
    job = await rig.drive(await rig.order(), State.ARCHIVING)
    job = await rig.step(job)
    assert job.state is State.ARCHIVING
    await rig.hurry(results_expire_at=timedelta(hours=2))
    lost = await rig.drive(job)
    assert (lost.state, lost.error_code) == (State.FAILED, Failure.ARCHIVE_LOST)
    async with rig.house.database.read() as connection:
        assert (await connection.execute(sa.select(sa.func.sum(tables.outcomes.c.images_lost)))).scalar_one() == 1
    assert submits(emulator) == (1, 1)


async def test_an_unknown_status_is_waited_through(rig: Rig, emulator: EmulatorProcess) -> None:
    """A word nobody knows is not an end: the job is polled on and completes."""
    emulator.switch(outcome={"kind": "unknown_status", "status": "reviewing", "for_s": 1})
    job = await rig.drive(await rig.order())
    assert job.state is State.COMPLETED


async def test_a_job_that_never_ends_is_lost_after_a_day(rig: Rig, emulator: EmulatorProcess) -> None:
    """A status that is not terminal for 24 h is upstream_lost, its credits spent."""
    emulator.switch(outcome={"kind": "unknown_status", "status": "reviewing"})
    job = await rig.drive(await rig.order(), State.RUNNING)
    await rig.hurry(accepted_at=timedelta(hours=25))
    lost = await rig.drive(job)
    assert (lost.state, lost.error_code) == (State.FAILED, Failure.UPSTREAM_LOST)
    assert await rig.balance() == (0, 2 * CREDIT)


async def test_a_job_that_the_upstream_forgot_is_lost_after_ten_minutes(rig: Rig, emulator: EmulatorProcess) -> None:
    """A 404 on a poll is asked again, and believed after ten minutes."""
    emulator.switch(outcome={"kind": "lost"})
    job = await rig.drive(await rig.order(), State.RUNNING)
    while job.missing_since_at is None:
        job = await rig.drive(job, State.RUNNING)
        job = await rig.step(job)
    await rig.hurry(missing_since_at=timedelta(minutes=10), due_at=timedelta(minutes=10))
    lost = await rig.drive(await rig.job(job.id))
    assert (lost.state, lost.error_code) == (State.FAILED, Failure.UPSTREAM_LOST)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 429, "retry_after_s": 1},
        {"kind": "status", "status": 401},
        {"kind": "non_json"},
        {"kind": "cut_before"},
        {"kind": "cut_midway"},
    ],
    ids=lambda fault: "-".join(str(value) for value in fault.values()),
)
async def test_polls_survive_what_the_upstream_does(
    rig: Rig, emulator: EmulatorProcess, fault: dict[str, object]
) -> None:
    """Reading is free, so a poll without a usable answer is asked again, and the job completes."""
    emulator.switch(poll_fault={**fault, "times": 2})
    job = await rig.drive(await rig.order())
    assert job.state is State.COMPLETED
    assert submits(emulator) == (1, 1)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 500},
        {"kind": "cut_midway"},
        {"kind": "cut_before"},
        {"kind": "status", "status": 403},
    ],
    ids=lambda fault: "-".join(str(value) for value in fault.values()),
)
async def test_downloads_are_tried_until_they_succeed(
    rig: Rig, emulator: EmulatorProcess, fault: dict[str, object]
) -> None:
    """A download that fails is tried again, and is no reason for a second generation."""
    emulator.switch(download_fault={**fault, "times": 2})
    job = await rig.drive(await rig.order())
    assert job.state is State.COMPLETED
    assert submits(emulator) == (1, 1)


@pytest.mark.parametrize(
    "shape", [{"image_shape": "objects"}, {"output_key": "image"}, {"output_key": "none", "assets": True}]
)
async def test_each_shape_of_result_is_understood(
    rig: Rig, emulator: EmulatorProcess, shape: dict[str, object]
) -> None:
    """Strings, objects, a single image and assets all lead to the picture."""
    emulator.switch(**shape)
    assert (await rig.drive(await rig.order())).state is State.COMPLETED


async def test_nothing_is_fetched_from_an_unlisted_host(rig: Rig, emulator: EmulatorProcess) -> None:
    """A result on a host that is not listed is not fetched; the job waits for an operator while the copy lives."""
    emulator.switch(image_host="evil.example")
    job = await rig.drive(await rig.order(), State.ARCHIVING)
    job = await rig.step(job)
    assert job.state is State.ARCHIVING
    assert emulator.books()["totals"]["downloads"] == 0


async def test_a_picture_that_cannot_be_asked_for_is_given_up_in_the_end(rig: Rig, emulator: EmulatorProcess) -> None:
    """A day after its own time is over a copy that never could be fetched is lost; hours after it, it is not."""
    emulator.switch(image_host="evil.example")
    job = await rig.drive(await rig.order(), State.ARCHIVING)
    await rig.hurry(results_expire_at=timedelta(hours=20))
    assert (await rig.step(job)).state is State.ARCHIVING
    await rig.hurry(results_expire_at=timedelta(hours=5), due_at=timedelta(minutes=1))
    lost = await rig.step(await rig.job(job.id))
    assert (lost.state, lost.error_code) == (State.FAILED, Failure.ARCHIVE_LOST)
    assert await rig.balance() == (0, 2 * CREDIT)


async def test_a_redirect_of_a_download_stays_within_the_listed_hosts(rig: Rig, emulator: EmulatorProcess) -> None:
    """A redirect to a listed host is followed, one to another is not."""
    emulator.switch(download_redirect="self")
    assert (await rig.drive(await rig.order())).state is State.COMPLETED
    emulator.switch(download_redirect="http://169.254.169.254/latest/{name}")
    job = await rig.drive(await rig.order(), State.ARCHIVING)
    assert (await rig.step(job)).state is State.ARCHIVING


async def test_a_picture_that_the_archive_has_is_not_given_up(rig: Rig, emulator: EmulatorProcess) -> None:
    """A copy that is gone upstream, while ours lies in the archive without a row, as after a restore, is adopted."""
    job = await rig.drive(await rig.order(seed=4, num_outputs=2), State.ARCHIVING)
    async with rig.house.database.read() as connection:
        before = (await connection.execute(sa.select(tables.jobs).where(tables.jobs.c.id == job.id))).one()
    assert (await rig.drive(job)).state is State.COMPLETED
    async with rig.house.database.write() as tx:
        pictures = (await tx.execute(sa.select(tables.images).order_by(tables.images.c.position))).all()
        # The record goes back to the moment before the pictures came; one of them is another one's by now.
        await tx.execute(tables.images.delete())
        await tx.execute(
            tables.jobs.update().values(
                state=State.ARCHIVING,
                results=before.results,
                results_expire_at=rig.house.clock.now(),
                ended_at=None,
                due_at=before.due_at,
            )
        )
    emulator.delete_files()
    await rig.house.bucket.put(pictures[1].object_key, b"something else", "image/png")
    ended = await rig.drive(await rig.job(job.id))
    assert (ended.state, ended.partial) == (State.COMPLETED, True)
    async with rig.house.database.read() as connection:
        again = (await connection.execute(sa.select(tables.images))).all()
    assert [(row.position, row.sha256, row.seed) for row in again] == [(0, pictures[0].sha256, pictures[0].seed)]
