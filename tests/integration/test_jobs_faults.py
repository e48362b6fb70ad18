"""What the upstream does wrong with a paid POST, and what becomes of the job and of the credits."""

import itertools
from datetime import timedelta

import pytest
import sqlalchemy as sa

from gateway import errors
from gateway.jobs import booking, settlement, states, sweep, view
from gateway.jobs.states import Failure, State
from gateway.storage import tables
from gateway.upstream import answers
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig

CREDIT = 1_000_000
AGREED = timedelta(seconds=100)  # beyond an attempt's deadline and its quiet time


def submits(emulator: EmulatorProcess) -> tuple[int, int]:
    """How many POSTs reached the upstream, and how many jobs it took."""
    totals = emulator.books()["totals"]
    return totals["submitsReceived"], totals["submitsAccepted"]


@pytest.mark.parametrize("envelope", ["object", "string", "message"])
async def test_failed_upstream_is_the_jobs_own_error_and_stays_charged(
    rig: Rig, emulator: EmulatorProcess, envelope: str
) -> None:
    """A job that failed upstream ends as upstream_failed with the upstream's words; its credits stay spent."""
    emulator.switch(outcome={"kind": "failed", "error": envelope, "message": "the sky is missing"})
    job = await rig.drive(await rig.order())
    assert (job.state, job.error_code) == (State.FAILED, Failure.UPSTREAM_FAILED)
    assert "the sky is missing" in (job.error_message or "")
    assert await rig.balance() == (0, 2 * CREDIT)
    assert submits(emulator) == (1, 1)


@pytest.mark.parametrize("status", [400, 404, 413, 415, 422])
@pytest.mark.parametrize("body", ["json", "html"])
async def test_a_rejected_request_ends_with_its_hold_released(
    rig: Rig, emulator: EmulatorProcess, status: int, body: str
) -> None:
    """A final status ends the job as upstream_rejected, whatever its body, and nothing is charged."""
    emulator.switch(submit_fault={"kind": "status", "status": status, "body": body})
    job = await rig.drive(await rig.order())
    assert (job.state, job.error_code) == (State.FAILED, Failure.UPSTREAM_REJECTED)
    assert await rig.entries(job.id) == [(1, "hold", 2 * CREDIT), (1, "release", 2 * CREDIT)]
    assert submits(emulator) == (1, 0)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 500, "accepted": True},
        {"kind": "status", "status": 500, "accepted": False},
        {"kind": "status", "status": 503, "body": "html"},
        {"kind": "status", "status": 409},
        {"kind": "cut_before"},
        {"kind": "cut_after"},
        {"kind": "cut_after", "reset": True},
        {"kind": "cut_midway"},
        {"kind": "non_json"},
        {"kind": "garbage_202"},
        {"kind": "redirect"},
    ],
    ids=lambda fault: "-".join(str(value) for value in fault.values()),
)
async def test_a_lost_answer_is_a_state(rig: Rig, emulator: EmulatorProcess, fault: dict[str, object]) -> None:
    """After an ambiguous answer there was one POST, the hold stays, and the job is submission_unknown."""
    emulator.switch(submit_fault={**fault, "times": 1})
    job = await rig.drive(await rig.order(), State.SUBMISSION_UNKNOWN)
    assert await rig.balance() == (2 * CREDIT, 0)
    for _ in range(3):
        job = await rig.step(job)
    assert job.state is State.SUBMISSION_UNKNOWN
    assert submits(emulator)[0] == 1


async def test_an_unknown_job_is_told_to_its_caller_only_after_a_while(rig: Rig, emulator: EmulatorProcess) -> None:
    """It reads processing for TORII_UNKNOWN_WAIT_S, then failed, provisionally, with the moment of its settlement."""
    emulator.switch(submit_fault={"kind": "cut_after", "times": 1})
    job = await rig.drive(await rig.order(), State.SUBMISSION_UNKNOWN)
    assert job.submitted_at is not None
    frame = rig.house.frame
    early = view.render(job, [], None, frame, job.submitted_at + timedelta(seconds=59))
    late = view.render(job, [], None, frame, job.submitted_at + timedelta(seconds=60))
    assert (early["status"], early.get("error")) == ("processing", None)
    assert late["status"] == "failed"
    assert late["error"]["code"] == "submission_unknown"
    assert (late["error"]["retrySafe"], late["error"]["provisional"]) == (False, True)
    assert late["error"]["settlesAt"].endswith("Z")


async def test_an_unknown_job_is_settled_as_charged_after_a_day(rig: Rig, emulator: EmulatorProcess) -> None:
    """Without evidence an unknown submission counts as charged after 24 h, and its hold ends."""
    emulator.switch(submit_fault={"kind": "cut_after", "times": 1})
    job = await rig.drive(await rig.order(), State.SUBMISSION_UNKNOWN)
    await sweep.unknowns(rig.shop)
    assert (await rig.job(job.id)).state is State.SUBMISSION_UNKNOWN
    await rig.hurry(opened_at=timedelta(hours=24), quiet_at=timedelta(hours=24))
    await sweep.unknowns(rig.shop)
    settled = await rig.job(job.id)
    assert (settled.state, settled.error_code) == (State.FAILED, Failure.SUBMISSION_UNKNOWN)
    assert await rig.balance() == (0, 2 * CREDIT)


