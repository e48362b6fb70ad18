"""Whose job is claimed next: between teams, within a team, under limits, and at a price that still holds."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from gateway import bootstrap, ids
from gateway.jobs import attempts, booking, claims, pricing, submission, turns
from gateway.jobs.parts import Shop
from gateway.jobs.record import Job
from gateway.jobs.states import UNCHARGED, Failure, State
from gateway.storage import tables
from gateway.tenancy import keys, scopes, teams
from gateway.upstream import answers
from gateway.upstream.answers import Refusal
from tests.support.emulator import EmulatorProcess
from tests.support.rig import MODEL, Rig

CREDIT = 1_000_000


async def another_team(rig: Rig, name: str) -> tuple[str, str]:
    """A new team and its key, by their ids."""
    now = rig.house.clock.now()
    async with rig.house.database.write() as tx:
        team = await teams.create(tx, name, now)
        key, _ = await keys.create(tx, team.id, name, scopes.DEFAULT, rig.house.keys.api_keys, now)
    return team.id, key.id


async def enqueue(rig: Rig, owner: tuple[str, str], jobs: int = 1, *, credits: int = 2, **values: Any) -> list[str]:
    """Put queued jobs of a team's key into the store, each a microsecond after the other; their ids in order."""
    now = rig.house.clock.now()
    rows = [
        {
            "id": ids.job(),
            "team_id": owner[0],
            "key_id": owner[1],
            "model": MODEL,
            "model_version": "1",
            "resolution": "1 MP",
            "parameters": {},
            "state": State.QUEUED,
            "hold_micros": credits * CREDIT,
            "created_at": now + timedelta(microseconds=number - jobs),
            "due_at": now,
            "queue_deadline_at": now + timedelta(hours=1),
            **values,
        }
        for number in range(jobs)
    ]
    async with rig.house.database.write() as tx:
        await tx.execute(tables.jobs.insert(), rows)
    return [row["id"] for row in rows]


async def take(rig: Rig, shop: Shop | None = None) -> Job | None:
    """Claim the next job."""
    return await claims.take_queued(shop or rig.shop, rig.house.clock.now())


def wide(rig: Rig) -> Shop:
    """The rig's shop with slots for so many that dozens of POSTs may wait for their answers at once."""
    return replace(rig.shop, concurrency=5_000)


async def taken(rig: Rig, jobs: int) -> list[str]:
    """The teams of the next claims."""
    return [job.team_id for _ in range(jobs) if (job := await take(rig)) is not None]


async def owed(rig: Rig) -> dict[str, int]:
    """What each team owes, as the store has it."""
    async with rig.house.database.read() as connection:
        rows = await connection.execute(sa.select(tables.teams.c.id, tables.teams.c.turn_micros))
        return {row.id: row.turn_micros for row in rows}


async def is_open(rig: Rig, slots: int | None = None) -> bool:
    """Whether a look before the leap says that something can be taken, so that a token is worth spending."""
    slots = rig.shop.concurrency if slots is None else slots
    async with rig.house.database.read() as connection:
        return (await claims.outlook(connection, slots, rig.house.clock.now())).open


def own(rig: Rig) -> tuple[str, str]:
    """The rig's own team and key."""
    return rig.caller.team_id, rig.caller.key_id


async def limit(rig: Rig, table: sa.Table, owner_id: str, concurrency: int | None) -> None:
    """Set how many jobs a team or a key may have in flight."""
    async with rig.house.database.write() as tx:
        await tx.execute(table.update().where(table.c.id == owner_id).values(concurrency=concurrency))


async def test_a_batch_of_a_thousand_delays_another_team_by_one_slot(rig: Rig) -> None:
    """Behind 1,000 queued jobs of one team, another team's first job starts within one slot."""
    batch, late = own(rig), await another_team(rig, "late")
    await enqueue(rig, batch, 1000)
    assert await taken(rig, 3) == [batch[0]] * 3
    await enqueue(rig, late)
    assert late[0] in await taken(rig, 2)


