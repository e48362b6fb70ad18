"""One job from its acceptance to its pictures, step by step, on both databases."""

import hashlib
from datetime import timedelta
from io import BytesIO

import msgspec
import pytest
import sqlalchemy as sa
from PIL import Image

from gateway import errors
from gateway.archive import keys
from gateway.jobs import desk, lookup, view
from gateway.jobs.states import State
from gateway.storage import tables
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig

CREDIT = 1_000_000


async def test_a_job_becomes_a_picture(rig: Rig, emulator: EmulatorProcess) -> None:
    """An order is queued, submitted once, polled, archived and completed, and what it says of its picture is true."""
    job = await rig.order(seed=7, aspect_ratio="16:9")
    assert job.state is State.QUEUED
    assert await rig.balance() == (2 * CREDIT, 0)
    done = await rig.drive(job)
    assert done.state is State.COMPLETED
    assert not done.partial
    async with rig.house.database.read() as connection:
        (image,) = await lookup.images(connection, rig.caller.team_id, job.id)
    data = await rig.house.bucket.get(image.object_key)
    assert hashlib.sha256(data).hexdigest() == image.sha256
    assert len(data) == image.size_bytes
    with Image.open(BytesIO(data)) as picture:
        assert picture.size == (image.width, image.height)
    assert image.content_type == "image/png"
    assert image.seed == 7
    books = emulator.books()
    assert books["totals"]["submitsReceived"] == 1
    assert books["totals"]["debited"] == 2
    assert books["totals"]["downloadsWithAuthorization"] == 0
    assert await rig.balance() == (0, 2 * CREDIT)


async def test_the_upstream_gets_exactly_the_parameters(rig: Rig, emulator: EmulatorProcess) -> None:
    """Defaults are sent explicitly, safety_tolerance among them, an absent seed is not, and nothing of ours is."""
    await rig.drive(await rig.order(torii={"metadata": {"ours": True}}), State.RUNNING)
    (sent,) = emulator.books()["jobs"]
    assert sent["parameters"] == {
        "prompt": "a torii gate",
        "aspect_ratio": "1:1",
        "resolution": "1 MP",
        "num_outputs": 1,
        "safety_tolerance": 5,
        "prompt_upsampling": False,
        "output_format": "png",
    }
    assert sent["webhookUrl"] is None


async def test_each_picture_has_its_sidecar(rig: Rig) -> None:
    """Beside each picture lies a JSON that says what it is and whose, and the four pictures of an order are four."""
    job = await rig.drive(await rig.order(num_outputs=4, resolution="0.5 MP", output_format="jpg"))
    async with rig.house.database.read() as connection:
        images = await lookup.images(connection, rig.caller.team_id, job.id)
    assert [image.position for image in images] == [0, 1, 2, 3]
    assert len({image.sha256 for image in images}) == 4
    for image in images:
        where = keys.sidecar(image.team_id, image.job_id, image.position, job.created_at)
        described = msgspec.json.decode(await rig.house.bucket.get(where))
        assert described["sha256"] == image.sha256
        assert described["teamId"] == rig.caller.team_id
        assert described["parameters"]["prompt"] == "a torii gate"
        assert described["upstreamJobId"] == job.upstream_job_id
        assert described["credits"] == 8


async def test_the_picture_outlives_the_upstreams_copy(rig: Rig, emulator: EmulatorProcess) -> None:
    """After the upstream's file is deleted, the archive still has the same bytes."""
    job = await rig.drive(await rig.order(seed=1))
    async with rig.house.database.read() as connection:
        (image,) = await lookup.images(connection, rig.caller.team_id, job.id)
    emulator.delete_files()
    assert hashlib.sha256(await rig.house.bucket.get(image.object_key)).hexdigest() == image.sha256


async def test_the_ledger_moves_with_the_job(rig: Rig) -> None:
    """The hold is posted with the job, the charge and the release with the upstream's 202, nothing after."""
    job = await rig.order(resolution="2 MP")
    assert await rig.entries(job.id) == [(1, "hold", 4 * CREDIT)]
    running = await rig.drive(job, State.RUNNING)
    booked = await rig.entries(job.id)
    assert sorted(booked) == [(1, "charge", 2 * CREDIT), (1, "hold", 4 * CREDIT), (1, "release", 4 * CREDIT)]
    assert running.cost_micros == 2 * CREDIT
    await rig.drive(running)
    assert await rig.entries(job.id) == booked
    assert await rig.balance() == (0, 2 * CREDIT)


