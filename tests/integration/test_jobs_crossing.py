"""Orders that come in one moment are written in one transaction, each with an end of its own, on both databases."""

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from arq.constants import job_key_prefix

from gateway import errors
from gateway.images import parameters
from gateway.jobs import accept, crossing, draft, gate, lookup, orders, queue
from gateway.jobs.accept import Accepted
from gateway.ledger import budgets, proof
from gateway.ledger.budgets import Budget, Window
from gateway.storage import keyspace, tables
from gateway.tenancy import keys
from tests.support.rig import MODEL, Rig

CREDIT = 1_000_000
#: What an order of one picture of 1 MP holds.
HOLD = 2 * CREDIT


async def ordered(rig: Rig, key: str | None = None, **body: Any) -> Accepted:
    """An order that shares nothing."""
    return await accept.accept(rig.house.counter, rig.caller, MODEL, {"prompt": "a torii gate", **body}, key)


async def all_ordered(rig: Rig, *bodies: dict[str, Any]) -> list[Accepted | BaseException]:
    """Orders that come in one moment."""
    return await asyncio.gather(*(ordered(rig, **body) for body in bodies), return_exceptions=True)


async def limit(rig: Rig, micros: int, *, key: bool = False, window: Window = Window.TOTAL) -> None:
    """Give the team, or its key, a budget."""
    async with rig.house.database.write() as tx:
        await budgets.put(tx, Budget(rig.caller.team_id, rig.caller.key_id if key else "", window, micros))


def spelled(ends: list[Accepted | BaseException]) -> list[str]:
    """Ends as names."""
    return ["accepted" if isinstance(end, Accepted) else type(end).__name__ for end in ends]


async def agrees(rig: Rig) -> None:
    """Hold the sums against the entries."""
    async with rig.house.database.read() as connection:
        assert not await proof.differences(connection)


async def test_what_is_told_of_a_new_job_is_what_the_store_has(rig: Rig) -> None:
    """The job that an order gives is made without reading it again, and is the row to the last column."""
    body: dict[str, Any] = {
        "torii": {"metadata": {"note": "käse \U0001f9c0", "none": None}, "priority": 3, "startWithinS": 60},
        "prompt": 'quotes " and { braces }, and \\ too',
        "seed": 5,
        "webhook_url": "https://example.com/hook",
    }
    for done in (await ordered(rig, **body), await ordered(rig)):
        async with rig.house.database.read() as connection:
            assert await lookup.find(connection, rig.caller.team_id, done.job.id) == done.job
            row = (await connection.execute(sa.select(tables.jobs).where(tables.jobs.c.id == done.job.id))).one()
        assert row.results is None


async def test_of_a_crowd_as_many_come_in_as_the_budget_allows(rig: Rig) -> None:
    """Of a hundred orders at once exactly those that fit are accepted, and each is told what was left after it."""
    await limit(rig, 25 * HOLD)
    ends = await all_ordered(rig, *({} for _ in range(100)))
    taken = [end for end in ends if isinstance(end, Accepted)]
    assert sorted(end.remaining_micros or 0 for end in taken) == [number * HOLD for number in range(25)]
    assert spelled(ends).count("BudgetExhausted") == 75
    assert await rig.balance() == (25 * HOLD, 0)
    await agrees(rig)


async def test_who_fits_comes_in_though_others_do_not(rig: Rig) -> None:
    """A dear order that does not fit takes nothing from a cheap one beside it."""
    await limit(rig, 3 * HOLD)
    ends = await all_ordered(rig, {"num_outputs": 2}, {"num_outputs": 2}, {"num_outputs": 1})
    assert spelled(ends) == ["accepted", "BudgetExhausted", "accepted"]
    assert await rig.balance() == (3 * HOLD, 0)


async def test_the_budget_of_a_key_counts_its_whole_chain(rig: Rig) -> None:
    """What a rotated key holds is held against its successor, in a crossing too."""
    await limit(rig, 4 * HOLD, key=True, window=Window.MONTH)
    assert spelled(await all_ordered(rig, {}, {})) == ["accepted"] * 2
    house, now = rig.house, rig.house.clock.now()
    async with house.database.write() as tx:
        made, _ = await keys.rotate(tx, rig.caller.team_id, rig.caller.key_id, keys.GRACE_MAX, house.keys.api_keys, now)
    later = replace(rig, caller=replace(rig.caller, key_id=made.id))
    both = await asyncio.gather(all_ordered(rig, *({} for _ in range(5))), all_ordered(later, *({} for _ in range(5))))
    assert spelled([*both[0], *both[1]]).count("accepted") == 2
    await agrees(rig)


async def test_the_line_is_as_long_as_it_may_be(rig: Rig) -> None:
    """Of a crowd no more come in than may wait; the others are told to try again."""
    async with rig.house.database.write() as tx:
        await tx.execute(tables.teams.update().values(queue_depth=7))
    ends = await all_ordered(rig, *({} for _ in range(20)))
    assert (spelled(ends).count("accepted"), spelled(ends).count("RateLimited")) == (7, 13)


