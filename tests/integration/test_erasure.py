"""Erasing jobs: what goes and what stays, who else shows the same picture, and an archive that is away meanwhile."""

import asyncio
import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway import errors
from gateway.archive import keys
from gateway.archive.bucket import Bucket
from gateway.jobs import (
    announce,
    attempts,
    booking,
    claims,
    delivery_log,
    erasing,
    erasure_sweep,
    keeping,
    liveness,
    lookup,
    retention,
    settlement,
    sweep,
)
from gateway.jobs.outcomes import Outcome
from gateway.jobs.record import Image, Job
from gateway.jobs.retention import Retention
from gateway.jobs.settlement import Verdict
from gateway.jobs.states import State
from gateway.reuse.directives import Handling
from gateway.storage import erasure_tables, outbox, reuse_tables, tables
from gateway.upstream import answers
from tests.integration.test_jobs_zombie_archivers import Late
from tests.support import crowd
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig

CREDIT = 1_000_000
HOOK = "https://hooks.example/for?whom=me"


async def erase(rig: Rig, job: Job) -> Job:
    """Erase the job as its team would."""
    return await erasing.erase(rig.house.counter, "key of the test", job.team_id, job.id)


async def swept(rig: Rig, *, again: bool = True) -> None:
    """Let the workers delete what is due, and look once more a while later."""
    await erasure_sweep.erasures(rig.shop)
    if again:
        await let_pass(rig, erasing.AGAIN_AFTER)
        await erasure_sweep.erasures(rig.shop)


async def let_pass(rig: Rig, age: timedelta) -> None:
    """Let time pass for what is to be deleted."""
    table = erasure_tables.erasures
    async with rig.house.database.write() as tx:
        for row in (await tx.execute(sa.select(table))).all():
            await tx.execute(table.update().where(table.c.id == row.id).values(due_at=row.due_at - age))


async def left(rig: Rig) -> Sequence[sa.Row[Any]]:
    """What is still to be deleted."""
    return await crowd.rows(rig, erasure_tables.erasures)


def objects(rig: Rig) -> set[str]:
    """Everything that lies in the archive."""
    folder = Path(rig.house.settings.archive_url)
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name[0] != "."}


async def thumbnail(rig: Rig, image: Image) -> str:
    """Have the picture's small copy in the archive, as the first look at it would."""
    key = keys.thumbnail(image.object_key)
    await rig.house.bucket.put(key, b"a small picture", "image/webp")
    return key


async def test_an_erased_job_leaves_its_ids_and_amounts(rig: Rig) -> None:
    """Prompt, metadata, pictures, sidecars and small copies are gone, in SQL and in the archive; the ledger stays."""
    secret = "a gate nobody may know of"
    ordered = await rig.order(prompt=secret, num_outputs=2, torii={"metadata": {"for": secret}}, webhook_url=HOOK)
    job = await rig.drive(ordered)
    books = await rig.entries(job.id)
    for image in await crowd.pictures(rig, job):
        await thumbnail(rig, image)
    assert len(objects(rig)) == 6
    erased = await erase(rig, job)
    assert (erased.state, erased.cost_micros, erased.ended_at) == (State.COMPLETED, job.cost_micros, job.ended_at)
    assert erased.pictures_erased_at is not None
    assert await crowd.pictures(rig, job) == []
    for table in (tables.jobs, tables.audit, tables.attempts, tables.images, erasure_tables.erasures):
        assert secret not in str(await crowd.rows(rig, table))
    row = await rig.job(job.id)
    assert (row.parameters, row.details, row.webhook_url) == ({"num_outputs": 2}, None, None)
    await swept(rig, again=False)
    assert objects(rig) == set()
    assert len(await left(rig)) == 4
    await swept(rig)
    assert await left(rig) == []
    assert await rig.entries(job.id) == books
    assert await rig.balance() == (0, 4 * CREDIT)
    (noted,) = [row for row in await crowd.rows(rig, tables.audit) if row.action == "job.erase"]
    assert (noted.actor, noted.subject, noted.before["pictures"]) == ("key of the test", job.id, 2)
    assert rig.house.registry.get_sample_value("torii_images_erased_total", {"cause": "request"}) == 2
    assert await erase(rig, job) == erased
    assert await left(rig) == []


