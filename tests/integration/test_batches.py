"""Batches: accepted as a whole or not at all, worked off a few at a time, taken back, and told of once."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from gateway import errors
from gateway.jobs import batch_body, batch_sweep, batches, batching, claims, erasing, gate
from gateway.jobs.batches import Batch
from gateway.jobs.batching import Made
from gateway.jobs.draft import Caller
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.ledger import budgets
from gateway.ledger.budgets import Budget, Window
from gateway.storage import batch_tables, outbox, reuse_tables, tables
from gateway.tenancy import teams
from tests.support import crowd
from tests.support.emulator import EmulatorProcess
from tests.support.rig import MODEL, Rig

CREDIT = 1_000_000
HOOK = "https://hooks.example/batches"


async def make(
    rig: Rig, *items: Mapping[str, Any], caller: Caller | None = None, key: str | None = None, **more: object
) -> Made:
    """A batch of those items, as the front door would have it made."""
    who = caller or rig.caller
    header = str(more.pop("header", ""))
    body = {"model": MODEL, "items": [dict(item) for item in items], **more}
    return await batching.make(rig.house.counter, who, body, key, gate.Anyone(), crowd.wish(who, header))


async def jobs(rig: Rig, batch: Batch) -> list[Job]:
    """The batch's jobs in their order."""
    async with rig.house.database.read() as connection:
        return [job for job, _ in (await batches.items(connection, batch, 1000, 0))[0]]


async def now(rig: Rig, batch: Batch) -> Batch:
    """The batch as it is."""
    async with rig.house.database.read() as connection:
        return await batches.any_team(connection, batch.id)


async def told(rig: Rig) -> Sequence[sa.Row[Any]]:
    """The messages about batches."""
    return [row for row in await crowd.rows(rig, outbox.deliveries) if row.batch_id is not None]


def prompts(count: int) -> list[dict[str, Any]]:
    """So many orders, each another one."""
    return [{"prompt": f"torii gate {number}"} for number in range(count)]


async def test_a_batch_is_carried_out_and_told_of_once(rig: Rig, emulator: EmulatorProcess) -> None:
    """All items become jobs with holds of their own; when the last one has ended, one message says so."""
    async with rig.house.database.write() as tx:
        await teams.set_webhook(tx, rig.caller.team_id, "https://hooks.example/team")
    made = await make(rig, *prompts(3), webhook_url=HOOK, torii={"metadata": {"of": "ours"}})
    assert (made.batch.items, made.batch.details, made.batch.finished_at) == (3, {"of": "ours"}, None)
    assert await rig.balance() == (6 * CREDIT, 0)
    for job in await jobs(rig, made.batch):
        assert await rig.entries(job.id) == [(1, "hold", 2 * CREDIT)]
        await batch_sweep.finish(rig.shop)
        assert (await now(rig, made.batch)).finished_at is None
        await rig.drive(job)
    assert [job.parameters["prompt"] for job in await jobs(rig, made.batch)] == [each["prompt"] for each in prompts(3)]
    await asyncio.gather(*(batch_sweep.finish(rig.shop) for _ in range(3)))
    assert (await now(rig, made.batch)).finished_at is not None
    (message,) = await crowd.rows(rig, outbox.deliveries)
    assert (message.type, message.batch_id, message.url) == ("batch.finished", made.batch.id, HOOK)
    await batch_sweep.finish(rig.shop)
    assert len(await told(rig)) == 1
    assert await rig.balance() == (0, 6 * CREDIT)
    assert emulator.books()["totals"]["submitsReceived"] == 3