async def test_nothing_is_settled_while_the_post_may_be_under_way(rig: Rig, emulator: EmulatorProcess) -> None:
    """An operator's settlement before the attempt is quiet is refused, and afterwards done once."""
    emulator.switch(submit_fault={"kind": "cut_before", "times": 1})
    job = await rig.drive(await rig.order(), State.SUBMISSION_UNKNOWN)
    settle = settlement.Verdict.NOT_CHARGED
    with pytest.raises(errors.Conflict, match="under way"):
        await settlement.settle(rig.house.database, rig.house.clock, job.id, settle)
    await rig.hurry(quiet_at=AGREED)
    settled = await settlement.settle(rig.house.database, rig.house.clock, job.id, settle)
    assert settled.state is State.FAILED
    assert await rig.balance() == (0, 0)
    with pytest.raises(errors.Conflict):
        await settlement.settle(rig.house.database, rig.house.clock, job.id, settle)


async def test_an_operator_who_found_the_job_lets_it_run(rig: Rig, emulator: EmulatorProcess) -> None:
    """With the upstream's id the unknown job goes on to its picture, charged once, without a second POST."""
    emulator.switch(submit_fault={"kind": "cut_after", "times": 1})
    job = await rig.drive(await rig.order(seed=5), State.SUBMISSION_UNKNOWN)
    await rig.hurry(quiet_at=AGREED)
    (upstream_job,) = emulator.books()["jobs"]
    await settlement.found(rig.house.database, rig.house.clock, job.id, upstream_job["jobId"])
    done = await rig.drive(await rig.job(job.id))
    assert done.state is State.COMPLETED
    assert await rig.balance() == (0, 2 * CREDIT)
    assert submits(emulator) == (1, 1)


@pytest.mark.parametrize("settled", list(settlement.Verdict))
async def test_an_answer_after_the_settlement_is_booked(
    rig: Rig, emulator: EmulatorProcess, settled: settlement.Verdict
) -> None:
    """A late 202 revives the settled job; what was charged wrongly is corrected, so it is paid exactly once."""
    emulator.switch(submit_fault={"kind": "cut_after", "times": 1})
    job = await rig.drive(await rig.order(), State.SUBMISSION_UNKNOWN)
    await rig.hurry(quiet_at=AGREED)
    await settlement.settle(rig.house.database, rig.house.clock, job.id, settled)
    (upstream_job,) = emulator.books()["jobs"]
    late = answers.Accepted(upstream_job["jobId"], 202, 1_500_000, None)
    await booking.book(rig.shop, job.id, 1, late)
    done = await rig.drive(await rig.job(job.id))
    assert done.state is State.COMPLETED
    assert done.error_code is None
    assert await rig.balance() == (0, 1_500_000)


async def test_an_answer_is_booked_once(rig: Rig) -> None:
    """The same answer booked twice, or another one after it, changes nothing."""
    job = await rig.drive(await rig.order(), State.RUNNING)
    before = await rig.entries(job.id)
    for again in (
        answers.Accepted(job.upstream_job_id or "", 202, 2 * CREDIT, None),
        answers.Accepted("job_of_another", 202, 9 * CREDIT, None),
        answers.Ambiguous("timeout"),
        answers.Rejected(400, "no"),
    ):
        assert await booking.book(rig.shop, job.id, 1, again) is None
    assert await rig.entries(job.id) == before
    assert (await rig.drive(job)).state is State.COMPLETED


async def test_an_upstream_id_of_another_job_is_not_believed(rig: Rig, emulator: EmulatorProcess) -> None:
    """A 202 with the id of a job that is ours already is ambiguous: two of our jobs never share a picture."""
    first = await rig.drive(await rig.order(), State.RUNNING)
    emulator.switch(submit_fault={"kind": "hang", "accepted": False, "hang_s": 30})
    second = await rig.order()
    async with rig.house.database.write() as tx:
        await tx.execute(tables.jobs.update().where(tables.jobs.c.id == second.id).values(state=State.SUBMITTING))
        await tx.execute(
            tables.attempts.insert().values(
                job_id=second.id,
                number=1,
                claim="clm_test",
                worker_id=rig.shop.worker_id,
                opened_at=rig.house.clock.now(),
                quiet_at=rig.house.clock.now(),
                outcome="open",
                hold_micros=second.hold_micros,
            )
        )
    said = answers.Accepted(first.upstream_job_id or "", 202, 2 * CREDIT, None)
    booked = await booking.book(rig.shop, second.id, 1, said)
    assert booked is not None
    assert booked.state is State.SUBMISSION_UNKNOWN


