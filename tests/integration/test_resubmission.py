"""``onUnknown: resubmit_once``: a second attempt beside the first, each settled on its own; never a third."""

from datetime import timedelta

import pytest

from gateway.admission import policy
from gateway.jobs import booking, evidence, settlement, sweep
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.ledger import budgets
from gateway.storage import tables
from gateway.upstream import answers
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig

CREDIT = 1_000_000
QUIET = timedelta(seconds=100)
DAY = timedelta(hours=25)


async def turn(rig: Rig) -> None:
    """Take a turn of looking for evidence, whenever the last one was; the breaker is closed."""
    closed = {"breaker_until": None, "breaker_failures": 0, "evidence_due_at": None}
    async with rig.house.database.write() as tx:
        await tx.execute(tables.upstream_account.update().values(**closed))
    await evidence.look(rig.shop)


async def doubtful(rig: Rig, emulator: EmulatorProcess, fault: str = "cut_after") -> Job:
    """A quiet, unknown job of a team that chose to send once more; the upstream has no list."""
    emulator.switch(job_list=False, submit_fault={"kind": fault, "times": 1})
    chosen = policy.write(policy.parse({"onUnknown": "resubmit_once"}, rig.house.catalogue))
    async with rig.house.database.write() as tx:
        await tx.execute(tables.teams.update().values(policy=chosen))
    job = await rig.drive(await rig.order(), State.SUBMISSION_UNKNOWN)
    await rig.hurry(quiet_at=QUIET)
    return job


def late(emulator: EmulatorProcess) -> answers.Accepted:
    """The first attempt's answer, after all."""
    return answers.Accepted(emulator.books()["jobs"][0]["jobId"], 202, 2 * CREDIT, None)


async def test_a_second_attempt_has_a_hold_of_its_own(rig: Rig, emulator: EmulatorProcess) -> None:
    """Both may be charged: the job runs by the second, the first stays in doubt and is settled by time, apart."""
    job = await doubtful(rig, emulator, "cut_before")
    await turn(rig)
    again = await rig.job(job.id)
    assert (again.state, again.attempt) == (State.QUEUED, 2)
    assert await rig.balance() == (4 * CREDIT, 0)
    done = await rig.drive(again)
    assert (done.state, done.cost_micros) == (State.COMPLETED, 2 * CREDIT)
    assert await rig.outcomes(job.id) == ["unknown", "accepted"]
    assert await rig.balance() == (2 * CREDIT, 2 * CREDIT)
    await settlement.settle(rig.house.database, rig.house.clock, job.id, settlement.Verdict.NOT_CHARGED)
    assert (await rig.job(job.id)).state is State.COMPLETED
    assert await rig.outcomes(job.id) == ["settled_free", "accepted"]
    assert await rig.balance() == (0, 2 * CREDIT)
    assert emulator.books()["totals"]["submitsReceived"] == 2


async def test_it_happens_once(rig: Rig, emulator: EmulatorProcess) -> None:
    """When the second answer is lost as well the job stays unknown, until a day settles both as charged."""
    job = await doubtful(rig, emulator)
    await turn(rig)
    emulator.switch(submit_fault={"kind": "cut_after", "times": 1})
    await rig.drive(await rig.job(job.id), State.SUBMISSION_UNKNOWN)
    await rig.hurry(quiet_at=QUIET)
    for _ in range(3):
        await turn(rig)
    assert (await rig.job(job.id)).state is State.SUBMISSION_UNKNOWN
    assert await rig.balance() == (4 * CREDIT, 0)
    await rig.hurry(opened_at=DAY, quiet_at=DAY)
    await sweep.unknowns(rig.shop)
    ended = await rig.job(job.id)
    assert (ended.state, ended.cost_micros) == (State.FAILED, 4 * CREDIT)
    totals = emulator.books()["totals"]
    assert (totals["submitsReceived"], totals["debited"]) == (2, 4)
    assert await rig.balance() == (0, 4 * CREDIT)


async def test_beyond_the_budget_it_stays_unknown(rig: Rig, emulator: EmulatorProcess) -> None:
    """No second hold past the hard limit; with room for it, the next turn takes it."""
    job = await doubtful(rig, emulator)
    limit = {"team_id": rig.caller.team_id, "key_id": "", "window": budgets.Window.TOTAL}
    async with rig.house.database.write() as tx:
        await tx.execute(tables.budgets.insert().values(**limit, limit_micros=3 * CREDIT))
    await turn(rig)
    assert (await rig.job(job.id)).state is State.SUBMISSION_UNKNOWN
    assert await rig.balance() == (2 * CREDIT, 0)
    async with rig.house.database.write() as tx:
        await tx.execute(tables.budgets.update().values(limit_micros=4 * CREDIT))
    await turn(rig)
    assert (await rig.job(job.id)).state is State.QUEUED


