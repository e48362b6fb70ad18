"""What was made before answers again: what a hit writes, what it refuses, and what is never handed out."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway import errors
from gateway.jobs import endings, record
from gateway.jobs.accept import Accepted
from gateway.jobs.states import State
from gateway.reuse import hits
from gateway.reuse.directives import Handling
from gateway.storage import outbox, reuse_tables, tables
from gateway.tenancy.choices import Choices
from tests.support import crowd, wait
from tests.support import rig as rigs
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig
from tests.support.wire import Wire

CREDIT = 1_000_000


async def made(rig: Rig, **asked: object) -> Accepted:
    """An order that is carried out, and kept."""
    first = await crowd.ask(rig, **asked)  # type: ignore[arg-type]
    assert first.handling is Handling.MISS
    assert (await rig.drive(first.job)).state is State.COMPLETED
    return first


async def test_a_hit_is_the_original_job_and_asks_no_sql(rig: Rig, emulator: EmulatorProcess) -> None:
    """The first hit asks SQL and fills the shelf; each one after that asks Redis alone, and all of them are counted."""
    first = await made(rig)
    given = [await crowd.ask(rig)]

    async def by_redis_alone() -> bool:
        # On a busy machine Redis may seem silent, and a refresh behind the caller's back may be under way.
        with crowd.statements() as asked:
            given.append(await crowd.ask(rig))
        return asked == []

    await wait.until(by_redis_alone, timeout_s=30, what="a hit that asks no SQL", every_s=0.1)
    kept = [image.sha256 for image in await crowd.pictures(rig, first.job)]
    for each in given:
        assert (each.job.id, each.handling, each.job.state) == (first.job.id, Handling.HIT, State.COMPLETED)
        assert (each.job.cost_micros, each.answer is not None) == (0, True)
        assert [image.sha256 for image in each.images] == kept
    assert len(await crowd.rows(rig, tables.jobs)) == 1
    assert given[-1].remaining_micros == given[0].remaining_micros
    await hits.take_over(rig.house.redis, rig.house.database, rig.house.clock)
    (saved,) = await crowd.rows(rig, reuse_tables.savings)
    # What a silent Redis was to count is not counted.
    assert 1 <= saved.hits <= len(given)
    assert saved.saved_micros == saved.hits * 2 * CREDIT
    assert emulator.books()["totals"]["submitsReceived"] == 1
    assert await rig.balance() == (0, 2 * CREDIT)


async def test_a_hit_that_has_to_be_told_makes_a_job(rig: Rig) -> None:
    """With a webhook, a key of repetition, a team's address or a key that may not read, a hit is a completed job."""
    first = await made(rig)
    stranger = await crowd.colleague(rig)
    told = await crowd.ask(rig, body=crowd.BODY | {"webhook_url": "https://example.com/hook"})
    keyed = await crowd.ask(rig, key="k-1")
    of_team = await crowd.ask(rig, told=True)
    narrow = await crowd.ask(rig, stranger, reads_team=False)
    own = await crowd.ask(rig, reads_team=False)
    assert own.job.id == first.job.id
    made_jobs = [told, keyed, of_team, narrow]
    assert len({each.job.id for each in made_jobs} | {first.job.id}) == 5
    (original,) = await crowd.pictures(rig, first.job)
    for each in made_jobs:
        row = await rig.job(each.job.id)
        assert (row.state, row.cost_micros, row.reused_from) == (State.COMPLETED, 0, first.job.id)
        assert await rig.entries(each.job.id) == []
        (copied,) = await crowd.pictures(rig, row)
        assert replace(copied, id=original.id, job_id=original.job_id) == original
        assert copied.id != original.id
    assert [row.job_id for row in await crowd.rows(rig, outbox.deliveries)] == [told.job.id]
    assert (await crowd.ask(rig, key="k-1")).job.id == keyed.job.id
    (saved,) = await crowd.rows(rig, reuse_tables.savings)
    assert saved.hits == 4
    (counted,) = await crowd.rows(rig, tables.outcomes)
    assert (counted.outcome, counted.jobs) == ("completed", 5)


async def test_directives_are_heeded(rig: Rig, emulator: EmulatorProcess) -> None:
    """``only-if-cached`` makes nothing, ``no-store`` keeps nothing, ``no-cache`` takes the old one's place."""
    with pytest.raises(errors.NotCached):
        await crowd.ask(rig, header="only-if-cached")
    with pytest.raises(errors.NotCached):
        await crowd.ask(rig, header="only-if-cached, no-cache")
    unkept = await crowd.ask(rig, header="no-store")
    await rig.drive(unkept.job)
    assert await crowd.rows(rig, reuse_tables.cache_entries) == []
    first = await made(rig)
    assert (await crowd.ask(rig, header="only-if-cached")).job.id == first.job.id
    old = await crowd.ask(rig, header="max-age=100")
    assert old.job.id == first.job.id
    anew = await crowd.ask(rig, header="no-cache")
    assert (anew.handling, anew.job.follows) == (Handling.REQUEST, None)
    assert await crowd.open_flights(rig) == []
    # Until it is done the old answer is good for who would have it.
    assert (await crowd.ask(rig)).job.id == first.job.id
    await rig.drive(anew.job)
    assert (await crowd.ask(rig)).job.id == anew.job.id
    assert emulator.books()["totals"]["submitsReceived"] == 3
    async with rig.house.database.write() as tx:
        entry = reuse_tables.cache_entries
        rows = (await tx.execute(entry.select())).all()
        for row in rows:
            await tx.execute(entry.update().values(created_at=row.created_at - timedelta(minutes=5)))
    await rig.house.redis.flushall()
    stale = await crowd.ask(rig, header="max-age=100")
    assert (stale.handling, stale.job.state) == (Handling.REQUEST, State.QUEUED)


