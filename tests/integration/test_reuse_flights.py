"""Flights on both databases: one generation for all who ask at once, whatever opens, closes and leaves meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
import sqlalchemy as sa

from gateway import ids
from gateway.jobs.states import ENDED, State
from gateway.reuse import entries, flights
from gateway.reuse.entries import Keeping
from gateway.reuse.flights import FOLLOWING, NEVER, Flight
from gateway.reuse.places import POOL, Place
from gateway.reuse.succession import Follower
from gateway.storage import reuse_tables, tables
from tests.support import kept
from tests.support.kept import NOW, Owner, Store
from tests.support.rig import MODEL

PRINT = "f" * 64
UNTIL = NOW + timedelta(hours=1)
_flight = reuse_tables.flights
_job = tables.jobs


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A migrated database with one team, once on SQLite and once on PostgreSQL."""
    async with kept.store(database_url) as opened:
        yield opened


def place(store: Store) -> Place:
    """The team's place for one request."""
    return Place(store.owner.team_id, PRINT)


async def lead(store: Store, where: Place | None = None) -> str:
    """A queued job that leads an open flight; its id."""
    job_id = await store.job(state=State.QUEUED)
    async with store.database.write() as tx:
        flight = await flights.enter(tx, where or place(store), job_id, NOW)
        assert flight is not None
        assert flight.leader_job_id == job_id
    return job_id


async def follow(store: Store, age: int, owner: Owner | None = None, where: Place | None = None) -> str:
    """A job that follows in that place, the younger the higher; its id."""
    async with store.database.write() as tx:
        flight = await flights.enter(tx, where or place(store), ids.job(), NOW, may_lead=False)
        assert flight is not None
    values = flights.following(flight, UNTIL) | {"created_at": NOW + timedelta(seconds=age)}
    return await store.job(owner, State.QUEUED, **values)


async def open_flights(store: Store) -> list[sa.Row[tuple[object, ...]]]:
    """All flights that are open."""
    async with store.database.read() as connection:
        return list((await connection.execute(sa.select(_flight).where(_flight.c.closed_at.is_(None)))).all())


async def end(store: Store, job_id: str, outcome: str = "completed") -> list[Follower]:
    """End a leader and its flight as the house does, and say who followed."""
    async with store.database.write() as tx:
        await tx.execute(_job.update().where(_job.c.id == job_id).values(state=State.COMPLETED, ended_at=NOW))
        flight = await flights.led_by(tx, job_id)
        assert flight is not None
        await flights.close(tx, flight, outcome, NOW)
        line = await flights.followers(tx, job_id)
        for each in line:
            await tx.execute(_job.update().where(_job.c.id == each.job_id).values(state=State.COMPLETED, ended_at=NOW))
        return line


async def test_the_first_leads_and_the_next_follow(store: Store) -> None:
    """Who comes to an open flight is told its leader; after it closed the next one leads another."""
    first = await lead(store)
    async with store.database.write() as tx:
        joined = await flights.enter(tx, place(store), "job_second", NOW)
        assert joined is not None
        assert (joined.leader_job_id, joined.place) == (first, place(store))
    async with store.database.read() as connection:
        assert await flights.peek(connection, place(store)) == first
        assert await flights.peek(connection, Place(POOL, PRINT)) is None
    await end(store, first)
    async with store.database.read() as connection:
        assert await flights.peek(connection, place(store)) is None
    assert await lead(store) != first


async def test_who_may_not_lead_finds_a_flight_or_none(store: Store) -> None:
    """Who would only join opens nothing."""
    async with store.database.write() as tx:
        assert await flights.enter(tx, place(store), "job_a", NOW, may_lead=False) is None
    assert await open_flights(store) == []
    first = await lead(store)
    async with store.database.write() as tx:
        joined = await flights.enter(tx, place(store), "job_a", NOW, may_lead=False)
        assert joined is not None
        assert joined.leader_job_id == first