@pytest.mark.parametrize("retry_after_s", [None, 1])
async def test_a_429_means_a_later_finish_and_one_debit(
    rig: Rig, emulator: EmulatorProcess, retry_after_s: int | None
) -> None:
    """After a 429, with or without Retry-After, the job waits, is sent again under a hold of its own, and paid once."""
    emulator.switch(submit_fault={"kind": "status", "status": 429, "retry_after_s": retry_after_s, "times": 1})
    job = await rig.drive(await rig.order())
    assert job.state is State.COMPLETED
    assert job.attempt == 2
    kinds = [(attempt, kind) for attempt, kind, _ in await rig.entries(job.id)]
    assert sorted(kinds) == [(1, "hold"), (1, "release"), (2, "charge"), (2, "hold"), (2, "release")]
    assert await rig.balance() == (0, 2 * CREDIT)
    assert submits(emulator) == (2, 1)


async def test_a_refused_connection_means_a_later_finish(rig: Rig, emulator: EmulatorProcess) -> None:
    """While nobody listens the job waits in the queue, and when somebody does it is sent once."""
    job = await rig.order()
    emulator.stop()
    try:
        refused = await rig.step(job)
        assert (refused.state, refused.attempt) == (State.QUEUED, 2)
        assert await rig.balance() == (2 * CREDIT, 0)
    finally:
        emulator.start()
    emulator.switch(time_scale=0.01)
    done = await rig.drive(refused)
    assert done.state is State.COMPLETED
    assert submits(emulator) == (1, 1)


@pytest.mark.parametrize(
    ("switches", "reason"),
    [
        ({"balance": 0, "out_of_credits_status": 402}, "out_of_credits"),
        ({"balance": 0, "out_of_credits_status": 403}, "out_of_credits"),
        ({"key_refused": True}, "key_refused"),
    ],
    ids=["402", "403", "401"],
)
async def test_out_of_credits_or_a_refused_key_pauses_everyone(
    rig: Rig, emulator: EmulatorProcess, switches: dict[str, object], reason: str
) -> None:
    """Submitting rests for all jobs, none is lost, and after the rest one job is the trial that ends it."""
    emulator.switch(**switches)
    first, second = await rig.order(), await rig.order()
    assert (await rig.step(first)).state is State.QUEUED
    assert (await rig.step(second)).state is State.QUEUED
    assert submits(emulator)[0] == 1
    account = tables.upstream_account
    async with rig.house.database.write() as tx:
        assert (await tx.execute(sa.select(account.c.pause_reason))).scalar_one() == reason
        await tx.execute(account.update().values(paused_until=rig.house.clock.now()))
    emulator.switch(balance=100, key_refused=False)
    for job in (first, second):
        assert (await rig.drive(job)).state is State.COMPLETED
    assert submits(emulator) == (3, 2)


async def test_an_outage_does_not_turn_the_queue_into_unknowns(rig: Rig, emulator: EmulatorProcess) -> None:
    """The breaker lets one job at a time find out, and only after a free question was answered."""
    emulator.switch(submit_fault={"kind": "cut_before"}, models_fault={"kind": "status", "status": 503})
    jobs = [await rig.order() for _ in range(5)]
    for _ in range(3):
        for job in jobs:
            await rig.step(await rig.job(job.id))
        async with rig.house.database.write() as tx:
            await tx.execute(tables.upstream_account.update().values(breaker_until=rig.house.clock.now()))
    found = [(await rig.job(job.id)).state for job in jobs]
    assert found.count(State.SUBMISSION_UNKNOWN) == 1
    assert found.count(State.QUEUED) == 4
    assert submits(emulator)[0] == 1


async def test_a_missing_cost_is_taken_as_the_hold(rig: Rig, emulator: EmulatorProcess) -> None:
    """Without a creditCost in the 202 the hold is charged."""
    emulator.switch(omit_credit_cost=True)
    await rig.drive(await rig.order(resolution="4 MP"))
    assert await rig.balance() == (0, 8 * CREDIT)


async def test_a_charge_above_the_hold_is_booked_as_it_is(rig: Rig, emulator: EmulatorProcess) -> None:
    """What the upstream took is spent, even beyond the hold."""
    emulator.switch(prices={"flux-2-max": 3})
    await rig.drive(await rig.order())
    assert await rig.balance() == (0, 3 * CREDIT)


async def test_a_withdrawn_model_ends_its_queued_jobs_unpaid(rig: Rig, emulator: EmulatorProcess) -> None:
    """A queued job whose model has left the catalogue ends with its hold released, unsent."""
    job = await rig.order()
    async with rig.house.database.write() as tx:
        await tx.execute(tables.jobs.update().where(tables.jobs.c.id == job.id).values(model="gone-model"))
    ended = await rig.step(await rig.job(job.id))
    assert (ended.state, ended.error_code) == (State.FAILED, Failure.MODEL_WITHDRAWN)
    assert await rig.balance() == (0, 0)
    assert submits(emulator) == (0, 0)


async def test_every_way_taken_is_in_the_table(rig: Rig) -> None:
    """The states that a job went through are joined by ways that the table knows."""
    job = await rig.order()
    path = [job.state]
    while job.state not in states.ENDED:
        job = await rig.step(job)
        path += [job.state] if job.state is not path[-1] else []
    for before, after in itertools.pairwise(path):
        # One step of a worker may take two ways, as submitting lasts no longer than its POST.
        assert after in states.WAYS[before] or any(after in states.WAYS[between] for between in states.WAYS[before])
