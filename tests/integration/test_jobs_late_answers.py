"""Answers that come when nobody waits for them any more: from a worker taken for dead, or after a settlement."""

import dataclasses
from datetime import timedelta

import pytest
import pytest_asyncio
import sqlalchemy as sa

from gateway.jobs import account, attempts, booking, claims, liveness, settlement, sweep
from gateway.jobs.outcomes import Outcome
from gateway.jobs.parts import Shop
from gateway.jobs.record import Job
from gateway.jobs.settlement import Verdict
from gateway.jobs.states import Failure, State
from gateway.ledger import entries, statement
from gateway.ledger.book import Correction
from gateway.storage import schema, tables
from gateway.upstream import answers
from gateway.upstream.answers import Refusal
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig

CREDIT = 1_000_000
ACCEPTED = answers.Accepted("job_of_the_upstream", 202, 2 * CREDIT, None)


@pytest_asyncio.fixture
async def other(rig: Rig) -> Shop:
    """A second worker."""
    shop = dataclasses.replace(rig.shop, worker_id="worker_other")
    await liveness.register(rig.house.database, shop.worker_id, "test", rig.house.clock)
    return shop


async def claimed(shop: Shop) -> Job:
    """The next queued job, claimed by that worker."""
    job = await claims.take_queued(shop, shop.clock.now())
    assert job is not None
    return job


async def opened(shop: Shop) -> Job:
    """The next queued job, its intent committed by that worker."""
    job = await attempts.open(shop, await claimed(shop), shop.clock.now())
    assert job is not None
    return job


async def settled(rig: Rig, verdict: Verdict) -> Job:
    """A job whose answer was lost and which was settled so."""
    await rig.order()
    job = await opened(rig.shop)
    await booking.book(rig.shop, job.id, 1, answers.Ambiguous("cut"))
    await rig.hurry(quiet_at=timedelta(minutes=5), opened_at=timedelta(minutes=5))
    return await settlement.settle(rig.house.database, rig.house.clock, job.id, verdict)


async def test_not_sent_is_said_of_ones_own_intent_alone(rig: Rig, other: Shop) -> None:
    """Who could not commit an intent closes nothing: the number may be another worker's by now, and its POST paid."""
    await rig.order()
    first = await claimed(rig.shop)
    await sweep.free(other, rig.shop.worker_id)
    second = await opened(other)
    assert (second.id, second.attempt) == (first.id, first.attempt)

    assert await booking.book(rig.shop, first.id, 1, answers.Refused(Refusal.NOT_SENT), first.claim) is None
    assert await rig.outcomes(second.id) == [Outcome.OPEN]
    running = await booking.book(other, second.id, 1, ACCEPTED, second.claim)
    assert running is not None
    assert running.state is State.RUNNING
    assert await rig.balance() == (0, 2 * CREDIT)


@pytest.mark.parametrize(
    "answer",
    [answers.Refused(Refusal.RATE_LIMITED, 429), answers.Rejected(400, "no"), ACCEPTED],
    ids=["refused", "rejected", "accepted"],
)
async def test_what_an_operator_gave_back_is_not_given_back_again(rig: Rig, answer: answers.Submission) -> None:
    """A late answer after a settlement and an operator's refund never leaves a job with less than nothing spent."""
    job = await settled(rig, Verdict.CHARGED)
    payer = entries.Payer(job.team_id, job.key_id, job.model)
    async with rig.house.database.write() as tx:
        now = rig.house.clock.now()
        refund = Correction(payer, job.id, entries.windows(now), "ticket-1", "never came")
        await statement.refund(tx, refund, 2 * CREDIT, now)
    await booking.book(rig.shop, job.id, 1, answer)
    assert await rig.balance() == (0, 0)


async def test_a_settled_job_ends_once(rig: Rig) -> None:
    """A refusal of the request itself that comes after the settlement gives the credits back and ends nothing anew."""
    before = await settled(rig, Verdict.CHARGED)
    assert await booking.book(rig.shop, before.id, 1, answers.Rejected(422, "no such ratio")) is None
    after = await rig.job(before.id)
    assert (after.state, after.error_code, after.version) == (
        State.FAILED,
        Failure.SUBMISSION_UNKNOWN,
        before.version,
    )
    assert after.cost_micros == 0
    assert await rig.balance() == (0, 0)
    async with rig.house.database.read() as connection:
        ends = (await connection.execute(sa.select(sa.func.sum(tables.outcomes.c.jobs)))).scalar_one()
    assert ends == 1


async def test_a_post_does_not_leave_too_late(rig: Rig, emulator: EmulatorProcess) -> None:
    """Not a byte is sent once its moment has passed, even when the connection stands already."""
    upstream, now_s = rig.shop.upstream, rig.house.clock.monotonic()
    late = await upstream.submit("flux-2-max", {"prompt": "late"}, now_s - 1)
    assert late == answers.Refused(Refusal.NOT_SENT)
    assert emulator.books()["totals"]["submitsReceived"] == 0
    assert isinstance(await upstream.submit("flux-2-max", {"prompt": "in time"}, now_s + 60), answers.Accepted)
    assert emulator.books()["totals"]["submitsReceived"] == 1


async def test_answers_lost_together_are_one_failure(rig: Rig) -> None:
    """A burst of lost answers lets submitting rest as long as one does; each trial that fails doubles the rest."""
    now = rig.house.clock.now()
    rests = []
    async with rig.house.database.write() as tx:
        for _ in range(3):
            for _ in range(5):
                await account.open_breaker(tx, now)
            until = (await schema.lock_account(tx)).breaker_until
            rests.append((until - now).total_seconds())
            now = until
    assert rests == [1, 2, 4]