async def test_places_do_not_share_a_flight(store: Store) -> None:
    """Another scope or request has a flight of its own."""
    leaders = {
        await lead(store, where) for where in (place(store), Place(POOL, PRINT), Place(store.owner.team_id, "e" * 64))
    }
    assert len(leaders) == 3
    assert {row.leader_job_id for row in await open_flights(store)} == leaders


async def test_a_flight_whose_opener_broke_off_never_was(store: Store) -> None:
    """A transaction that does not commit leaves no flight, and one that found its answer takes the flight back."""

    async def broken() -> None:
        async with store.database.write() as tx:
            await flights.enter(tx, place(store), "job_a", NOW)
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError):
        await broken()
    assert await open_flights(store) == []
    async with store.database.write() as tx:
        flight = await flights.enter(tx, place(store), "job_a", NOW)
        assert flight is not None
        await flights.withdraw(tx, flight)
    assert await open_flights(store) == []
    await lead(store)


async def test_a_second_open_flight_is_no_row(store: Store) -> None:
    """The store itself refuses a second open flight for one request, and takes any number of closed ones."""
    await end(store, await lead(store))
    await end(store, await lead(store))
    await lead(store)
    values = {"id": "flt_x", "scope": store.owner.team_id, "fingerprint": PRINT, "leader_job_id": "x", "opened_at": NOW}
    with pytest.raises(sa.exc.IntegrityError):
        async with store.database.write() as tx:
            await tx.execute(_flight.insert().values(values))
    async with store.database.write() as tx:
        await tx.execute(_flight.insert().values(values | {"closed_at": NOW}))
    assert len(await open_flights(store)) == 1


async def test_followers_end_with_their_leader_oldest_first(store: Store) -> None:
    """A leader's end finds all who follow it, of any team and key, in the order in which they came."""
    leader = await lead(store)
    other = await store.another("others")
    key_id = await store.key(store.owner.team_id)
    late = await follow(store, 9)
    early = await follow(store, 1, Owner(store.owner.team_id, key_id))
    middle = await follow(store, 5, other)
    line = await end(store, leader)
    assert [each.job_id for each in line] == [early, middle, late]
    assert [(each.team_id, each.chain) for each in line] == [
        (store.owner.team_id, key_id),
        (other.team_id, other.key_id),
        (store.owner.team_id, store.owner.key_id),
    ]
    async with store.database.write() as tx:
        assert await flights.followers(tx, leader) == []
        assert await flights.led_by(tx, leader) is None


async def test_a_follower_is_nobodys_to_take(store: Store) -> None:
    """A follower's row is claimed by no worker since no moment, so that no release claims it, frees it or ends it."""
    leader = await lead(store)
    row = await store.row(await follow(store, 1))
    assert (row.state, row.follows, row.claim) == (State.QUEUED, leader, FOLLOWING)
    assert (row.claimed_by, row.claimed_at) == (None, None)
    assert (row.queue_deadline_at, row.follows_until) == (NEVER, UNTIL)
    assert (row.hold_micros, row.cost_micros) == (0, 0)


async def test_a_follower_may_leave(store: Store) -> None:
    """Who leaves follows nobody; who has ended, or leads by now, cannot, and is to be read again."""
    leader = await lead(store)
    leaving, staying = await follow(store, 1), await follow(store, 2)
    async with store.database.write() as tx:
        assert await flights.leave(tx, leaving)
        assert not await flights.leave(tx, leaving)
        assert not await flights.leave(tx, leader)
        await tx.execute(_job.update().where(_job.c.id == leaving).values(state=State.CANCELLED, ended_at=NOW))
    row = await store.row(leaving)
    assert (row.follows, row.claim) == (None, None)
    assert [each.job_id for each in await end(store, leader)] == [staying]
    async with store.database.write() as tx:
        assert not await flights.leave(tx, staying)


