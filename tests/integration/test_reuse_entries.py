"""The cache of record on both databases: what is found, replaced, purged, and for whom."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import sqlalchemy as sa

from gateway import errors
from gateway.jobs.states import State
from gateway.reuse import choices, entries, key
from gateway.reuse.answer import Answer
from gateway.reuse.entries import Keeping, Purged
from gateway.reuse.places import POOL, Place
from gateway.storage import reuse_tables, tables
from gateway.tenancy.choices import Choices
from tests.support import kept
from tests.support.kept import NOW, Owner, Store
from tests.support.rig import MODEL

PRINT = "f" * 64


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A migrated database with one team, once on SQLite and once on PostgreSQL."""
    async with kept.store(database_url) as opened:
        yield opened


async def keep(store: Store, place: Place, job_id: str, owner: Owner | None = None, ttl_s: int | None = None) -> int:
    """Let that job answer the place."""
    keeping = Keeping((owner or store.owner).team_id, MODEL, job_id, 2_000_000, ttl_s)
    async with store.database.write() as tx:
        return await entries.put(tx, place, keeping, NOW)


async def find(store: Store, place: Place, after: timedelta = timedelta(0)) -> Answer | None:
    """What answers the place, some time later."""
    async with store.database.read() as connection:
        return await entries.find(connection, place, NOW + after)


def own(store: Store, fingerprint: str = PRINT) -> Place:
    """A place of the team's own."""
    return Place(store.owner.team_id, fingerprint)


async def test_the_installations_key_is_made_once_and_stays(store: Store) -> None:
    """The migration made a random key of 32 bytes, and every process reads the same."""
    first, again = await key.read(store.database), await key.read(store.database)
    assert first == again
    assert len(set(first.secret)) > 8


async def test_an_entry_is_found_with_its_pictures(store: Store) -> None:
    """An entry gives its job, who ordered it, what it saves, and the pictures in order."""
    job_id = await store.job(pictures=3)
    version = await keep(store, own(store), job_id)
    found = await find(store, own(store))
    assert found is not None
    assert (found.version, found.job_id, found.key_id) == (version, job_id, store.owner.key_id)
    assert (found.cost_micros, found.model, found.kept_at, found.ordered_at) == (2_000_000, MODEL, NOW, NOW)
    assert [picture.object_key[-5:] for picture in found.pictures] == ["0.png", "1.png", "2.png"]
    assert [picture.seed for picture in found.pictures] == [1, None, None]


async def test_nothing_else_is_found(store: Store) -> None:
    """Another scope or fingerprint finds nothing, and neither does an entry whose pictures have no rows any more."""
    other = await store.another("others")
    job_id = await store.job()
    await keep(store, own(store), job_id)
    for place in (Place(other.team_id, PRINT), own(store, "e" * 64), Place(POOL, PRINT)):
        assert await find(store, place) is None
    async with store.database.write() as tx:
        await tx.execute(tables.images.delete())
    assert await find(store, own(store)) is None


async def test_an_entry_ends_with_its_life(store: Store) -> None:
    """An entry with a life is found until that is over, and one without for ever."""
    await keep(store, own(store), await store.job(), ttl_s=60)
    assert await find(store, own(store), timedelta(seconds=59)) is not None
    assert await find(store, own(store), timedelta(seconds=60)) is None
    async with store.database.write() as tx:
        assert await entries.expire(tx, NOW + timedelta(seconds=59)) == []
        assert [each.place for each in await entries.expire(tx, NOW + timedelta(seconds=60))] == [own(store)]
    await keep(store, own(store), await store.job())
    assert await find(store, own(store), timedelta(days=9999)) is not None


async def test_a_newer_answer_takes_the_place_with_a_higher_version(store: Store) -> None:
    """The last one put answers, and its version is higher even where its host's clock is not."""
    first, second = await store.job(), await store.job()
    versions = [await keep(store, own(store), job_id) for job_id in (first, second, first)]
    assert versions == sorted(set(versions))
    found = await find(store, own(store))
    assert found is not None
    assert (found.job_id, found.version) == (first, versions[-1])


@pytest.mark.parametrize(
    ("by", "left"),
    [
        ({"job": 0}, {1, 2, 3}),
        ({"team": 0, "model": MODEL}, {3}),
        ({"team": 0, "model": "another"}, {0, 1, 2, 3}),
        ({"team": 1}, {0, 1, 2}),
        ({"model": MODEL}, set()),
        ({}, set()),
    ],
)
async def test_a_purge_takes_what_it_names(store: Store, by: dict[str, int | str], left: set[int]) -> None:
    """A purge by team, model or job, or of all, takes exactly those entries and tells which they were."""
    owners = [store.owner, await store.another("others")]
    jobs = [await store.job(), await store.job(), await store.job(), await store.job(owners[1])]
    places = [Place(owners[number == 3].team_id, f"{number:064x}") for number in range(4)]
    versions = [
        await keep(store, place, job, owners[place.scope == owners[1].team_id])
        for place, job in zip(places, jobs, strict=True)
    ]
    team_id = owners[int(by["team"])].team_id if "team" in by else None
    job_id = jobs[int(by["job"])] if "job" in by else None
    model = str(by["model"]) if "model" in by else None
    async with store.database.write() as tx:
        purged = await entries.purge(tx, team_id=team_id, model=model, job_id=job_id)
    gone = [number for number in range(4) if number not in left]
    assert set(purged) == {Purged(places[number], versions[number]) for number in gone}
    assert {number for number in range(4) if await find(store, places[number]) is not None} == left