async def test_all_or_none(rig: Rig) -> None:
    """A budget that covers all but one item, a full queue, or a drained team leaves nothing behind."""
    async with rig.house.database.write() as tx:
        await budgets.put(tx, Budget(rig.caller.team_id, "", Window.MONTH, 5 * CREDIT))
    with pytest.raises(errors.BudgetExhausted):
        await make(rig, *prompts(3))
    async with rig.house.database.write() as tx:
        await budgets.put(tx, Budget(rig.caller.team_id, "", Window.MONTH, 6 * CREDIT))
        await teams.limit(tx, rig.caller.team_id, {"queue_depth": 2})
    with pytest.raises(errors.RateLimited):
        await make(rig, *prompts(3))
    for table in (tables.jobs, batch_tables.batches, tables.ledger_entries, tables.balances):
        assert await crowd.rows(rig, table) == []
    async with rig.house.database.write() as tx:
        await teams.limit(tx, rig.caller.team_id, {"queue_depth": 3})
    assert (await make(rig, *prompts(3))).remaining_micros == 0
    async with rig.house.database.write() as tx:
        await teams.drain(tx, rig.caller.team_id, rig.house.clock.now())
    with pytest.raises(errors.TeamDrained):
        await make(rig, *prompts(1))


async def test_batches_and_orders_share_a_budget(rig: Rig) -> None:
    """Many at once, batches and single orders, never hold more than the budget has."""
    async with rig.house.database.write() as tx:
        await budgets.put(tx, Budget(rig.caller.team_id, "", Window.MONTH, 20 * CREDIT))

    async def one(number: int) -> int:
        try:
            if number % 2:
                return (await make(rig, *prompts(3))).batch.items
            await rig.order()
        except errors.BudgetExhausted:
            return 0
        return 1

    taken = sum(await asyncio.gather(*(one(number) for number in range(12))))
    assert await rig.balance() == (taken * 2 * CREDIT, 0)
    assert 8 <= taken <= 10
    assert len(await crowd.rows(rig, tables.jobs)) == taken


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"items": [{"prompt": "a"}, {"prompt": "b", "seed": "x"}]}, "items[1].seed"),
        ({"items": [{"prompt": "a"}, {}]}, "items[1].prompt"),
        ({"items": [{"prompt": "a", "colour": "red"}]}, "items[0].colour"),
        ({"items": [{"prompt": "a", "torii": {"priority": 1000}}]}, "items[0].torii.priority"),
        ({"items": [{"prompt": "a", "model": "none"}]}, "items[0]"),
        ({"items": [{"prompt": "a", "seed": 1}, {"prompt": "b"}, {"seed": 1, "prompt": "a"}]}, "items[2]"),
        ({"items": []}, "items"),
        ({"items": "all"}, "items"),
        ({"items": ["a"]}, "items[0]"),
        ({"items": [{"prompt": "a"}] * (batch_body.MOST_ITEMS + 1)}, "items"),
        ({}, "items"),
        ({"items": [{"prompt": "a"}], "concurrency": 0}, "concurrency"),
        ({"items": [{"prompt": "a"}], "concurrency": True}, "concurrency"),
        ({"items": [{"prompt": "a"}], "model": 1}, "model"),
        ({"items": [{"prompt": "a"}], "colour": "red"}, "colour"),
        ({"items": [{"prompt": "a"}], "torii": {"colour": 1}}, "torii.colour"),
        ({"items": [{"prompt": "a"}], "webhook_url": "nowhere"}, "webhook_url"),
    ],
)
async def test_what_is_wrong_is_named_by_its_place(rig: Rig, body: dict[str, Any], param: str) -> None:
    """An item's mistake names the item and its field; nothing is made."""
    asked = {"model": MODEL, **body}
    with pytest.raises(errors.ToriiError) as refused:
        await batching.make(rig.house.counter, rig.caller, asked, None, gate.Anyone(), crowd.wish(rig.caller))
    found = refused.value.param or ""
    assert found == param or (param == "items[0]" and found.startswith("items[0]"))
    assert await crowd.rows(rig, tables.jobs) == []


async def test_a_batch_leaves_room_for_others(rig: Rig) -> None:
    """No more of its jobs are in flight than it may have; its team's other orders, and other teams', go past it."""
    made = await make(rig, *prompts(5), concurrency=2)
    single = await rig.order()
    other = (await crowd.ask(rig, await crowd.team(rig, "others"))).job
    taken = []
    while (job := await claims.take_queued(rig.shop, rig.house.clock.now())) is not None:
        taken.append(job)
    assert sorted(job.id for job in taken if job.batch_id is None) == sorted([single.id, other.id])
    of_batch = [job for job in taken if job.batch_id == made.batch.id]
    assert [job.batch_index for job in of_batch] == [0, 1]
    await claims.give_back(rig.shop, of_batch[0])
    again = await claims.take_queued(rig.shop, rig.house.clock.now())
    assert again is not None
    assert again.batch_index == 0
    assert await claims.take_queued(rig.shop, rig.house.clock.now()) is None


