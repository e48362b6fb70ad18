"""What ends the doubt about a lost answer: the upstream's list of jobs, and its balance. The emulator's books judge."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.jobs import booking, evidence, settlement, sweep, view
from gateway.jobs.record import Job
from gateway.jobs.states import Failure, State
from gateway.storage import tables
from gateway.upstream import answers
from tests.support import rig as rigs
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig

CREDIT = 1_000_000
#: Beyond an attempt's deadline and its quiet time.
QUIET = timedelta(seconds=100)
#: It is quiet at once, and what the upstream made is still of its time, by the seconds that clocks may differ.
JUST_QUIET = timedelta(seconds=80.5)
#: The answers that are lost after the upstream took the job and the credits.
TAKEN = (
    {"kind": "status", "status": 500, "accepted": True},
    {"kind": "cut_after"},
    {"kind": "cut_after", "reset": True},
    {"kind": "garbage_202"},
    {"kind": "non_json"},
)


async def turn(rig: Rig) -> None:
    """Take a turn of looking for evidence, whenever the last one was."""
    async with rig.house.database.write() as tx:
        await tx.execute(tables.upstream_account.update().values(evidence_due_at=None, breaker_until=None))
    await evidence.look(rig.shop)


async def lose(rig: Rig, emulator: EmulatorProcess, fault: dict[str, Any] | str = "cut_after", **order: Any) -> Job:
    """An order whose answer was lost."""
    kind = {"kind": fault} if isinstance(fault, str) else fault
    job = await rig.order(**order)
    emulator.switch(submit_fault={**kind, "times": 1})
    async with rig.house.database.write() as tx:
        await tx.execute(tables.upstream_account.update().values(breaker_until=None, breaker_failures=0))
    return await rig.drive(job, State.SUBMISSION_UNKNOWN, within_s=40)


async def attempt(rig: Rig, job: Job, number: int = 1) -> Any:
    """The row of an attempt."""
    row = tables.attempts
    async with rig.house.database.read() as connection:
        asked = sa.select(row).where(row.c.job_id == job.id, row.c.number == number)
        return (await connection.execute(asked)).one()


async def agrees(rig: Rig, emulator: EmulatorProcess) -> bool:
    """Whether what the ledger has spent is what the upstream debited, and nothing is held."""
    held, spent = await rig.balance()
    totals = emulator.books(jobs=False)["totals"]
    return held == 0 and spent == round((totals["debited"] - totals["refunded"]) * CREDIT)


@asynccontextmanager
async def other(
    emulator: EmulatorProcess, database_url: str, redis_url: str, folder: Path, **more: str
) -> AsyncIterator[Rig]:
    """A gateway with other settings."""
    async with rigs.rig(rigs.environment(emulator, database_url, redis_url, folder, **more)) as built:
        yield built


@pytest.mark.parametrize("fault", TAKEN, ids=lambda fault: "-".join(str(value) for value in fault.values()))
async def test_a_job_that_was_taken_is_found_in_the_list(
    rig: Rig, emulator: EmulatorProcess, fault: dict[str, Any]
) -> None:
    """Whatever became of the answer, the listed job runs on at once: one POST, one charge, its picture kept."""
    job = await lose(rig, emulator, fault)
    await turn(rig)
    found = await rig.job(job.id)
    (upstream,) = emulator.books()["jobs"]
    assert (found.state, found.upstream_job_id) == (State.RUNNING, upstream["jobId"])
    assert (await attempt(rig, job)).evidence == "job_list"
    assert (await rig.drive(found)).state is State.COMPLETED
    assert emulator.books()["totals"]["submitsReceived"] == 1
    assert await agrees(rig, emulator)


@pytest.mark.parametrize("shape", ["jobs", "array", "data", "pages"])
async def test_whatever_shape_the_list_has(rig: Rig, emulator: EmulatorProcess, shape: str) -> None:
    """The job is found in any of the usual shapes, on a later page too where there are pages."""
    job = await lose(rig, emulator)
    for _ in range(3):
        await rig.drive(await rig.order(prompt="another"), within_s=40)
    emulator.switch(job_list_shape=shape, job_list_page=50 if shape == "array" else 2)
    await turn(rig)
    assert (await rig.job(job.id)).state is State.RUNNING


@pytest.mark.parametrize(
    "switches",
    [{"job_list": False}, {"job_list_shape": "garbage"}, {"list_fault": "non_json"}],
    ids=["404", "garbage", "html"],
)
async def test_an_upstream_without_a_list_is_asked_rarely(
    rig: Rig, emulator: EmulatorProcess, switches: dict[str, Any]
) -> None:
    """No list: the job stays unknown, its caller is told after the wait, and the list is left alone for a while."""
    emulator.switch(**switches)
    job = await lose(rig, emulator)
    await rig.hurry(quiet_at=JUST_QUIET)
    for _ in range(3):
        await turn(rig)
    assert (await rig.job(job.id)).state is State.SUBMISSION_UNKNOWN
    assert emulator.books()["totals"]["lists"] == 1
    assert job.submitted_at is not None
    told = view.render(job, [], None, rig.house.frame, job.submitted_at + timedelta(seconds=61))
    assert (told["status"], told["error"]["provisional"], told["error"]["retrySafe"]) == ("failed", True, False)
    assert await rig.balance() == (2 * CREDIT, 0)
    async with rig.house.database.write() as tx:
        await tx.execute(tables.upstream_account.update().values(list_silent_until=rig.house.clock.now()))
    emulator.reset_switches()
    await turn(rig)
    assert (await rig.job(job.id)).state is State.RUNNING


async def test_what_was_not_taken_and_not_told_is_sent_again(
    emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """Absent at two readings of the whole list, while its caller reads processing: one more POST, one charge."""
    async with other(emulator, database_url, redis_url, tmp_path, TORII_UNKNOWN_WAIT_S="86400") as rig:
        job = await lose(rig, emulator, "cut_before")
        await turn(rig)
        assert (await attempt(rig, job)).absent_at is None, "it is not quiet yet"
        await rig.hurry(quiet_at=QUIET, opened_at=QUIET)
        await turn(rig)
        assert (await rig.job(job.id)).state is State.SUBMISSION_UNKNOWN, "one reading is not enough"
        await rig.hurry(absent_at=timedelta(seconds=31))
        await turn(rig)
        again = await rig.job(job.id)
        assert (again.state, again.attempt) == (State.QUEUED, 2)
        assert await rig.balance() == (2 * CREDIT, 0)
        assert (await rig.drive(again)).state is State.COMPLETED
        assert emulator.books()["totals"]["submitsReceived"] == 2
        assert await agrees(rig, emulator)


async def test_what_was_not_taken_and_told_ends_unpaid(rig: Rig, emulator: EmulatorProcess) -> None:
    """A later job of ours in the list vouches for it; its caller was told, so it ends, safe to order again."""
    job = await lose(rig, emulator, "cut_before")
    await rig.hurry(quiet_at=QUIET, opened_at=QUIET, submitted_at=QUIET)
    await rig.drive(await rig.order(prompt="a later one"), within_s=40)
    await turn(rig)
    ended = await rig.job(job.id)
    assert (ended.state, ended.error_code) == (State.FAILED, Failure.SUBMISSION_UNKNOWN)
    assert (await attempt(rig, job)).evidence == "not_listed"
    shown = view.render(ended, [], None, rig.house.frame, rig.house.clock.now())
    assert (shown["creditCost"], shown["error"]["retrySafe"]) == (0, True)
    assert "provisional" not in shown["error"]
    assert await agrees(rig, emulator)


@pytest.mark.parametrize(
    "switches",
    [
        {"job_list_lag_s": 60},
        {"job_list_shape": "array"},
        {"list_fault": {"kind": "status", "status": 500}},
        {"list_fault": "cut_midway"},
        {"list_fault": {"kind": "slow", "delay_s": 0, "headers": {"Age": "30"}}},
    ],
    ids=["it lags", "it does not end", "500", "cut", "from a cache"],
)
async def test_what_is_not_surely_the_whole_list_says_nothing(
    rig: Rig, emulator: EmulatorProcess, switches: dict[str, Any]
) -> None:
    """A list that hides a job of ours, does not say where it ends or may be old is no evidence of absence."""
    job = await lose(rig, emulator, "cut_before")
    await rig.drive(await rig.order(prompt="a later one"), within_s=40)
    await rig.hurry(quiet_at=QUIET, answered_at=timedelta(seconds=10))
    emulator.switch(**switches)
    for _ in range(2):
        await turn(rig)
        await rig.hurry(absent_at=timedelta(minutes=1))
    assert (await rig.job(job.id)).state is State.SUBMISSION_UNKNOWN
    assert await rig.balance() == (2 * CREDIT, 2 * CREDIT)


async def test_orders_that_cannot_be_told_apart_wait(rig: Rig, emulator: EmulatorProcess) -> None:
    """Two orders and two jobs without prompts stay in doubt; once the prompts are shown each gets its own."""
    first, second = await lose(rig, emulator, prompt="a gate"), await lose(rig, emulator, prompt="a bridge")
    emulator.switch(job_list_prompts=False)
    await turn(rig)
    assert {(await rig.job(job.id)).state for job in (first, second)} == {State.SUBMISSION_UNKNOWN}
    emulator.switch(job_list_prompts=True)
    await turn(rig)
    own = {upstream["jobId"]: upstream["parameters"]["prompt"] for upstream in emulator.books()["jobs"]}
    assert own[(await rig.job(first.id)).upstream_job_id or ""] == "a gate"
    assert own[(await rig.job(second.id)).upstream_job_id or ""] == "a bridge"
    for job in (first, second):
        assert (await rig.drive(await rig.job(job.id))).state is State.COMPLETED
    assert await agrees(rig, emulator)


async def test_an_id_that_another_job_has_is_found_out(rig: Rig, emulator: EmulatorProcess) -> None:
    """A 202 with the id of a job that is ours is a lost answer; the list then shows the right one."""
    first = await rig.drive(await rig.order(prompt="the first"), State.RUNNING)
    job = await lose(rig, emulator, prompt="the second")
    said = answers.Accepted(first.upstream_job_id or "", 202, 2 * CREDIT, None)
    assert await booking.book(rig.shop, job.id, 1, said) is None
    assert (await rig.job(job.id)).state is State.SUBMISSION_UNKNOWN
    await turn(rig)
    for mine in (first, job):
        assert (await rig.drive(await rig.job(mine.id))).state is State.COMPLETED
    assert await agrees(rig, emulator)


async def test_evidence_after_a_settlement_is_corrected(rig: Rig, emulator: EmulatorProcess) -> None:
    """A job that was settled as not charged and turns up while another is looked for runs, and is charged then."""
    job = await lose(rig, emulator, prompt="a gate")
    await rig.hurry(quiet_at=JUST_QUIET)
    await settlement.settle(rig.house.database, rig.house.clock, job.id, settlement.Verdict.NOT_CHARGED)
    await lose(rig, emulator, prompt="a bridge")
    await turn(rig)
    assert (await rig.job(job.id)).state is State.RUNNING
    assert await rig.balance() == (0, 4 * CREDIT)


async def test_a_dead_workers_post_is_found(rig: Rig, emulator: EmulatorProcess) -> None:
    """A worker that died between its intent and the booking: its job is found once no answer can come any more."""
    job = await lose(rig, emulator)
    mine = tables.attempts
    async with rig.house.database.write() as tx:
        await tx.execute(mine.update().where(mine.c.job_id == job.id).values(reason="worker_died"))
    await turn(rig)
    assert (await rig.job(job.id)).state is State.SUBMISSION_UNKNOWN
    # The list's times are the upstream's own, so the worker's clock is behind by as much.
    await rig.hurry(opened_at=timedelta(seconds=26))
    await turn(rig)
    assert (await rig.job(job.id)).state is State.RUNNING


async def test_the_sweep_nudges_only_while_there_is_a_doubt(rig: Rig, emulator: EmulatorProcess) -> None:
    """Nothing is asked while nothing is unknown; a new doubt is worth a turn at once, and then one after a while."""
    async with rig.house.database.read() as connection:
        assert not await evidence.due(connection, rig.house.clock.now())
    await lose(rig, emulator)
    emulator.switch(job_list=False)
    await sweep.look_for_evidence(rig.shop)
    async with rig.house.database.read() as connection:
        assert await evidence.due(connection, rig.house.clock.now())
    await evidence.look(rig.shop)
    async with rig.house.database.read() as connection:
        assert not await evidence.due(connection, rig.house.clock.now())


@pytest.mark.parametrize(
    ("fault", "state", "told"),
    [("cut_before", State.QUEUED, 0), ("cut_after", State.FAILED, 2 * CREDIT)],
    ids=["not charged", "charged"],
)
async def test_the_balance_tells_where_nobody_else_spends(
    emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path, fault: str, state: State, told: int
) -> None:
    """Without a list, the fall of the balance between two quiet points settles the attempt one way or the other."""
    emulator.switch(job_list=False)
    settings = {"TORII_UPSTREAM_EXCLUSIVE": "true", "TORII_UNKNOWN_WAIT_S": "86400"}
    async with other(emulator, database_url, redis_url, tmp_path, **settings) as rig:
        await rig.drive(await rig.order(prompt="before"))
        await rig.hurry(opened_at=2 * QUIET, answered_at=2 * QUIET, accepted_at=2 * QUIET, ended_at=2 * QUIET)
        job = await lose(rig, emulator, fault)
        await turn(rig)
        await rig.hurry(opened_at=QUIET, quiet_at=QUIET)
        await turn(rig)
        assert (await rig.job(job.id)).state is State.SUBMISSION_UNKNOWN, "no point after it yet"
        await rig.drive(await rig.order(prompt="after"))
        await turn(rig)
        settled = await rig.job(job.id)
        assert (settled.state, settled.cost_micros or 0) == (state, told)
        assert (await attempt(rig, job)).evidence == "balance"
        if state is State.QUEUED:
            await rig.drive(settled)
        assert await agrees(rig, emulator)
        account = tables.upstream_account
        async with rig.house.database.read() as connection:
            row = (await connection.execute(sa.select(account))).one()
            assert (await connection.execute(sa.select(sa.func.count()).select_from(tables.topups))).scalar_one() == 0
        assert row.drift_micros == 0


async def test_a_doubt_keeps_its_slot_for_a_quarter_of_an_hour(
    emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """An unknown job counts as one in flight for 15 minutes, and then no longer."""
    emulator.switch(job_list=False)
    async with other(emulator, database_url, redis_url, tmp_path, TORII_UPSTREAM_CONCURRENCY="1") as rig:
        job = await lose(rig, emulator)
        next_one = await rig.order(prompt="the next one")
        async with rig.house.database.write() as tx:
            await tx.execute(tables.upstream_account.update().values(breaker_until=None, breaker_failures=0))
        assert (await rig.step(next_one)).state is State.QUEUED
        await rig.hurry(submitted_at=timedelta(minutes=15))
        assert (await rig.step(next_one)).state is State.RUNNING
        assert (await rig.job(job.id)).state is State.SUBMISSION_UNKNOWN