async def test_a_purge_goes_in_portions(store: Store) -> None:
    """A purge takes a bounded number at a time, until there are none left."""
    job_id = await store.job()
    for number in range(5):
        await keep(store, own(store, f"{number:064x}"), job_id)
    taken = []
    for _ in range(4):
        async with store.database.write() as tx:
            taken.append(len(await entries.purge(tx, at_most=2)))
    assert taken == [2, 2, 1, 0]


async def test_a_missing_object_takes_all_its_entries(store: Store) -> None:
    """What hands out an object that is gone is purged, whichever job and team it is of; other entries stay."""
    other = await store.another("others")
    jobs = [await store.job(pictures=2), await store.job(other), await store.job()]
    missing = f"pictures/{store.owner.team_id}/{jobs[0]}/1.png"
    async with store.database.write() as tx:
        await tx.execute(tables.images.update().where(tables.images.c.job_id == jobs[1]).values(object_key=missing))
    places = [own(store), Place(other.team_id, PRINT), own(store, "a" * 64)]
    for place, job_id, owner in zip(places, jobs, (None, other, None), strict=True):
        await keep(store, place, job_id, owner)
    async with store.database.write() as tx:
        purged = await entries.purge_object(tx, missing)
    assert {each.place for each in purged} == set(places[:2])
    assert [await find(store, place) is not None for place in places] == [False, False, True]


async def test_a_pool_entry_needs_its_owners_consent(store: Store) -> None:
    """What a team put into the pool is found there as long as it shares, and is taken out when it no longer does."""
    place, team_id = Place(POOL, PRINT), store.owner.team_id
    await keep(store, place, await store.job())
    assert await find(store, place) is None
    async with store.database.write() as tx:
        await choices.put(tx, team_id, Choices(ttl_s=60, unseeded=True, pool=True))
    assert await find(store, place) is not None
    async with store.database.write() as tx:
        await choices.put(tx, team_id, Choices(ttl_s=90))
        await choices.put(tx, team_id, Choices(ttl_s=90, pool=True))
    assert await find(store, place) is None
    async with store.database.read() as connection:
        assert await choices.of(connection, team_id) == Choices(ttl_s=90, pool=True)
        assert await choices.of(connection, (await store.another("others")).team_id) == Choices()


@pytest.mark.parametrize("ttl_s", [0, -1, 400 * 86_400])
async def test_a_life_that_is_none_is_refused(store: Store, ttl_s: int) -> None:
    """An entry lives for a second to a year, or for ever."""
    async with store.database.write() as tx:
        with pytest.raises(errors.InvalidParameter, match=r"cache\.ttlS"):
            await choices.put(tx, store.owner.team_id, Choices(ttl_s=ttl_s))


async def test_who_pins_an_answer_waits_for_its_erasure(store: Store) -> None:
    """Whoever wants to build on an answer either has it to the end, or finds it purged: never a purged one."""
    job_id = await store.job()
    await keep(store, own(store), job_id)
    erasing = asyncio.Event()

    async def erase() -> None:
        async with store.database.write() as tx:
            await tx.execute(sa.select(tables.jobs.c.id).where(tables.jobs.c.id == job_id).with_for_update())
            erasing.set()
            # The other one is asking by now; it gets its answer from after this commit.
            await asyncio.sleep(0.2)
            await entries.purge(tx, job_id=job_id)

    async def pin() -> Answer | None:
        await erasing.wait()
        async with store.database.write() as tx:
            return await entries.find_pinned(tx, own(store), NOW)

    _, found = await asyncio.gather(erase(), pin())
    assert found is None


async def test_a_pinned_answer_is_there_to_the_end(store: Store) -> None:
    """What was pinned is purged only after the transaction that pinned it."""
    job_id = await store.job()
    await keep(store, own(store), job_id)
    order: list[str] = []
    pinned = asyncio.Event()

    async def build() -> None:
        async with store.database.write() as tx:
            assert await entries.find_pinned(tx, own(store), NOW) is not None
            pinned.set()
            await asyncio.sleep(0.2)
            order.append("built")

    async def erase() -> None:
        await pinned.wait()
        async with store.database.write() as tx:
            await tx.execute(sa.select(tables.jobs.c.id).where(tables.jobs.c.id == job_id).with_for_update())
            order.append("erased")

    await asyncio.gather(build(), erase())
    assert order == ["built", "erased"]


async def test_a_look_into_the_archive_is_noted(store: Store) -> None:
    """The moment of a look is kept with the entry that was looked at, and not with a newer one."""
    job_id = await store.job()
    version = await keep(store, own(store), job_id)
    later = NOW + timedelta(minutes=5)
    async with store.database.write() as tx:
        await entries.checked(tx, own(store), version + 1, later)
        await entries.checked(tx, own(store), version, later)
    found = await find(store, own(store))
    assert found is not None
    assert found.checked_at == later
    newer = await keep(store, own(store), job_id)
    async with store.database.write() as tx:
        await entries.checked(tx, own(store), version, later)
    found = await find(store, own(store))
    assert found is not None
    assert (found.version, found.checked_at) == (newer, NOW)


async def test_two_put_at_once_leave_one(store: Store) -> None:
    """Of twenty answers put at once for one request, one stands, with the highest version."""
    jobs = [await store.job(state=State.COMPLETED) for _ in range(20)]
    versions = await asyncio.gather(*(keep(store, own(store), job_id) for job_id in jobs))
    found = await find(store, own(store))
    assert found is not None
    assert len(set(versions)) == 20
    assert found.version == max(versions)
    async with store.database.read() as connection:
        rows = (await connection.execute(sa.select(reuse_tables.cache_entries))).all()
    assert len(rows) == 1