async def test_what_waits_is_taken_back_first(rig: Rig) -> None:
    """A queued job is cancelled and erased in one go, its hold free again; who followed it leads from then on."""
    leader = (await crowd.ask(rig)).job
    follower = (await crowd.ask(rig)).job
    assert follower.follows == leader.id
    erased = await erase(rig, leader)
    assert (erased.state, erased.parameters) == (State.CANCELLED, {"num_outputs": 1})
    heir = await rig.job(follower.id)
    assert (heir.follows, heir.state) == (None, State.QUEUED)
    assert (await rig.drive(heir)).state is State.COMPLETED
    assert len(await crowd.pictures(rig, heir)) == 1
    await swept(rig)
    assert await rig.balance() == (0, 2 * CREDIT)
    assert len(objects(rig)) == 2


async def test_who_follows_may_go_at_any_time(rig: Rig) -> None:
    """A follower is erased while its leader runs, and the leader notices nothing."""
    leader = (await crowd.ask(rig)).job
    follower = (await crowd.ask(rig)).job
    leader = await rig.drive(leader, State.RUNNING)
    assert (await erase(rig, follower)).state is State.CANCELLED
    assert (await rig.drive(leader)).state is State.COMPLETED
    assert await crowd.pictures(rig, follower) == []
    assert len(await crowd.pictures(rig, leader)) == 1


async def test_a_follower_goes_while_its_leader_ends(rig: Rig) -> None:
    """Whichever comes first, the follower has ended without a picture of its own, and the leader has its own."""
    for seed in range(3):
        leader = (await crowd.ask(rig, body={"prompt": "a", "seed": seed})).job
        follower = (await crowd.ask(rig, body={"prompt": "a", "seed": seed})).job
        await rig.drive(leader, State.ARCHIVING)
        erased, _ = await asyncio.gather(erase(rig, follower), keeping.keep(rig.shop, leader.id))
        assert erased.state in (State.CANCELLED, State.COMPLETED)
        await rig.drive(await rig.job(leader.id))
        await swept(rig)
        (image,) = await crowd.pictures(rig, leader)
        assert await crowd.pictures(rig, follower) == []
        assert image.object_key in objects(rig)
        assert await left(rig) == []


async def test_what_was_sent_is_not_erased_before_its_end(rig: Rig) -> None:
    """From the intent on a job is a conflict, and nothing of it is touched, until it has ended."""
    job = await rig.order()
    claimed = await claims.take_queued(rig.shop, rig.shop.clock.now())
    assert claimed is not None
    assert await attempts.open(rig.shop, claimed, rig.shop.clock.now()) is not None
    for state in (State.SUBMITTING, State.SUBMISSION_UNKNOWN, State.RUNNING, State.ARCHIVING):
        async with rig.house.database.write() as tx:
            await tx.execute(tables.jobs.update().values(state=state))
        with pytest.raises(errors.Conflict, match=state):
            await erase(rig, job)
        assert (await rig.job(job.id)).parameters["prompt"] == "a torii gate"
    assert await left(rig) == []


async def unknown(rig: Rig) -> Job:
    """A job whose answer was lost."""
    await rig.order()
    claimed = await claims.take_queued(rig.shop, rig.shop.clock.now())
    assert claimed is not None
    job = await attempts.open(rig.shop, claimed, rig.shop.clock.now())
    assert job is not None
    await booking.book(rig.shop, job.id, 1, answers.Ambiguous("cut"))
    return job


async def test_a_doubt_is_settled_before_anything_is_erased(rig: Rig) -> None:
    """An ended job of which another attempt is in doubt is a conflict: its prompt is what finds it upstream."""
    job = await unknown(rig)
    async with rig.house.database.write() as tx:
        await tx.execute(tables.jobs.update().values(state=State.COMPLETED, ended_at=rig.house.clock.now()))
    with pytest.raises(errors.Conflict, match="a day"):
        await erase(rig, job)
    async with rig.house.database.write() as tx:
        await tx.execute(tables.attempts.update().values(outcome=Outcome.SETTLED_FREE))
    assert (await erase(rig, job)).pictures_erased_at is not None


async def test_a_late_answer_brings_nothing_back(rig: Rig, emulator: EmulatorProcess) -> None:
    """A job that failed as unknown and was erased stays so when it is found: it is paid for, and never fetched."""
    job = await unknown(rig)
    await rig.hurry(quiet_at=timedelta(minutes=5), opened_at=timedelta(minutes=5))
    failed = await settlement.settle(rig.house.database, rig.house.clock, job.id, Verdict.NOT_CHARGED)
    assert (failed.state, await rig.balance()) == (State.FAILED, (0, 0))
    await erase(rig, failed)
    accepted = answers.Accepted("job_of_the_upstream", 202, 2 * CREDIT, None)
    await booking.book(rig.shop, job.id, 1, accepted)
    assert ((await rig.job(job.id)).state, await rig.outcomes(job.id)) == (State.FAILED, ["orphaned"])
    assert await rig.balance() == (0, 2 * CREDIT)
    assert emulator.books()["totals"]["submitsReceived"] == 0