async def test_what_waits_is_taken_back(rig: Rig) -> None:
    """Cancelling gives back the holds of what waits; what was sent goes on, and the batch finishes with it."""
    made = await make(rig, *prompts(4), concurrency=1, webhook_url=HOOK)
    first = (await jobs(rig, made.batch))[0]
    sent = await rig.drive(first, State.RUNNING)
    house, team_id = rig.house, rig.caller.team_id
    after = await batches.cancel(house.database, house.clock, team_id, made.batch.id, None)
    assert (after.cancelled_at is None, after.finished_at) == (False, None)
    assert [job.state for job in await jobs(rig, made.batch)] == [State.RUNNING, *[State.CANCELLED] * 3]
    assert await rig.balance() == (0, 2 * CREDIT)
    again = await batches.cancel(house.database, house.clock, team_id, made.batch.id, None)
    assert again.cancelled_at == after.cancelled_at
    await rig.drive(sent)
    await batch_sweep.finish(rig.shop)
    assert (await now(rig, made.batch)).finished_at is not None
    assert [row.type for row in await crowd.rows(rig, outbox.deliveries)] == ["batch.finished"]
    done = await make(rig, *prompts(1))
    await rig.drive((await jobs(rig, done.batch))[0])
    await batch_sweep.finish(rig.shop)
    with pytest.raises(errors.Conflict):
        await batches.cancel(house.database, house.clock, team_id, done.batch.id, None)


async def test_a_cancel_that_broke_off_is_carried_on(rig: Rig) -> None:
    """Once the mark is committed nothing more is claimed, and a sweep takes back what whoever cancelled did not."""
    made = await make(rig, *prompts(3))
    async with rig.house.database.write() as tx:
        await tx.execute(batch_tables.batches.update().values(cancelled_at=rig.house.clock.now()))
    assert await claims.take_queued(rig.shop, rig.house.clock.now()) is None
    await batch_sweep.finish(rig.shop)
    assert {job.state for job in await jobs(rig, made.batch)} == {State.CANCELLED}
    assert (await now(rig, made.batch)).finished_at is not None
    assert await rig.balance() == (0, 0)


async def test_an_end_that_nobody_saw_is_found(rig: Rig) -> None:
    """A batch whose last jobs were ended by a release that knows of no batches is finished all the same."""
    made = await make(rig, *prompts(2))
    async with rig.house.database.write() as tx:
        await tx.execute(tables.jobs.update().values(state=State.FAILED, ended_at=rig.house.clock.now()))
    await batch_sweep.finish(rig.shop)
    assert (await now(rig, made.batch)).finished_at is not None
    assert await told(rig) == []


async def test_what_was_made_before_costs_nothing(rig: Rig, emulator: EmulatorProcess) -> None:
    """Items in the cache are complete at once with pictures of their own, and so is a batch of nothing else."""
    first = (await crowd.ask(rig)).job
    await rig.drive(first)
    mixed = await make(rig, crowd.BODY, {"prompt": "another", "seed": 8}, webhook_url=HOOK)
    hit, miss = await jobs(rig, mixed.batch)
    assert (hit.state, hit.cost_micros, hit.reused_from, miss.state) == (State.COMPLETED, 0, first.id, State.QUEUED)
    (original,), (copied,) = await crowd.pictures(rig, first), await crowd.pictures(rig, hit)
    assert (copied.object_key, copied.id == original.id) == (original.object_key, False)
    assert await rig.entries(hit.id) == []
    await rig.drive(miss)
    assert (await crowd.ask(rig, body={"prompt": "another", "seed": 8})).job.id == miss.id
    whole = await make(rig, crowd.BODY, {"prompt": "another", "seed": 8}, webhook_url=HOOK)
    assert whole.batch.finished_at is not None
    await batch_sweep.finish(rig.shop)
    assert {row.batch_id for row in await told(rig)} == {mixed.batch.id, whole.batch.id}
    assert emulator.books()["totals"]["submitsReceived"] == 2
    (saved,) = await crowd.rows(rig, reuse_tables.savings)
    assert (saved.hits, saved.saved_micros) == (3, 6 * CREDIT)
    with pytest.raises(errors.NotCached):
        await make(rig, crowd.BODY, {"prompt": "a third", "seed": 9}, header="only-if-cached")
    anew = await make(rig, crowd.BODY, header="no-cache")
    assert (await jobs(rig, anew.batch))[0].state is State.QUEUED