async def test_what_wants_variety_is_made_anew(rig: Rig) -> None:
    """Without a seed nothing is kept or shared, unless the team chose so; a partial answer is never kept."""
    unseeded = {"prompt": "a torii gate"}
    for _ in range(2):
        each = await crowd.ask(rig, body=unseeded)
        assert each.handling is Handling.BYPASS
        assert (await rig.job(each.job.id)).fingerprint is None
    chosen = Choices(unseeded=True)
    first = await crowd.ask(rig, body=unseeded, chosen=chosen)
    assert (await crowd.ask(rig, body=unseeded, chosen=chosen)).job.follows == first.job.id
    partial = await crowd.ask(rig, body=crowd.BODY | {"num_outputs": 2})
    follower = await crowd.ask(rig, body=crowd.BODY | {"num_outputs": 2})
    async with rig.house.database.write() as tx:
        there = tables.jobs.update().where(tables.jobs.c.id == partial.job.id).values(state=State.ARCHIVING)
        row = (await tx.execute(there.returning(tables.jobs))).one()
        assert await endings.complete(tx, record.job(row), kept=1, lost=1, now=rig.house.clock.now())
    assert (await rig.job(follower.job.id)).partial
    assert await crowd.rows(rig, reuse_tables.cache_entries) == []


async def test_a_picture_that_is_gone_is_no_hit(rig: Rig, tmp_path: Path) -> None:
    """An object that was deleted is a miss, as a look each minute finds; a silent archive is a 503 and no bill."""
    first = await made(rig)
    (picture,) = await crowd.pictures(rig, first.job)
    async with rig.house.database.write() as tx:
        old = rig.house.clock.now() - timedelta(minutes=2)
        await tx.execute(reuse_tables.cache_entries.update().values(checked_at=old))
    archive = tmp_path / "archive"
    archive.rename(tmp_path / "away")
    with pytest.raises(errors.ArchiveUnavailable):
        await crowd.ask(rig)
    (tmp_path / "away").rename(archive)
    assert (await crowd.ask(rig)).job.id == first.job.id
    await rig.house.redis.flushall()
    await rig.house.bucket.delete(picture.object_key)
    anew = await crowd.ask(rig)
    assert (anew.handling, anew.job.state) == (Handling.MISS, State.QUEUED)
    assert await crowd.rows(rig, reuse_tables.cache_entries) == []


async def test_teams_share_only_if_both_chose_to(rig: Rig, emulator: EmulatorProcess) -> None:
    """Another team's same request is a miss; of two that share the second has it at once, as a job of its own."""
    first = await made(rig, chosen=crowd.SHARES)
    async with rig.house.database.write() as tx:
        await tx.execute(
            reuse_tables.reuse_choices.insert().values(team_id=rig.caller.team_id, unseeded=False, pool=True)
        )
    closed, opened = await crowd.team(rig, "closed"), await crowd.team(rig, "opened", crowd.SHARES)
    miss = await crowd.ask(rig, closed)
    assert (miss.handling, miss.job.state) == (Handling.MISS, State.QUEUED)
    hit = await crowd.ask(rig, opened, chosen=crowd.SHARES)
    assert (hit.handling, hit.job.team_id, hit.job.reused_from) == (Handling.HIT, opened.team_id, first.job.id)
    (own,) = await crowd.pictures(rig, hit.job)
    assert own.team_id == opened.team_id
    # From then on it has it in its own place, and needs nobody's consent.
    async with rig.house.database.write() as tx:
        await tx.execute(reuse_tables.reuse_choices.update().values(pool=False))
    assert (await crowd.ask(rig, opened)).job.id == hit.job.id
    late = await crowd.team(rig, "late", crowd.SHARES)
    assert (await crowd.ask(rig, late, chosen=crowd.SHARES)).handling is Handling.MISS
    assert emulator.books()["totals"]["submitsReceived"] == 1


async def test_redis_costs_time_and_nothing_else(
    emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """Flushed, it is filled again; stalled, SQL answers well within two seconds; nothing is ordered twice."""
    parts = urlsplit(redis_url)
    with Wire(parts.port or 0) as wire:
        url = parts._replace(netloc=f"127.0.0.1:{wire.port}").geturl()
        async with rigs.rig(rigs.environment(emulator, database_url, url, tmp_path)) as rig:
            first = await made(rig)
            await rig.house.redis.flushall()
            assert (await crowd.ask(rig)).job.id == first.job.id
            wire.behave(stalled=True)
            async with asyncio.timeout(1.9):
                assert (await crowd.ask(rig)).job.id == first.job.id
            with crowd.statements() as asked:
                # It is left alone for a moment.
                assert (await crowd.ask(rig)).job.id == first.job.id
            assert asked
            wire.heal()
            assert len(await crowd.rows(rig, tables.jobs)) == 1


async def test_a_drained_team_gets_nothing(rig: Rig) -> None:
    """Neither a hit nor a flight is for a team that takes no orders any more."""
    await made(rig)
    with pytest.raises(errors.TeamDrained):
        await crowd.ask(rig, drained=True)