async def test_a_picture_goes_with_the_last_who_shows_it(rig: Rig) -> None:
    """Of two jobs that show one object the first takes its own sidecar along, the second the object."""
    first = (await crowd.ask(rig)).job
    await rig.drive(first)
    copied = (await crowd.ask(rig, key="a key")).job
    assert copied.reused_from == first.id
    (image,) = await crowd.pictures(rig, copied)
    small = await thumbnail(rig, image)
    await erase(rig, first)
    await swept(rig)
    assert objects(rig) == {image.object_key, small}
    assert await left(rig) == []
    assert len(await crowd.pictures(rig, copied)) == 1
    await erase(rig, copied)
    await swept(rig)
    assert (objects(rig), await left(rig)) == (set(), [])
    # The key of repetition has its job still: nothing is paid twice for an erasure.
    repeated = await crowd.ask(rig, key="a key")
    assert (repeated.replayed, repeated.job.id) == (True, copied.id)


async def test_the_cache_hands_out_nothing_erased(rig: Rig, emulator: EmulatorProcess) -> None:
    """Once it is erased neither SQL nor Redis answers with it, and the same request is made anew."""
    first = (await crowd.ask(rig)).job
    await rig.drive(first)
    for _ in range(2):
        assert (await crowd.ask(rig)).handling is Handling.HIT
    await erase(rig, first)
    assert await crowd.rows(rig, reuse_tables.cache_entries) == []
    anew = await crowd.ask(rig)
    assert (anew.handling, anew.job.id == first.id) == (Handling.MISS, False)
    await rig.drive(anew.job)
    assert emulator.books()["totals"]["submitsReceived"] == 2


async def test_a_hit_and_an_erasure_at_once(rig: Rig) -> None:
    """However they meet, every picture that some job shows is in the archive, and nothing else is."""
    for round_number in range(3):
        seeded = {"prompt": "a torii gate", "seed": round_number}
        first = (await crowd.ask(rig, body=seeded)).job
        await rig.drive(first)
        others = [crowd.ask(rig, body=seeded, key=f"{round_number}.{number}") for number in range(3)]
        erased, got = asyncio.create_task(erase(rig, first)), await asyncio.gather(*others)
        await erased
        for each in got:
            await rig.drive(await rig.job(each.job.follows or each.job.id))
            assert len(await crowd.pictures(rig, each.job)) == 1
        await swept(rig)
    shown = {row.object_key for row in await crowd.rows(rig, tables.images)}
    there = {key for key in objects(rig) if not key.endswith(".json")}
    assert (there, await left(rig)) == (shown, [])


async def test_an_archive_that_is_away_is_asked_again(rig: Rig) -> None:
    """What could not be deleted is put off by a minute, for as long as that takes, and then it is gone."""
    job = await rig.drive(await rig.order())
    await erase(rig, job)
    folder = Path(rig.house.settings.archive_url)
    away = await asyncio.to_thread(folder.rename, folder.with_name("away"))
    for _ in range(2):
        await erasure_sweep.erasures(rig.shop)
        assert len(await left(rig)) == 2
        # At once nothing is due: nobody hammers it.
        async with rig.house.database.read() as connection:
            assert await erasing.pending(connection) == 2
        await let_pass(rig, erasure_sweep.TRY_AGAIN)
    await asyncio.to_thread(away.rename, folder)
    await swept(rig)
    assert (objects(rig), await left(rig)) == (set(), [])


class Hanging(Bucket):
    """An archive that never answers a deletion."""

    async def delete(self, key: str) -> None:
        """Hang."""
        del key
        await asyncio.Event().wait()


async def test_an_archive_that_hangs_holds_up_nobody_for_long(rig: Rig) -> None:
    """The sweep ends in its time, and what it took is another's a minute later."""
    job = await rig.drive(await rig.order())
    await erase(rig, job)
    stuck = Hanging.__new__(Hanging)
    stuck.__dict__ |= vars(rig.shop.bucket)
    async with asyncio.timeout(erasure_sweep.WITHIN_S + 3):
        await erasure_sweep.erasures(dataclasses.replace(rig.shop, bucket=stuck))
    await erasure_sweep.erasures(rig.shop)
    assert len(await left(rig)) == 2
    await let_pass(rig, erasure_sweep.TRY_AGAIN)
    await swept(rig)
    assert (objects(rig), await left(rig)) == (set(), [])