async def test_an_heir_leads_as_any_queued_job(store: Store) -> None:
    """Who is promoted can be claimed, has its own deadline and the hold it was given, and the others follow it."""
    leader = await lead(store)
    heir, other = await follow(store, 1), await follow(store, 2)
    async with store.database.write() as tx:
        await tx.execute(_job.update().where(_job.c.id == leader).values(version=7, ended_at=NOW))
        flight = await flights.led_by(tx, leader)
        assert flight is not None
        promoted = await flights.promote(tx, flight, heir, 3_000_000, NOW)
        assert promoted == Flight(flight.id, flight.place, heir, NOW)
    row = await store.row(heir)
    assert (row.state, row.follows, row.claim, row.queue_deadline_at) == (State.QUEUED, None, None, UNTIL)
    assert (row.hold_micros, row.cost_micros, row.due_at) == (3_000_000, None, NOW)
    assert row.version == 9
    assert (await store.row(other)).follows == heir
    (flight_row,) = await open_flights(store)
    assert flight_row.leader_job_id == heir
    async with store.database.write() as tx:
        assert await flights.led_by(tx, leader) is None
    assert [each.job_id for each in await end(store, heir)] == [other]


async def test_a_leader_that_ended_unknown_to_flights_is_found(store: Store) -> None:
    """A leader that the release before this one ended is found by its open flight, and no living one is."""
    await lead(store, Place(POOL, PRINT))
    stranded = await lead(store)
    async with store.database.write() as tx:
        await tx.execute(_job.update().where(_job.c.id == stranded).values(state=State.FAILED, ended_at=NOW))
    async with store.database.read() as connection:
        assert await flights.stranded(connection, sorted(ENDED)) == [stranded]


async def test_old_flights_are_forgotten(store: Store) -> None:
    """A flight that closed a week ago is deleted, one that is open never."""
    await end(store, await lead(store))
    await lead(store)
    async with store.database.write() as tx:
        assert await flights.forget_old(tx, NOW + flights.REMEMBER) == 0
        assert await flights.forget_old(tx, NOW + flights.REMEMBER + timedelta(seconds=1)) == 1
    assert len(await open_flights(store)) == 1


@dataclass
class Seen:
    """What became of many who asked for the same at once."""

    led: int = 0
    followed: int = 0
    cached: int = 0


async def ask(store: Store, seen: Seen) -> str | None:
    """Ask as the house does: the cache, then the flight, then the cache again for who leads; a leader's id."""
    job_id = ids.job()
    async with store.database.write() as tx:
        if await entries.find(tx, place(store), NOW) is not None:
            seen.cached += 1
            return None
        flight = await flights.enter(tx, place(store), job_id, NOW)
        assert flight is not None
        if flight.leader_job_id == job_id and await entries.find(tx, place(store), NOW) is not None:
            await flights.withdraw(tx, flight)
            seen.cached += 1
            return None
        values = {} if flight.leader_job_id == job_id else flights.following(flight, UNTIL)
        await tx.execute(
            _job.insert().values(
                {
                    "id": job_id,
                    "team_id": store.owner.team_id,
                    "key_id": store.owner.key_id,
                    "model": MODEL,
                    "model_version": "1",
                    "parameters": {},
                    "state": State.QUEUED,
                    "hold_micros": 1,
                    "created_at": NOW,
                    "queue_deadline_at": UNTIL,
                    "due_at": NOW,
                }
                | values
            )
        )
    if values:
        seen.followed += 1
        return None
    seen.led += 1
    return job_id


async def finish(store: Store, job_id: str) -> None:
    """Complete a leader as the house does: its job, its pictures, its entry, its flight and who follows, at once."""
    async with store.database.write() as tx:
        await tx.execute(sa.select(_job.c.id).where(_job.c.id == job_id).with_for_update())
        await tx.execute(_job.update().where(_job.c.id == job_id).values(state=State.COMPLETED, ended_at=NOW))
        await tx.execute(tables.images.insert().values(kept.picture(store.owner.team_id, job_id, 0)))
        flight = await flights.led_by(tx, job_id)
        assert flight is not None
        await entries.put(tx, flight.place, Keeping(store.owner.team_id, MODEL, job_id, 1), NOW)
        await flights.close(tx, flight, State.COMPLETED, NOW)
        for each in await flights.followers(tx, job_id):
            await tx.execute(_job.update().where(_job.c.id == each.job_id).values(state=State.COMPLETED, ended_at=NOW))


