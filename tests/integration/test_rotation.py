"""A rotated key and its successor are one spender: one budget, one pace, one concurrency, and each other's jobs."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import timedelta

import pytest
import sqlalchemy as sa

from gateway import errors
from gateway.jobs import accept, claims, desk
from gateway.jobs.accept import Caller
from gateway.jobs.states import State
from gateway.ledger import book, budgets, entries
from gateway.ledger.book import Hold
from gateway.ledger.budgets import Budget, Window
from gateway.ledger.entries import Payer
from gateway.storage import tables
from gateway.tenancy import keys, scopes
from gateway.tenancy.keys import Key
from tests.support.rig import MODEL, Rig

CREDIT = 1_000_000
GRACE = timedelta(hours=1)
BODY = {"prompt": "a torii gate"}


async def limit(rig: Rig, credits: int, window: Window = Window.TOTAL) -> None:
    """Set the budget of the rig's key."""
    async with rig.house.database.write() as tx:
        await budgets.put(tx, Budget(rig.caller.team_id, rig.caller.key_id, window, credits * CREDIT))


async def rotated(rig: Rig, caller: Caller, grace: timedelta = GRACE) -> Caller:
    """Put a new key in the caller's key's place; who holds the new one."""
    async with rig.house.database.write() as tx:
        ring, now = rig.house.keys.api_keys, rig.house.clock.now()
        key, _ = await keys.rotate(tx, caller.team_id, caller.key_id, grace, ring, now)
    return Caller(caller.team_id, key.id)


async def colleague(rig: Rig) -> Caller:
    """Make another key of the same team, which has nothing to do with the first."""
    async with rig.house.database.write() as tx:
        ring, now = rig.house.keys.api_keys, rig.house.clock.now()
        key, _ = await keys.create(tx, rig.caller.team_id, "other", scopes.DEFAULT, ring, now)
    return Caller(rig.caller.team_id, key.id)


async def left(rig: Rig, caller: Caller) -> int | None:
    """What the caller may still spend, in credits."""
    async with rig.house.database.read() as connection:
        micros = await desk.remaining_micros(connection, caller, rig.house.clock.now())
    return None if micros is None else micros // CREDIT


async def order(rig: Rig, caller: Caller, idempotency_key: str | None = None) -> accept.Accepted:
    """Order a picture for 2 credits."""
    return await accept.accept(rig.house.counter, caller, MODEL, BODY, idempotency_key)


@pytest.mark.parametrize("window", list(Window))
@pytest.mark.parametrize("last", ["predecessor", "successor"])
async def test_the_budget_goes_on_where_it_was(rig: Rig, window: Window, last: str) -> None:
    """Of 10 credits 8 are spent, then the key is rotated: it and its successor together may spend 2 more."""
    await limit(rig, 10, window)
    for _ in range(4):
        await rig.drive(await rig.order())
    successor = await rotated(rig, rig.caller)
    assert [await left(rig, each) for each in (rig.caller, successor)] == [2, 2]
    taker = {"predecessor": rig.caller, "successor": successor}[last]
    assert (await order(rig, taker)).remaining_micros == 0
    for each in (rig.caller, successor):
        with pytest.raises(errors.BudgetExhausted, match="key's"):
            await order(rig, each)
        assert await left(rig, each) == 0
    assert (await order(rig, await colleague(rig))).job.state is State.QUEUED
    assert await rig.balance() == (4 * CREDIT, 8 * CREDIT)


async def test_a_chain_of_rotations_is_one_spender(rig: Rig) -> None:
    """However often a key is rotated, what all of its predecessors spent counts, and what they release comes back."""
    await limit(rig, 6)
    callers = [rig.caller]
    jobs = []
    for _ in range(3):
        jobs.append((await order(rig, callers[-1])).job)
        callers.append(await rotated(rig, callers[-1]))
    with pytest.raises(errors.BudgetExhausted):
        await order(rig, callers[-1])
    await desk.cancel(rig.house.counter, callers[-1], jobs[0].id, whole_team=False)
    assert (await order(rig, callers[-1])).remaining_micros == 0
    assert await rig.balance() == (6 * CREDIT, 0)


async def test_both_at_once_never_pass_the_limit(rig: Rig) -> None:
    """Of sixty orders at once by a key and its successors on a budget for ten, exactly ten are accepted."""
    await limit(rig, 20)
    second = await rotated(rig, rig.caller)
    callers = [rig.caller, second, await rotated(rig, second)]

    async def patient(number: int) -> accept.Accepted:
        # A crowd may wait too long for a lock; whoever is told so asks again under the same key.
        for _ in range(20):
            with contextlib.suppress(errors.StoreUnavailable):
                return await order(rig, callers[number % 3], str(number))
        raise AssertionError("the store never answered")

    results = await asyncio.gather(*(patient(number) for number in range(60)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, BaseException)]
    assert all(isinstance(result, errors.BudgetExhausted) for result in refused)
    assert len(results) - len(refused) == 10
    assert await rig.balance() == (20 * CREDIT, 0)
    assert await left(rig, callers[0]) == 0