async def test_a_queued_job_can_be_cancelled(rig: Rig, emulator: EmulatorProcess) -> None:
    """A cancelled job gives its hold back, is never sent, and is cancelled only once."""
    job = await rig.order()
    for _ in range(2):
        assert (await desk.cancel(rig.house.counter, rig.caller, job.id, whole_team=True)).state is State.CANCELLED
    assert await rig.balance() == (0, 0)
    await rig.step(await rig.job(job.id))
    assert emulator.books()["totals"]["submitsReceived"] == 0


async def test_a_sent_job_cannot_be_cancelled(rig: Rig) -> None:
    """Once submitted a job cannot be taken back, since the upstream has no cancel, and nothing changes."""
    job = await rig.drive(await rig.order(), State.RUNNING)
    with pytest.raises(errors.Conflict, match="running"):
        await desk.cancel(rig.house.counter, rig.caller, job.id, whole_team=True)
    assert (await rig.drive(job)).state is State.COMPLETED


async def test_another_team_does_not_see_the_job(rig: Rig) -> None:
    """A job of another team, or of another key where only its own are allowed, is not found."""
    job = await rig.order()
    stranger = type(rig.caller)("team_of_someone_else", rig.caller.key_id)
    colleague = type(rig.caller)(rig.caller.team_id, "another_key1")
    with pytest.raises(errors.JobNotFound):
        await desk.read(rig.house.counter, stranger, job.id, whole_team=True)
    with pytest.raises(errors.JobNotFound):
        await desk.read(rig.house.counter, colleague, job.id, whole_team=False)
    assert (await desk.read(rig.house.counter, colleague, job.id, whole_team=True)).job.id == job.id


async def test_versions_grow_with_what_a_caller_can_see(rig: Rig) -> None:
    """Each change of state grows the job's version, so that readers can tell new from old."""
    job = await rig.order()
    seen = {job.state: job.version}
    while job.state is not State.COMPLETED:
        job = await rig.step(job)
        seen[job.state] = job.version
    ordered = [seen[state] for state in (State.QUEUED, State.RUNNING, State.COMPLETED)]
    assert ordered == sorted(set(ordered))


async def test_outcomes_are_counted_in_the_books(rig: Rig) -> None:
    """Each ended job is counted once, by team, model and outcome."""
    await rig.drive(await rig.order())
    job = await rig.order()
    await desk.cancel(rig.house.counter, rig.caller, job.id, whole_team=True)
    async with rig.house.database.read() as connection:
        rows = await connection.execute(sa.select(tables.outcomes.c.outcome, tables.outcomes.c.jobs))
        assert sorted((row.outcome, row.jobs) for row in rows) == [("cancelled", 1), ("completed", 1)]


async def test_the_view_is_the_seeds_answer(rig: Rig) -> None:
    """A completed job shows the seed's fields exactly, and ours beside them."""
    job = await rig.drive(await rig.order(seed=3))
    reading = await desk.read(rig.house.counter, rig.caller, job.id, whole_team=True)
    now = rig.house.clock.now()
    shown = view.render(reading.job, reading.images, reading.remaining_micros, rig.house.frame, now)
    assert shown["status"] == "completed"
    assert shown["creditCost"] == 2
    assert shown["creditsRemaining"] == 998
    assert shown["output"]["images"] == [asset["url"] for asset in shown["assets"]]
    assert set(shown["assets"][0]) == {"url", "contentType", "width", "height", "bytes", "sha256", "seed"}


async def test_a_job_that_waited_too_long_ends_unpaid(rig: Rig, emulator: EmulatorProcess) -> None:
    """A queued job past its deadline fails with its hold released and is never sent."""
    job = await rig.order(torii={"startWithinS": 60})
    assert job.queue_deadline_at - job.created_at == timedelta(seconds=60)
    assert emulator.books()["totals"]["submitsReceived"] == 0