async def test_a_repeated_batch_is_the_same_batch(rig: Rig) -> None:
    """The same key and body give the first one's batch, at once and many times; another body is refused."""
    got = await asyncio.gather(*(make(rig, *prompts(3), key="once") for _ in range(4)), return_exceptions=True)
    made = [each for each in got if isinstance(each, Made)]
    assert all(isinstance(each, Made | errors.RequestInFlight) for each in got)
    assert len({each.batch.id for each in made}) == 1
    again = await make(rig, *prompts(3), key="once")
    assert (again.replayed, again.batch.id) == (True, made[0].batch.id)
    assert await rig.balance() == (6 * CREDIT, 0)
    with pytest.raises(errors.KeyReused):
        await make(rig, *prompts(2), key="once")


async def test_jobs_of_a_batch_wait_longer(rig: Rig) -> None:
    """They wait for as long as any job may, unless the batch or the item says otherwise."""
    made = await make(rig, {"prompt": "a"}, {"prompt": "b", "torii": {"startWithinS": 60}})
    waits = [job.queue_deadline_at - job.due_at for job in await jobs(rig, made.batch)]
    assert waits == [timedelta(hours=24), timedelta(seconds=60)]
    hurried = await make(rig, {"prompt": "a"}, torii={"startWithinS": 90, "priority": 5})
    (job,) = await jobs(rig, hurried.batch)
    assert (job.queue_deadline_at - job.created_at, job.priority) == (timedelta(seconds=90), 5)


async def test_another_teams_batch_is_not_there(rig: Rig) -> None:
    """Neither another team nor another key without `read` finds it, to read it or to take it back."""
    made = await make(rig, *prompts(1))
    other, colleague = await crowd.team(rig, "others"), await crowd.colleague(rig)
    house = rig.house
    for team_id, key_id in ((other.team_id, None), (rig.caller.team_id, colleague.key_id)):
        async with house.database.read() as connection:
            with pytest.raises(errors.BatchNotFound):
                await batches.find(connection, team_id, made.batch.id, key_id)
        with pytest.raises(errors.BatchNotFound):
            await batches.cancel(house.database, house.clock, team_id, made.batch.id, key_id)
    assert (await jobs(rig, made.batch))[0].state is State.QUEUED


async def test_a_job_of_a_batch_can_be_erased(rig: Rig) -> None:
    """It is taken back and erased like any other, and the batch goes on without it."""
    made = await make(rig, *prompts(2))
    first, second = await jobs(rig, made.batch)
    await erasing.erase(rig.house.counter, "somebody", first.team_id, first.id)
    await rig.drive(second)
    await batch_sweep.finish(rig.shop)
    assert (await now(rig, made.batch)).finished_at is not None


async def test_a_thousand_at_once(rig: Rig) -> None:
    """As many items as may be are accepted in one transaction, with a hold each, in a moment."""
    async with asyncio.timeout(20):
        made = await make(rig, *prompts(batch_body.MOST_ITEMS))
    assert await rig.balance() == (batch_body.MOST_ITEMS * 2 * CREDIT, 0)
    async with rig.house.database.read() as connection:
        counted = await batches.count(connection, [made.batch.id])
        page, following = await batches.items(connection, made.batch, 200, 800)
    assert counted[made.batch.id].jobs == {"pending": batch_body.MOST_ITEMS}
    assert (len(page), following, page[0][0].batch_index) == (200, None, 800)
