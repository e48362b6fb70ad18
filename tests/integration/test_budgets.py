"""Budgets: no new hold passes a hard limit, whoever asks and however many at once."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from gateway import errors
from gateway.jobs import accept, account, desk, pricing, quote
from gateway.jobs.accept import Caller
from gateway.jobs.states import Failure, State
from gateway.ledger import budgets
from gateway.ledger.budgets import Budget, Window
from gateway.storage import tables
from gateway.tenancy import keys, scopes
from tests.support.emulator import EmulatorProcess
from tests.support.rig import MODEL, Rig

CREDIT = 1_000_000


async def limit(
    rig: Rig, credits: int, window: Window = Window.TOTAL, key_id: str = "", soft: int | None = None
) -> None:
    """Set a budget of the rig's team or key."""
    soft_micros = None if soft is None else soft * CREDIT
    async with rig.house.database.write() as tx:
        await budgets.put(tx, Budget(rig.caller.team_id, key_id, window, credits * CREDIT, soft_micros))


async def test_orders_stop_at_the_limit(rig: Rig, emulator: EmulatorProcess) -> None:
    """With 5 credits two orders of 2 are accepted, the third is refused, and nothing of it is created."""
    await limit(rig, 5)
    first = await accept.accept(rig.house.counter, rig.caller, MODEL, {"prompt": "a"})
    assert first.remaining_micros == 3 * CREDIT
    await rig.order()
    with pytest.raises(errors.BudgetExhausted, match="total"):
        await rig.order()
    async with rig.house.database.read() as connection:
        assert (await connection.execute(sa.select(sa.func.count()).select_from(tables.jobs))).scalar_one() == 2
    assert await rig.balance() == (4 * CREDIT, 0)
    assert emulator.books()["totals"]["submitsReceived"] == 0


@pytest.mark.parametrize("window", list(Window))
async def test_any_number_at_once_take_exactly_what_fits(rig: Rig, window: Window) -> None:
    """Of sixty concurrent orders on a budget for ten, exactly ten are accepted."""
    await limit(rig, 20, window)
    results = await asyncio.gather(*(rig.order() for _ in range(60)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, BaseException)]
    assert all(isinstance(result, errors.BudgetExhausted) for result in refused)
    assert len(results) - len(refused) == 10
    assert await rig.balance() == (20 * CREDIT, 0)


async def test_a_keys_budget_is_its_own(rig: Rig) -> None:
    """A key stops at its limit while the team's other keys go on."""
    await limit(rig, 2, key_id=rig.caller.key_id)
    await rig.order()
    with pytest.raises(errors.BudgetExhausted, match="key's"):
        await rig.order()
    colleague = Caller(rig.caller.team_id, await _another_key(rig))
    await accept.accept(rig.house.counter, colleague, MODEL, {"prompt": "a"})


async def _another_key(rig: Rig) -> str:
    async with rig.house.database.write() as tx:
        key, _ = await keys.create(
            tx, rig.caller.team_id, "other", scopes.DEFAULT, rig.house.keys.api_keys, rig.house.clock.now()
        )
    return key.id


async def test_what_is_released_can_be_held_again(rig: Rig) -> None:
    """A cancelled order gives its part of the budget back."""
    await limit(rig, 2)
    job = await rig.order()
    await desk.cancel(rig.house.counter, rig.caller, job.id, whole_team=True)
    await rig.order()


async def test_a_new_day_has_its_own_budget(rig: Rig) -> None:
    """What was spent yesterday does not count today; nothing is reset by anybody."""
    await limit(rig, 2, Window.DAY)
    job = await rig.drive(await rig.order())
    with pytest.raises(errors.BudgetExhausted):
        await rig.order()
    yesterday = (job.created_at - timedelta(days=1)).strftime("%Y-%m-%d")
    async with rig.house.database.write() as tx:
        await tx.execute(
            tables.balances.update()
            .where(tables.balances.c.period == job.created_at.strftime("%Y-%m-%d"))
            .values(period=yesterday)
        )
    await rig.order()


async def test_a_soft_limit_warns_once(rig: Rig) -> None:
    """Passing the soft limit is noted once in its period, and refuses nothing."""
    await limit(rig, 100, Window.MONTH, soft=3)
    for _ in range(4):
        await rig.order()
    async with rig.house.database.read() as connection:
        noted = (await connection.execute(sa.select(tables.budgets.c.warned_period))).scalar_one()
    assert noted == rig.house.clock.now().strftime("%Y-%m")


async def test_a_refusal_of_the_upstream_does_not_lose_the_jobs_place(rig: Rig, emulator: EmulatorProcess) -> None:
    """A job that was accepted within the budget is sent again after a 429, though the budget is used up by then."""
    await limit(rig, 2)
    emulator.switch(submit_fault={"kind": "status", "status": 429, "retry_after_s": 0, "times": 1})
    job = await rig.order()
    assert (await rig.drive(job)).state is State.COMPLETED
    assert await rig.balance() == (0, 2 * CREDIT)


