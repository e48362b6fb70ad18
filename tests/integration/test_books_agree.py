"""After a run in which much went wrong, everybody who counts credits has counted the same."""

from datetime import timedelta

from gateway.jobs import books, desk, settlement
from gateway.jobs.states import State
from gateway.ledger import usage
from gateway.ledger.usage import By, Span
from gateway.telemetry import books as shown
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig

CREDIT = 1_000_000
QUIET = timedelta(seconds=100)


async def _unknown(rig: Rig, emulator: EmulatorProcess, fault: str, verdict: settlement.Verdict) -> None:
    emulator.switch(submit_fault={"kind": fault, "times": 1})
    job = await rig.drive(await rig.order(), State.SUBMISSION_UNKNOWN)
    await rig.hurry(quiet_at=QUIET)
    await settlement.settle(rig.house.database, rig.house.clock, job.id, verdict)


async def _mixed_run(rig: Rig, emulator: EmulatorProcess) -> None:
    for seed in range(3):
        await rig.drive(await rig.order(seed=seed, num_outputs=1 + seed))
    emulator.switch(outcome={"kind": "failed", "times": 1})
    await rig.drive(await rig.order())
    emulator.switch(submit_fault={"kind": "status", "status": 422, "times": 1})
    await rig.drive(await rig.order())
    emulator.switch(submit_fault={"kind": "status", "status": 429, "retry_after_s": 0, "times": 1})
    await rig.drive(await rig.order())
    await _unknown(rig, emulator, "cut_after", settlement.Verdict.CHARGED)
    await _unknown(rig, emulator, "cut_before", settlement.Verdict.NOT_CHARGED)
    job = await rig.order()
    await desk.cancel(rig.house.counter, rig.caller, job.id, whole_team=True)
    await rig.drive(await rig.order(resolution="4 MP"))
    emulator.switch(prices={"flux-2-max": 2.5})
    await rig.drive(await rig.order(resolution="0.5 MP"))


async def test_everybody_who_counts_has_counted_the_same(rig: Rig, emulator: EmulatorProcess) -> None:
    """Usage by anything, the ledger's balances, the metrics of the books and the upstream's own books agree."""
    await _mixed_run(rig, emulator)
    held, spent = await rig.balance()
    totals = emulator.books()["totals"]
    assert held == 0
    assert spent == round((totals["debited"] - totals["refunded"]) * CREDIT)
    async with rig.house.database.read() as connection:
        for by in By:
            found = await usage.summed(connection, by, Span())
            assert sum(each.spent_micros for each in found) == spent
            assert sum(each.held_micros for each in found) == 0
        snapshot = await books.snapshot(connection, rig.house.clock.now())
    counted = sum(snapshot.credits_spent_micros.values()) - sum(snapshot.credits_refunded_micros.values())
    assert counted == spent
    text = shown.text(snapshot).decode()
    assert f'torii_credits_spent_total{{model="flux-2-max",team="{rig.caller.team_id}"}} {spent / CREDIT}' in text