async def test_the_store_keeps_what_the_rule_says(rig: Rig) -> None:
    """Teams with jobs of 1, 2 and 8 credits get equal credits, and what each owes is the rule's word after each."""
    owners = {credits: await another_team(rig, f"team{credits}") for credits in (1, 2, 8)}
    for credits, owner in owners.items():
        await enqueue(rig, owner, 30, credits=credits)
    spent: Counter[str] = Counter()
    before = await owed(rig)
    for _ in range(20):
        job = await take(rig, wide(rig))
        assert job is not None
        spent[job.team_id] += job.hold_micros
        turn = turns.Contender(job.team_id, before[job.team_id], job.hold_micros, job.id, job.created_at)
        after = await owed(rig)
        assert after == turns.debts(before, turn)
        before = after
    shares = [spent[owner[0]] for owner in owners.values()]
    assert max(shares) - min(shares) <= 8 * CREDIT


async def test_priority_orders_the_jobs_of_one_team_only(rig: Rig) -> None:
    """The higher priority goes first in its team, the older among equals; other teams do not wait for it."""
    urgent, plain = own(rig), await another_team(rig, "plain")
    last = (await rig.order(torii={"priority": -100})).id
    middle = [(await rig.order()).id for _ in range(2)]
    first = (await rig.order(torii={"priority": 100})).id
    await enqueue(rig, plain, 2)
    order: list[Job] = [job for _ in range(6) if (job := await take(rig, wide(rig))) is not None]
    assert [job.id for job in order if job.team_id == urgent[0]] == [first, *middle, last]
    assert {job.team_id for job in order[:2]} == {urgent[0], plain[0]}


async def test_a_claim_that_comes_back_unsent_gives_its_turn_back(rig: Rig) -> None:
    """After a claim was given back its team owes what it owed before."""
    await enqueue(rig, own(rig))
    job = await take(rig)
    assert job is not None
    assert (await owed(rig))[job.team_id] == 2 * CREDIT
    await claims.give_back(rig.shop, job)
    assert (await owed(rig))[job.team_id] == 0
    again = await take(rig)
    assert again is not None
    assert again.id == job.id


async def test_a_refused_job_does_not_pay_a_second_turn(rig: Rig) -> None:
    """A job that the upstream surely did not take goes again for next to nothing."""
    await rig.order()
    job = await take(rig)
    assert job is not None
    assert await attempts.open(rig.shop, job, rig.house.clock.now()) is not None
    await booking.book(rig.shop, job.id, job.attempt, answers.Refused(Refusal.NOT_SENT))
    again = await take(rig)
    assert again is not None
    assert (again.id, again.attempt) == (job.id, 2)
    assert (await owed(rig))[job.team_id] == turns.LEAST_MICROS


async def test_a_team_at_its_limit_waits_and_others_go_on(rig: Rig) -> None:
    """Jobs in flight of a team delay its next ones and refuse none; a slot that is free again is taken."""
    small, other = own(rig), await another_team(rig, "other")
    await limit(rig, tables.teams, small[0], 2)
    await enqueue(rig, small, 5)
    await enqueue(rig, other, 3)
    assert Counter(await taken(rig, 8)) == {small[0]: 2, other[0]: 3}
    assert not await is_open(rig)
    async with rig.house.database.write() as tx:
        done = sa.select(tables.jobs.c.id).where(tables.jobs.c.team_id == small[0], tables.jobs.c.claim.is_not(None))
        await tx.execute(
            tables.jobs.update()
            .where(tables.jobs.c.id.in_(done.limit(1)))
            .values(state=State.COMPLETED, claim=None, claimed_by=None)
        )
    assert await is_open(rig)
    assert await taken(rig, 2) == [small[0]]


async def test_a_key_at_its_limit_waits_and_its_team_goes_on(rig: Rig) -> None:
    """A key's limit holds its own jobs only, though they are older and of higher priority."""
    slow = own(rig)
    async with rig.house.database.write() as tx:
        key, _ = await keys.create(tx, slow[0], "quick", scopes.DEFAULT, rig.house.keys.api_keys, rig.house.clock.now())
    await limit(rig, tables.api_keys, slow[1], 1)
    await enqueue(rig, slow, 3, priority=5)
    await enqueue(rig, (slow[0], key.id), 2)
    order = [job.key_id for _ in range(5) if (job := await take(rig)) is not None]
    assert order == [slow[1], key.id, key.id]