async def test_a_key_that_is_taken_costs_nobody_else_the_crossing(rig: Rig) -> None:
    """Of orders under one ``Idempotency-Key`` in one crossing one is made; those beside them are made too."""
    ends = await all_ordered(rig, {"key": "k"}, {"prompt": "another"}, {"key": "k"}, {"key": "other"})
    made = {end.job.id for end in ends if isinstance(end, Accepted)}
    assert len(made) == 3
    assert isinstance(ends[1], Accepted)
    assert isinstance(ends[3], Accepted)
    assert await rig.balance() == (3 * HOLD, 0)
    again = await ordered(rig, "k")
    assert again.replayed
    assert again.job.id in made
    await agrees(rig)


async def test_a_price_that_is_missing_refuses_its_own_size_alone(rig: Rig) -> None:
    """What waits for its price is refused; other sizes cross as before."""
    async with rig.house.database.write() as tx:
        row = {"model": MODEL, "resolution": "1 MP", "micros": None, "blocked_at": rig.house.clock.now()}
        await tx.execute(tables.prices.insert().values(row))
    ends = await all_ordered(rig, {}, {"resolution": "2 MP"}, {})
    assert spelled(ends) == ["PriceBlocked", "accepted", "PriceBlocked"]


async def test_a_drained_team_is_told_so(rig: Rig) -> None:
    """A team that takes no new orders has none of a crossing made."""
    async with rig.house.database.write() as tx:
        await tx.execute(tables.teams.update().values(drained_at=rig.house.clock.now()))
    assert spelled(await all_ordered(rig, {}, {}, {})) == ["TeamDrained"] * 3
    assert await rig.balance() == (0, 0)


async def test_what_cannot_be_stored_is_refused_alone(rig: Rig) -> None:
    """An order that the store refuses undoes its crossing, and those beside it cross by themselves."""
    counter, too_long = rig.house.counter, "x" * 56
    assert counter.ferry is not None
    made = [draft_of(rig), draft_of(rig, too_long), draft_of(rig)]
    ends = await asyncio.gather(
        *(crossing.carry(counter.ferry, counter, each) for each in made), return_exceptions=True
    )
    # SQLite knows no length of a text.
    fits = rig.house.database.dialect == "sqlite"
    assert [isinstance(end, Accepted) for end in ends] == [True, fits, True]
    await agrees(rig)


@pytest.mark.parametrize("seed", range(6))
async def test_no_crowd_passes_its_budget_and_none_is_refused_that_fits_alone(rig: Rig, seed: int) -> None:
    """Whatever a crowd asks, what is held is within the limit, and who was refused would not fit at the end."""
    chance = random.Random(seed)  # noqa: S311  no secret: the same crowd each time
    amounts, room = [chance.randint(1, 4) for _ in range(12)], chance.randint(0, 20)
    await limit(rig, room * HOLD)
    ends = await all_ordered(rig, *({"num_outputs": amount} for amount in amounts))
    taken = sum(amount for amount, end in zip(amounts, ends, strict=True) if isinstance(end, Accepted))
    refused = [amount for amount, end in zip(amounts, ends, strict=True) if not isinstance(end, Accepted)]
    assert all(isinstance(end, Accepted | errors.BudgetExhausted) for end in ends)
    assert taken <= room
    assert all(amount > room - taken for amount in refused)


async def test_a_nudge_is_what_arq_itself_would_send(rig: Rig) -> None:
    """One round trip leaves in Redis what arq's three do: the same message, place in the queue and life; once an id."""
    house = rig.house
    redis, own = house.redis, queue.open(house.redis)
    await own.submit(hint="a")
    await house.queue.submit(hint="b")
    await house.queue.submit(hint="b")
    names = [f"{keyspace.PREFIX}submit:{hint}" for hint in "ab"]
    by_arq, by_us = [queue.decode(await redis.get(job_key_prefix + name)) for name in names]
    assert abs(by_arq.pop("et") - by_us.pop("et")) < 60_000
    assert by_arq == by_us
    lives = [await redis.pttl(job_key_prefix + name) for name in names]
    assert abs(lives[0] - lives[1]) < 60_000
    scores = [await redis.zscore(keyspace.QUEUE, name) for name in names]
    assert abs(scores[0] - scores[1]) < 60_000
    assert await redis.zcard(keyspace.QUEUE) == 2


def draft_of(rig: Rig, trace_parent: str | None = None) -> draft.Draft:
    """An order as it is before it is written."""
    model = rig.house.catalogue.model(MODEL)
    order = orders.read({"prompt": "a torii gate"})
    admitted = gate.Admitted(parameters.canonical(model, order.parameters))
    return draft.Draft(rig.caller, model, gate.Anyone(), admitted, order, draft.ANEW, None, None, trace_parent)