async def test_the_first_answer_before_the_second_post(rig: Rig, emulator: EmulatorProcess) -> None:
    """The queued job runs by the first attempt's picture, and the second hold goes back unsent."""
    job = await doubtful(rig, emulator)
    await turn(rig)
    booked = await booking.book(rig.shop, job.id, 1, late(emulator))
    assert booked is not None
    assert booked.state is State.RUNNING
    assert (await rig.drive(booked)).state is State.COMPLETED
    assert await rig.balance() == (0, 2 * CREDIT)
    assert emulator.books()["totals"]["submitsReceived"] == 1


@pytest.mark.parametrize("when", [State.RUNNING, State.COMPLETED])
async def test_the_first_answer_after_the_second(rig: Rig, emulator: EmulatorProcess, when: State) -> None:
    """Its picture is an orphan: charged, recorded with its attempt, not delivered; the job goes on by the second."""
    job = await doubtful(rig, emulator)
    await turn(rig)
    running = await rig.drive(await rig.job(job.id), when)
    assert await booking.book(rig.shop, job.id, 1, late(emulator)) is None
    assert await rig.outcomes(job.id) == ["orphaned", "accepted"]
    done = await rig.drive(await rig.job(job.id))
    assert (done.state, done.upstream_job_id) == (State.COMPLETED, running.upstream_job_id)
    assert done.cost_micros == 4 * CREDIT
    totals = emulator.books()["totals"]
    assert (await rig.balance(), totals["debited"]) == ((0, 4 * CREDIT), 4)


async def test_the_first_answer_while_both_are_in_doubt(rig: Rig, emulator: EmulatorProcess) -> None:
    """The job runs by the first; the second stays in doubt, and its late answer is the orphan."""
    job = await doubtful(rig, emulator)
    await turn(rig)
    emulator.switch(submit_fault={"kind": "cut_after", "times": 1})
    await rig.drive(await rig.job(job.id), State.SUBMISSION_UNKNOWN)
    first, second = (upstream["jobId"] for upstream in emulator.books()["jobs"])
    booked = await booking.book(rig.shop, job.id, 1, answers.Accepted(first, 202, 2 * CREDIT, None))
    assert booked is not None
    assert (await rig.drive(booked)).state is State.COMPLETED
    assert await rig.balance() == (2 * CREDIT, 2 * CREDIT)
    assert await booking.book(rig.shop, job.id, 2, answers.Accepted(second, 202, 2 * CREDIT, None)) is None
    assert await rig.outcomes(job.id) == ["accepted", "orphaned"]
    assert await rig.balance() == (0, 4 * CREDIT)


@pytest.mark.parametrize("answer", [answers.Rejected(400, "no"), answers.Refused(answers.Refusal.RATE_LIMITED, 429)])
async def test_a_late_no_to_the_first_moves_only_its_hold(
    rig: Rig, emulator: EmulatorProcess, answer: answers.Submission
) -> None:
    """The job waits for its second attempt as before."""
    job = await doubtful(rig, emulator, "cut_before")
    await turn(rig)
    assert await booking.book(rig.shop, job.id, 1, answer) is None
    queued = await rig.job(job.id)
    assert (queued.state, queued.attempt) == (State.QUEUED, 2)
    assert await rig.balance() == (2 * CREDIT, 0)
    assert (await rig.drive(queued)).state is State.COMPLETED
    assert await rig.balance() == (0, 2 * CREDIT)


async def test_a_team_that_did_not_choose_it_waits(rig: Rig, emulator: EmulatorProcess) -> None:
    """By default nothing is sent a second time."""
    emulator.switch(job_list=False, submit_fault={"kind": "cut_before", "times": 1})
    job = await rig.drive(await rig.order(), State.SUBMISSION_UNKNOWN)
    await rig.hurry(quiet_at=QUIET)
    await turn(rig)
    assert (await rig.job(job.id)).state is State.SUBMISSION_UNKNOWN
    assert emulator.books()["totals"]["submitsReceived"] == 1