async def test_fifty_at_once_pay_once(store: Store) -> None:
    """While the flight closes under them, each of fifty follows, sees the cache or leads; one leads, ever."""
    seen, closing, closed = Seen(), asyncio.Event(), asyncio.Event()

    async def caller(starts: asyncio.Event | None) -> None:
        if starts is not None:
            await starts.wait()
        leader = await ask(store, seen)
        if leader is not None:
            closing.set()
            await finish(store, leader)
            closed.set()

    # Some come with the leader, most while it ends, and some when it has.
    await asyncio.gather(*(caller(starts) for starts in [None] * 15 + [closing] * 25 + [closed] * 10))
    assert (seen.led, seen.followed + seen.cached) == (1, 49)
    assert seen.cached >= 10
    assert await open_flights(store) == []
    async with store.database.read() as connection:
        left = await connection.execute(sa.select(_job.c.id).where(_job.c.state == State.QUEUED))
        assert left.all() == []


async def test_fifty_at_once_open_one_flight(store: Store) -> None:
    """Of fifty who find nothing, one leads and forty-nine follow it."""
    seen = Seen()
    leaders = [each for each in await asyncio.gather(*(ask(store, seen) for _ in range(50))) if each is not None]
    assert (seen.led, seen.followed, seen.cached) == (1, 49, 0)
    (row,) = await open_flights(store)
    assert [row.leader_job_id] == leaders


async def depose(store: Store, leader: str) -> None:
    """Take a leader back as the house does: the oldest follower leads, or the flight is over."""
    async with store.database.write() as tx:
        await tx.execute(sa.select(_job.c.id).where(_job.c.id == leader).with_for_update())
        flight = await flights.led_by(tx, leader)
        if flight is None:
            return
        await tx.execute(_job.update().where(_job.c.id == leader).values(state=State.CANCELLED, ended_at=NOW))
        line = await flights.followers(tx, leader)
        if line:
            await flights.promote(tx, flight, line[0].job_id, 1, NOW)
        else:
            await flights.close(tx, flight, State.CANCELLED, NOW)


async def desert(store: Store) -> None:
    """Take the two youngest followers back."""
    async with store.database.read() as connection:
        found = await connection.execute(sa.select(_job.c.id).where(_job.c.follows.is_not(None)))
        ids_of_followers = found.scalars().all()
    for job_id in ids_of_followers[-2:]:
        async with store.database.write() as tx:
            if await flights.leave(tx, job_id):
                ended = {"state": State.CANCELLED, "ended_at": NOW}
                await tx.execute(_job.update().where(_job.c.id == job_id).values(ended))


async def test_joiners_leaders_and_followers_never_lock_each_other_up(store: Store) -> None:
    """Joins, leaders that leave and followers that leave at the same time all come to their end, and none is lost."""
    rounds = 25

    async def join() -> None:
        for _ in range(rounds):
            await ask(store, Seen())

    async def succeed() -> None:
        for _ in range(rounds):
            for row in await open_flights(store):
                await depose(store, str(row.leader_job_id))

    async def leave() -> None:
        for _ in range(rounds):
            await desert(store)

    # A deadlock would be broken by the store after some seconds, as StoreUnavailable.
    await asyncio.gather(join(), join(), succeed(), succeed(), leave(), leave())
    rows = await open_flights(store)
    async with store.database.read() as connection:
        living = (await connection.execute(sa.select(_job).where(_job.c.ended_at.is_(None)))).all()
    leaders = [row.id for row in living if row.follows is None]
    assert leaders == [row.leader_job_id for row in rows]
    assert {row.follows for row in living if row.follows is not None} <= set(leaders)