async def test_holds_of_a_chain_wait_for_each_other(rig: Rig) -> None:
    """Past the look before the lock, two holds of one chain at the same moment see each other: one of them fails."""
    await limit(rig, 2)
    successor = await rotated(rig, rig.caller)
    now = rig.house.clock.now()
    both_here = asyncio.Barrier(2)

    async def hold(caller: Caller, job_id: str) -> None:
        held = Hold(Payer(caller.team_id, caller.key_id, MODEL), job_id, 1, 2 * CREDIT, entries.windows(now))
        if rig.house.database.dialect == "postgresql":
            async with rig.house.database.write() as tx:
                await tx.execute(sa.select(sa.literal(1)))
                await both_here.wait()
                await book.hold(tx, held, now)
        else:
            await both_here.wait()
            async with rig.house.database.write() as tx:
                await book.hold(tx, held, now)

    done = await asyncio.gather(hold(rig.caller, "job_a"), hold(successor, "job_b"), return_exceptions=True)
    assert sorted(type(each).__name__ for each in done) == ["BudgetExhausted", "NoneType"]
    assert await rig.balance() == (2 * CREDIT, 0)


async def test_the_copies_for_the_release_before_bind_nobody_here(rig: Rig) -> None:
    """A limit is changed for the whole chain, is listed once, and a key's own copy of an older one is not looked at."""
    await limit(rig, 2)
    successor = await rotated(rig, rig.caller)
    await limit(rig, 6)
    assert [await left(rig, each) for each in (rig.caller, successor)] == [6, 6]
    async with rig.house.database.read() as connection:
        listed = await budgets.of(connection, rig.caller.team_id)
        stands = await budgets.standing(connection, rig.caller.team_id, rig.house.clock.now())
        rows = (await connection.execute(sa.select(tables.budgets.c.key_id))).scalars().all()
    assert [(each.key_id, each.limit_micros) for each in listed] == [(rig.caller.key_id, 6 * CREDIT)]
    assert [each.budget for each in stands] == listed
    # Release 2 looks under the key's own id, and must find a limit there.
    assert sorted(rows) == sorted([rig.caller.key_id, successor.key_id])
    async with rig.house.database.write() as tx:
        assert await budgets.remove(tx, rig.caller.team_id, rig.caller.key_id, Window.TOTAL)
    for _ in range(4):
        await order(rig, successor)


async def test_jobs_are_seen_along_the_chain(rig: Rig) -> None:
    """A key that sees its own jobs alone sees those of its chain, both ways; the team's other keys see none of them."""
    old = (await order(rig, rig.caller)).job
    successor = await rotated(rig, rig.caller)
    new = (await order(rig, successor)).job
    last = await rotated(rig, successor)
    stranger = await colleague(rig)
    for caller in (rig.caller, successor, last):
        for job in (old, new):
            reading = await desk.read(rig.house.counter, caller, job.id, whole_team=False)
            assert reading.job.key_id == job.key_id
    for job in (old, new):
        with pytest.raises(errors.JobNotFound):
            await desk.read(rig.house.counter, stranger, job.id, whole_team=False)
    theirs = (await order(rig, stranger)).job
    with pytest.raises(errors.JobNotFound):
        await desk.cancel(rig.house.counter, last, theirs.id, whole_team=False)


async def test_the_concurrency_is_the_chains(rig: Rig) -> None:
    """With one job in flight for a key that may have one, neither it nor its successor sends another until it ended."""
    async with rig.house.database.write() as tx:
        await keys.limit(tx, rig.caller.team_id, rig.caller.key_id, rpm=None, concurrency=1)
    running = await rig.drive(await rig.order(), State.RUNNING)
    successor = await rotated(rig, rig.caller)
    waiting = [(await order(rig, caller)).job for caller in (rig.caller, successor)]
    assert await claims.take_queued(rig.shop, rig.house.clock.now()) is None
    theirs = (await order(rig, await colleague(rig))).job
    taken = await claims.take_queued(rig.shop, rig.house.clock.now())
    assert taken is not None
    assert taken.id == theirs.id
    await claims.give_back(rig.shop, taken)
    await desk.cancel(rig.house.counter, Caller(theirs.team_id, theirs.key_id), theirs.id, whole_team=True)
    await rig.drive(running)
    taken = await claims.take_queued(rig.shop, rig.house.clock.now())
    assert taken is not None
    assert taken.id == waiting[0].id
    assert await claims.take_queued(rig.shop, rig.house.clock.now()) is None


async def test_a_chain_is_named_by_its_first_key(rig: Rig) -> None:
    """Every key of a chain names the first one, however often it is rotated."""
    callers = [rig.caller]
    for _ in range(3):
        callers.append(await rotated(rig, callers[-1]))

    async def found() -> Sequence[Key]:
        async with rig.house.database.read() as connection:
            return [await keys.find(connection, each.team_id, each.key_id) for each in callers]

    chain = await found()
    assert {key.first for key in chain} == {rig.caller.key_id}
    assert [key.lineage for key in chain] == [None, *[rig.caller.key_id] * 3]
