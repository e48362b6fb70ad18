"""How long a team keeps things: what goes when its time is over, what stays, and what a trial counts."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from gateway import errors
from gateway.jobs import erasing, erasure_sweep, retention
from gateway.jobs.record import Job
from gateway.jobs.retention import Retention
from gateway.jobs.states import State
from gateway.storage import erasure_tables, reuse_tables, tables
from tests.integration.test_erasure import left, objects, unknown
from tests.support import crowd
from tests.support.rig import Rig

DAY = timedelta(days=1)


async def choose(rig: Rig, pictures_days: int | None = None, prompts_days: int | None = None) -> None:
    """Let the rig's team keep things for so long."""
    async with rig.house.database.write() as tx:
        await retention.put(tx, rig.caller.team_id, Retention(pictures_days, prompts_days))


async def made(rig: Rig, days_ago: float = 0, **body: object) -> Job:
    """A completed job that ended so long ago."""
    job = await rig.drive(await rig.order(**body))
    return await aged(rig, job, days_ago)


async def aged(rig: Rig, job: Job, days_ago: float) -> Job:
    """The job, as if it had ended so long ago."""
    async with rig.house.database.write() as tx:
        ended_at = rig.house.clock.now() - days_ago * DAY
        await tx.execute(tables.jobs.update().where(tables.jobs.c.id == job.id).values(ended_at=ended_at))
    return await rig.job(job.id)


async def swept(rig: Rig) -> None:
    """Both sweeps, once each."""
    await erasure_sweep.over_time(rig.shop)
    await erasure_sweep.erasures(rig.shop)


async def test_pictures_go_when_their_time_is_over(rig: Rig) -> None:
    """After the team's days the pictures are gone, with what lies beside them; prompts and younger ones stay."""
    old, young = await made(rig, 8), await made(rig, 6)
    other = await crowd.team(rig, "others")
    foreign = await aged(rig, await rig.drive((await crowd.ask(rig, other)).job), 8)
    await swept(rig)
    assert len(objects(rig)) == 6
    await choose(rig, pictures_days=7)
    await swept(rig)
    assert await left(rig) == []
    assert await crowd.pictures(rig, old) == []
    erased = await rig.job(old.id)
    assert (erased.pictures_erased_at is None, erased.prompt_erased_at) == (False, None)
    assert erased.parameters["prompt"] == "a torii gate"
    for kept in (young, foreign):
        assert (await crowd.pictures(rig, kept))[0].object_key in objects(rig)
    assert len(objects(rig)) == 4
    assert rig.house.registry.get_sample_value("torii_images_erased_total", {"cause": "retention"}) == 1
    await swept(rig)
    assert (await rig.job(old.id)).pictures_erased_at == erased.pictures_erased_at


async def test_prompts_go_and_pictures_stay(rig: Rig) -> None:
    """After its days what a job was asked for is gone, in SQL and beside the picture, which answers again still."""
    first = (await crowd.ask(rig)).job
    await aged(rig, await rig.drive(first), 3)
    await choose(rig, prompts_days=3)
    await swept(rig)
    row = await rig.job(first.id)
    assert (row.parameters, row.details, row.pictures_erased_at) == ({"num_outputs": 1}, None, None)
    (image,) = await crowd.pictures(rig, first)
    assert objects(rig) == {image.object_key}
    assert (await crowd.ask(rig)).job.id == first.id
    await choose(rig, pictures_days=3, prompts_days=3)
    await swept(rig)
    assert (objects(rig), await crowd.rows(rig, reuse_tables.cache_entries)) == (set(), [])


async def test_what_has_not_ended_is_never_over(rig: Rig) -> None:
    """Jobs that wait, run, or are in doubt are kept, however old they are."""
    doubtful = await unknown(rig)
    queued = await rig.order()
    await choose(rig, 1, 1)
    await rig.hurry(created_at=400 * DAY)
    await swept(rig)
    for job in (doubtful, queued):
        assert (await rig.job(job.id)).parameters["prompt"] == "a torii gate"
    async with rig.house.database.write() as tx:
        ended = tables.jobs.update().where(tables.jobs.c.id == doubtful.id)
        await tx.execute(ended.values(state=State.COMPLETED, ended_at=rig.house.clock.now() - 9 * DAY))
    await swept(rig)
    assert (await rig.job(doubtful.id)).parameters["prompt"] == "a torii gate"


async def test_the_first_to_end_go_first_and_in_portions(rig: Rig) -> None:
    """A sweep takes no more than its portion, of two teams' jobs those that ended first."""
    now = rig.house.clock.now()
    other = await crowd.team(rig, "others")
    rows = []
    for number in range(erasure_sweep.JOBS_AT_ONCE + 10):
        who = rig.caller if number % 2 else other
        job = {"id": f"job_{number:04}", "team_id": who.team_id, "key_id": who.key_id, "model": "m", "hold_micros": 0}
        at = now - 30 * DAY - timedelta(minutes=number)
        when = {"created_at": at, "queue_deadline_at": at, "due_at": at, "ended_at": at}
        rows.append({**job, **when, "model_version": "1", "parameters": {}, "state": State.COMPLETED})
    async with rig.house.database.write() as tx:
        await tx.execute(tables.jobs.insert(), rows)
        await retention.put(tx, other.team_id, Retention(pictures_days=20))
    await choose(rig, pictures_days=10)
    await erasure_sweep.over_time(rig.shop)
    kept = [row.id for row in await crowd.rows(rig, tables.jobs) if row.pictures_erased_at is None]
    assert sorted(kept) == [f"job_{number:04}" for number in range(10)]
    await erasure_sweep.over_time(rig.shop)
    assert all(row.pictures_erased_at is not None for row in await crowd.rows(rig, tables.jobs))
    assert all(row.prompt_erased_at is None for row in await crowd.rows(rig, tables.jobs))


async def test_a_trial_counts_and_erases_nothing(rig: Rig) -> None:
    """What would go by some days is counted, whether they are chosen or not."""
    for days in (2, 5, 9):
        await made(rig, days, num_outputs=2)
    async with rig.house.database.read() as connection:
        nothing = await retention.due(connection, rig.caller.team_id, Retention(), rig.house.clock.now())
        found = await retention.due(connection, rig.caller.team_id, Retention(4, 8), rig.house.clock.now())
        size = (await connection.execute(sa.select(sa.func.sum(tables.images.c.size_bytes)))).scalar_one()
    assert (nothing.pictures, nothing.prompts, nothing.oldest_at) == (0, 0, None)
    assert (found.picture_jobs, found.pictures, found.prompts) == (2, 4, 1)
    assert 0 < found.picture_bytes < size
    assert found.oldest_at is not None
    assert rig.house.clock.now() - found.oldest_at >= 9 * DAY
    await swept(rig)
    assert len(objects(rig)) == 12


def test_days_are_days() -> None:
    """A number that is none is refused, and names its field."""
    for chosen, field in ((Retention(0), "retention.picturesDays"), (Retention(None, 4000), "retention.promptsDays")):
        with pytest.raises(errors.InvalidParameter) as refused:
            retention.require(chosen)
        assert refused.value.param == field


async def test_an_erased_job_is_not_erased_again_by_time(rig: Rig) -> None:
    """What somebody erased is nothing that retention would find."""
    job = await made(rig, 5)
    await erasing.erase(rig.house.counter, "somebody", job.team_id, job.id)
    await choose(rig, 1, 1)
    before = await crowd.rows(rig, erasure_tables.erasures)
    await erasure_sweep.over_time(rig.shop)
    assert await crowd.rows(rig, erasure_tables.erasures) == before