async def test_what_is_in_flight_is_counted(rig: Rig) -> None:
    """Submitting, running and unknown jobs take a slot, but those upstream only for a quarter of an hour."""
    now = rig.house.clock.now()
    old = now - claims.SLOT_LIFE
    owner = own(rig)
    for values in (
        {"state": State.SUBMITTING, "claim": "clm_1", "claimed_by": "wrk_1"},
        {"state": State.RUNNING, "accepted_at": now},
        {"state": State.SUBMISSION_UNKNOWN, "submitted_at": now},
        {"state": State.RUNNING, "accepted_at": old},
        {"state": State.SUBMISSION_UNKNOWN, "submitted_at": old},
        {"state": State.ARCHIVING},
        {"state": State.QUEUED},
    ):
        await enqueue(rig, owner, **values)
    for concurrency in (1, 2, 3):
        await limit(rig, tables.teams, owner[0], concurrency)
        assert not await is_open(rig)
    await limit(rig, tables.teams, owner[0], 4)
    assert await is_open(rig)
    assert not await is_open(rig, slots=3)
    assert await take(rig, replace(rig.shop, concurrency=3)) is None
    assert await take(rig) is not None


async def test_two_workers_never_pass_a_limit(rig: Rig) -> None:
    """Two workers that claim at once, each with its own store, pass no limit of a team, a key or the account."""
    team, other = own(rig), await another_team(rig, "other")
    keyed = await another_team(rig, "keyed")
    await limit(rig, tables.teams, team[0], 3)
    await limit(rig, tables.api_keys, keyed[1], 2)
    for owner in (team, other, keyed):
        await enqueue(rig, owner, 20)
    # What runs already takes its slots: of eleven, six are left, and no more than five may be on their way.
    await enqueue(rig, other, 5, state=State.RUNNING, accepted_at=rig.house.clock.now())
    async with bootstrap.house(rig.house.settings) as house, bootstrap.shop(house) as second:
        for slots, most in ((11, 5), (1_400, 14)):
            shops = [replace(shop, concurrency=slots) for shop in (rig.shop, second)]
            found = await asyncio.gather(*(take(rig, shop) for shop in shops for _ in range(12)))
            jobs = [job for job in found if job is not None]
            assert len({job.id for job in jobs}) == len(jobs)
            async with rig.house.database.read() as connection:
                claimed = sa.select(tables.jobs.c.team_id).where(tables.jobs.c.claim.is_not(None))
                of = Counter((await connection.execute(claimed)).scalars())
            assert of.total() == most
            assert of[team[0]] <= 3
            assert of[keyed[0]] <= 2
    assert of == {team[0]: 3, keyed[0]: 2, other[0]: 9}


async def test_a_blocked_price_ends_queued_jobs_unpaid(rig: Rig, emulator: EmulatorProcess) -> None:
    """Queued jobs of a blocked price end as price_blocked, hold and turn given back, and the next one is sent."""
    blocked = [await rig.order() for _ in range(3)]
    sent = await rig.order(resolution="2 MP")
    async with rig.house.database.write() as tx:
        await pricing.block(tx, MODEL, "1 MP", rig.house.clock.now())
    await submission.submit(rig.shop)
    ended = [await rig.job(job.id) for job in blocked]
    assert {(job.state, job.error_code) for job in ended} == {(State.FAILED, Failure.PRICE_BLOCKED)}
    assert Failure.PRICE_BLOCKED in UNCHARGED
    assert (await rig.job(sent.id)).state is State.RUNNING
    assert emulator.books()["totals"]["submitsReceived"] == 1
    assert (await owed(rig))[sent.team_id] == 4 * CREDIT
    assert (await rig.balance())[0] == 0


async def test_a_price_that_rose_ends_the_jobs_it_no_longer_covers(rig: Rig, emulator: EmulatorProcess) -> None:
    """The last look at the price: a hold below it is not sent, one that covers it is."""
    dear = await rig.order(num_outputs=2)
    async with rig.house.database.write() as tx:
        await pricing.put(tx, rig.house.catalogue.model(MODEL), "1 MP", 3 * CREDIT)
    covered = await rig.order(num_outputs=2)
    await submission.submit(rig.shop)
    ended, running = await rig.job(dear.id), await rig.job(covered.id)
    assert (ended.state, ended.error_code) == (State.FAILED, Failure.PRICE_BLOCKED)
    assert await rig.entries(dear.id) == [(1, "hold", 4 * CREDIT), (1, "release", 4 * CREDIT)]
    assert running.state is State.RUNNING
    assert emulator.books()["totals"]["submitsReceived"] == 1