async def test_a_charge_above_its_hold_blocks_the_pair_until_it_is_priced(rig: Rig, emulator: EmulatorProcess) -> None:
    """What was charged too much is booked; then this model and resolution take no order until an operator prices it."""
    emulator.switch(prices={MODEL: 3})
    await rig.drive(await rig.order())
    with pytest.raises(errors.PriceBlocked):
        await rig.order()
    await rig.order(resolution="0.5 MP")
    async with rig.house.database.write() as tx:
        await pricing.put(tx, rig.house.catalogue.model(MODEL), "1 MP", 3 * CREDIT)
    job = await rig.order(num_outputs=2)
    assert job.hold_micros == 6 * CREDIT


async def test_an_operators_price_takes_the_bounds_place(rig: Rig) -> None:
    """A priced resolution is held at its price instead of the catalogue's bound."""
    async with rig.house.database.write() as tx:
        await pricing.put(tx, rig.house.catalogue.model(MODEL), "4 MP", 5 * CREDIT)
        with pytest.raises(errors.InvalidParameter, match="resolution"):
            await pricing.put(tx, rig.house.catalogue.model(MODEL), "9 MP", 5 * CREDIT)
    assert (await rig.order(resolution="4 MP")).hold_micros == 5 * CREDIT


async def test_a_drained_team_takes_no_orders(rig: Rig) -> None:
    """A drained team's new orders are refused; the jobs it has go on."""
    job = await rig.order()
    async with rig.house.database.write() as tx:
        await tx.execute(tables.teams.update().values(drained_at=rig.house.clock.now()))
    with pytest.raises(errors.TeamDrained):
        await rig.order()
    assert (await rig.drive(job)).state is State.COMPLETED


async def test_a_quote_spends_nothing(rig: Rig, emulator: EmulatorProcess) -> None:
    """A quote tells the hold, whether the budget covers it, and how long it takes; the ledger does not move."""
    await limit(rig, 5)
    asked = {"prompt": "a", "num_outputs": 4}
    found = await quote.quote(rig.house.counter, rig.caller, MODEL, asked, 20)
    assert (found.cost_micros, found.firm, found.affordable) == (8 * CREDIT, True, False)
    assert found.remaining_micros == 5 * CREDIT
    assert found.wait_s == 44.0
    assert await rig.balance() == (0, 0)
    assert emulator.books()["totals"]["submitsReceived"] == 0


async def test_the_account_is_compared_with_the_ledger(rig: Rig, emulator: EmulatorProcess) -> None:
    """Another spender of the account shows as drift; a rise of its balance is booked as a topup."""
    seen = tables.upstream_account
    await rig.drive(await rig.order())
    emulator.switch(balance=900)
    await rig.drive(await rig.order())
    async with rig.house.database.read() as connection:
        row = (await connection.execute(sa.select(seen))).one()
    assert (row.remaining_micros, row.drift_micros) == (898 * CREDIT, -98 * CREDIT)
    emulator.switch(balance=1500)
    await rig.drive(await rig.order())
    async with rig.house.database.read() as connection:
        row = (await connection.execute(sa.select(seen))).one()
        booked = (await connection.execute(sa.select(sa.func.sum(tables.topups.c.amount_micros)))).scalar_one()
    assert (row.remaining_micros, row.drift_micros) == (1498 * CREDIT, -98 * CREDIT)
    assert int(booked) == 602 * CREDIT


async def test_a_topup_of_an_operator_is_expected(rig: Rig, emulator: EmulatorProcess) -> None:
    """What an operator put in and told is no surprise in the next answer, and its reference counts once."""
    await rig.drive(await rig.order())
    emulator.switch(balance=1098)
    now = rig.house.clock.now()
    async with rig.house.database.write() as tx:
        await account.topup(tx, 100 * CREDIT, now, "invoice 7")
    with pytest.raises(sa.exc.IntegrityError):
        await _topup_again(rig)
    await rig.drive(await rig.order())
    async with rig.house.database.read() as connection:
        row = (await connection.execute(sa.select(tables.upstream_account))).one()
        count = (await connection.execute(sa.select(sa.func.count()).select_from(tables.topups))).scalar_one()
    assert (row.drift_micros, count) == (0, 1)


async def _topup_again(rig: Rig) -> None:
    async with rig.house.database.write() as tx:
        await account.topup(tx, 100 * CREDIT, rig.house.clock.now(), "invoice 7")


async def test_jobs_that_ended_unpaid_leave_no_hold(rig: Rig, emulator: EmulatorProcess) -> None:
    """After rejections, cancellations and time-outs nothing is held and nothing was spent."""
    await limit(rig, 100)
    emulator.switch(submit_fault={"kind": "status", "status": 422, "times": 1})
    rejected = await rig.drive(await rig.order())
    assert rejected.error_code == Failure.UPSTREAM_REJECTED
    job = await rig.order()
    await desk.cancel(rig.house.counter, rig.caller, job.id, whole_team=True)
    assert await rig.balance() == (0, 0)