async def test_two_workers_sweep_at_once(rig: Rig) -> None:
    """Two sweeps at once delete everything and count each picture once."""
    for _ in range(5):
        await erase(rig, await rig.drive(await rig.order()))
    await asyncio.gather(*(erasure_sweep.erasures(rig.shop) for _ in range(3)))
    assert objects(rig) == set()
    assert rig.house.registry.get_sample_value("torii_images_erased_total", {"cause": "request"}) == 5


async def test_a_zombie_puts_nothing_back(rig: Rig, emulator: EmulatorProcess) -> None:
    """A worker that stood still while its job ended and was erased takes back what it then puts into the archive."""
    late = dataclasses.replace(rig.shop, worker_id="worker_late", upstream=Late(rig))
    await liveness.register(rig.house.database, late.worker_id, "test", rig.house.clock)
    assert isinstance(late.upstream, Late)
    job = await rig.drive(await rig.order(), State.ARCHIVING)
    zombie = asyncio.create_task(keeping.keep(late, job.id))
    await late.upstream.asked.wait()
    await sweep.free(rig.shop, late.worker_id)
    await erase(rig, await rig.drive(job))
    await swept(rig)
    late.upstream.open.set()
    await zombie
    await late.upstream.close()
    assert objects(rig) == set()
    assert emulator.books()["totals"]["submitsReceived"] == 1


async def test_what_no_row_named_goes_too(rig: Rig) -> None:
    """A picture whose worker died before its row, of a job that then failed, is looked for and deleted."""
    job = await rig.drive(await rig.order(), State.ARCHIVING)
    orphan = keys.picture(job.team_id, job.id, 0, "png", job.created_at)
    for key in (orphan, keys.sidecar(job.team_id, job.id, 0, job.created_at), keys.thumbnail(orphan)):
        await rig.house.bucket.put(key, b"a picture", "image/png")
    async with rig.house.database.write() as tx:
        await tx.execute(tables.jobs.update().values(state=State.FAILED, ended_at=rig.house.clock.now()))
    await erase(rig, job)
    await swept(rig)
    assert (objects(rig), await left(rig)) == (set(), [])


async def test_nobody_is_told_of_what_is_gone(rig: Rig) -> None:
    """An event that waits is taken back, and none can be sent again; that a job was taken back is still told."""
    job = await rig.drive(await rig.order(webhook_url=HOOK))
    await erase(rig, job)
    (told,) = await crowd.rows(rig, outbox.deliveries)
    assert (told.type, told.state) == ("job.completed", "superseded")
    with pytest.raises(errors.Conflict, match="erased"):
        await delivery_log.replay_job(rig.house.counter, "somebody", job.team_id, job.id, None)
    waiting = await rig.order(webhook_url=HOOK)
    await erase(rig, waiting)
    told = next(row for row in await crowd.rows(rig, outbox.deliveries) if row.job_id == waiting.id)
    assert (told.type, told.state, told.url) == ("job.cancelled", "pending", HOOK)
    assert announce.holds(announce.read(told), await rig.job(waiting.id))


async def test_another_teams_job_is_not_there(rig: Rig) -> None:
    """Who asks for another team's job reads that there is none, and it stays."""
    job = await rig.drive(await rig.order())
    other = await crowd.team(rig, "others")
    with pytest.raises(errors.JobNotFound):
        await erasing.erase(rig.house.counter, "somebody", other.team_id, job.id)
    async with rig.house.database.read() as connection:
        assert len(await lookup.images(connection, job.team_id, job.id)) == 1


async def test_an_erasure_after_retention_spares_what_another_job_shows(rig: Rig) -> None:
    """A job whose pictures went with time is erased without the object that another job shows still."""
    first = (await crowd.ask(rig)).job
    await rig.drive(first)
    copied = (await crowd.ask(rig, key="a key")).job
    (image,) = await crowd.pictures(rig, copied)
    long_ago = rig.house.clock.now() - timedelta(days=2)
    async with rig.house.database.write() as tx:
        await retention.put(tx, first.team_id, Retention(pictures_days=1))
        await tx.execute(tables.jobs.update().where(tables.jobs.c.id == first.id).values(ended_at=long_ago))
    await erasure_sweep.over_time(rig.shop)
    await swept(rig)
    assert (await rig.job(first.id)).pictures_erased_at is not None
    await erase(rig, first)
    await swept(rig)
    assert [each.object_key for each in await crowd.pictures(rig, copied)] == [image.object_key]
    assert image.object_key in objects(rig)
