"""Who is looked at when requests are few, whose slot is free again, and how long those wait whom the account holds."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.jobs import account, attempts, booking, claims, line, polling, submission, sweep
from gateway.jobs.record import Job
from gateway.jobs.states import Failure, State
from gateway.storage import tables
from gateway.upstream import answers
from gateway.upstream.answers import Refusal
from tests.support import rig as rigs
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig

CREDIT = 1_000_000
HALF_AN_HOUR = timedelta(minutes=30)
_job = tables.jobs


@pytest.fixture
async def slow_rig(emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Rig]:
    """Give a rig that may ask the upstream sixty times a minute and have one job there."""
    few = {"TORII_UPSTREAM_RPM": "60", "TORII_UPSTREAM_CONCURRENCY": "1"}
    async with rigs.rig(rigs.environment(emulator, database_url, redis_url, tmp_path, **few)) as built:
        yield built


async def write(rig: Rig, job: Job, **values: object) -> None:
    """Write into the job's row."""
    async with rig.house.database.write() as tx:
        await tx.execute(_job.update().where(_job.c.id == job.id).values(**values))


async def running(rig: Rig, count: int, **values: object) -> list[Job]:
    """So many jobs upstream, due now, accepted 45 s ago and seen unfinished 2 s ago, unless said otherwise."""
    now = rig.house.clock.now()
    usual = {"accepted_at": now - timedelta(seconds=45), "last_unfinished_at": now - timedelta(seconds=2)}
    jobs = [await rig.order() for _ in range(count)]
    for number, job in enumerate(jobs):
        upstream = {"state": State.RUNNING, "upstream_job_id": f"job_unheard_of_{job.id}_{number}", "due_at": now}
        await write(rig, job, **{**usual, **upstream, **values})
    return jobs


async def polls(rig: Rig, jobs: list[Job]) -> list[int]:
    """How often each was looked at."""
    return [(await rig.job(job.id)).polls for job in jobs]


async def resting(rig: Rig) -> Any:
    """The account's row."""
    async with rig.house.database.read() as connection:
        return (await connection.execute(sa.select(tables.upstream_account))).one()


async def test_one_near_its_expiry_does_not_wait_behind_the_line(slow_rig: Rig) -> None:
    """Of fifty due jobs the one that nobody has looked at for long is next, whichever job the nudge was about."""
    ordinary = await running(slow_rig, 50)
    long_ago = slow_rig.house.clock.now() - timedelta(minutes=50)
    (dying,) = await running(slow_rig, 1, accepted_at=long_ago - timedelta(seconds=9), last_unfinished_at=long_ago)
    await polling.poll(slow_rig.shop, ordinary[0].id)
    assert await polls(slow_rig, [dying]) == [1]
    assert sum(await polls(slow_rig, ordinary)) == 0
    for job in ordinary:
        await polling.poll(slow_rig.shop, job.id)
    # What the bucket holds, and what it got meanwhile; the rest waits without a word in its row.
    assert 1 <= sum(await polls(slow_rig, ordinary)) < 50


async def test_jobs_that_hang_do_not_take_the_others_turns(slow_rig: Rig) -> None:
    """Of forty stalled jobs and some ordinary ones the latter are all looked at, of the former only a few."""
    now = slow_rig.house.clock.now()
    stalled = await running(
        slow_rig, 40, accepted_at=now - timedelta(hours=2), last_unfinished_at=now - timedelta(minutes=5)
    )
    ordinary = await running(slow_rig, 4)
    for _ in range(8):
        await polling.poll(slow_rig.shop, stalled[0].id)
    assert min(await polls(slow_rig, ordinary)) >= 1
    assert 1 <= sum(await polls(slow_rig, stalled)) <= 4


async def test_old_is_not_stalled(rig: Rig) -> None:
    """A job that was not looked at while the workers were away is nobody's slow lane; nor one unseen for long."""
    now = rig.house.clock.now()
    away = now - timedelta(minutes=20)
    (unseen,) = await running(rig, 1, accepted_at=away, last_unfinished_at=None)
    (early,) = await running(rig, 1, accepted_at=away, last_unfinished_at=away + timedelta(seconds=40))
    (hangs,) = await running(rig, 1, accepted_at=away, last_unfinished_at=now - timedelta(seconds=9))
    (dying,) = await running(
        rig, 1, accepted_at=now - timedelta(hours=3), last_unfinished_at=now - timedelta(minutes=31)
    )
    async with rig.house.database.read() as connection:
        slow, plain = await line.turns(connection, rig.shop, rig.house.clock.now())
    assert slow.stalled
    assert slow.job_ids == (hangs.id,)
    assert plain.job_ids == (dying.id, unseen.id, early.id)


async def test_many_unknown_jobs_at_once_are_the_wrong_account(rig: Rig) -> None:
    """Submitting pauses, nobody is lost though ten minutes go by, and one answer in order ends it."""
    jobs = await running(rig, 4)
    queued = await rig.order()
    for job in jobs:
        await polling.poll(rig.shop, job.id)
    async with rig.house.database.read() as connection:
        assert (await connection.execute(sa.select(tables.upstream_account.c.pause_reason))).scalar_one() == (
            account.WRONG_ACCOUNT
        )
    await submission.submit(rig.shop)
    assert (await rig.job(queued.id)).state is State.QUEUED
    await rig.hurry(missing_since_at=timedelta(minutes=11), due_at=timedelta(minutes=11))
    for job in jobs:
        await polling.poll(rig.shop, job.id)
    assert [(await rig.job(job.id)).state for job in jobs] == [State.RUNNING] * 4
    async with rig.house.database.write() as tx:
        await account.right_account(tx)
    assert (await rig.step(queued)).state is State.RUNNING


@pytest.mark.parametrize(
    ("answer", "after"),
    [
        (answers.Accepted("job_of_the_wrong_account", 202, CREDIT, 90 * CREDIT), State.RUNNING),
        (answers.Refused(Refusal.OUT_OF_CREDITS, 402), State.QUEUED),
    ],
    ids=["accepted", "out_of_credits"],
)
async def test_the_wrong_account_is_not_right_because_it_takes_orders(
    rig: Rig, answer: answers.Submission, after: State
) -> None:
    """A POST that was on its way when the pause began does not end it; its trial, sent when it is over, does."""
    sent = await rig.order()
    claimed = await claims.take_queued(rig.shop, rig.house.clock.now())
    assert claimed is not None
    await attempts.open(rig.shop, claimed, rig.house.clock.now())
    jobs = await running(rig, 4)
    for job in jobs:
        await polling.poll(rig.shop, job.id)
    await booking.book(rig.shop, sent.id, 1, answer, claimed.claim)
    assert (await rig.job(sent.id)).state is after
    known = await resting(rig)
    assert known.pause_reason == account.WRONG_ACCOUNT
    assert known.paused_until > rig.house.clock.now()
    async with rig.house.database.write() as tx:
        await account.answered(tx, known.paused_until)
    assert (await resting(rig)).pause_reason is None


async def test_an_operator_can_give_unknown_jobs_up(rig: Rig) -> None:
    """After the operator's resume those that were missing make no crowd again, and are lost after their ten minutes."""
    jobs = await running(rig, 4)
    for job in jobs:
        await polling.poll(rig.shop, job.id)
    async with rig.house.database.write() as tx:
        await account.resume(tx)
    await rig.hurry(missing_since_at=timedelta(minutes=11), due_at=timedelta(minutes=11))
    for job in jobs:
        await polling.poll(rig.shop, job.id)
    found = [await rig.job(job.id) for job in jobs]
    assert {(job.state, job.error_code) for job in found} == {(State.FAILED, Failure.UPSTREAM_LOST)}


async def test_one_unknown_job_among_many_is_its_own_matter(rig: Rig) -> None:
    """A single 404 pauses nobody."""
    await running(rig, 4, due_at=rig.house.clock.now() + timedelta(hours=1))
    (lost,) = await running(rig, 1)
    await polling.poll(rig.shop, lost.id)
    async with rig.house.database.read() as connection:
        assert (await connection.execute(sa.select(tables.upstream_account.c.pause_reason))).scalar_one() is None


async def test_the_accounts_rest_does_not_count_as_waiting(rig: Rig, emulator: EmulatorProcess) -> None:
    """While credits are out nobody's patience runs, the trial goes all the same, and its success pushes deadlines."""
    emulator.switch(balance=0)
    first, second = await rig.order(), await rig.order()
    await rig.step(first)
    row = tables.upstream_account
    half_ago = rig.house.clock.now() - HALF_AN_HOUR
    async with rig.house.database.write() as tx:
        await tx.execute(row.update().values(held_since_at=half_ago, paused_until=half_ago))
    await rig.hurry(created_at=timedelta(minutes=80), queue_deadline_at=timedelta(minutes=80))
    held = await rig.job(second.id)
    await sweep.queue_deadlines(rig.shop)
    await sweep.released(rig.shop)
    assert (await rig.job(second.id)).state is State.QUEUED
    # Still out of credits: the trial is one job, and the hold goes on since its beginning.
    await rig.hurry(due_at=timedelta(minutes=5))
    await rig.step(await rig.job(first.id))
    await rig.step(await rig.job(second.id))
    assert emulator.books()["totals"]["submitsReceived"] == 2
    emulator.switch(balance=100)
    async with rig.house.database.write() as tx:
        assert (await tx.execute(sa.select(row.c.held_since_at))).scalar_one() == half_ago
        await account.topup(tx, 100 * CREDIT, rig.house.clock.now())
    await rig.hurry(due_at=timedelta(minutes=5))
    trial = await claims.take_queued(rig.shop, rig.house.clock.now())
    assert trial is not None
    assert await claims.take_queued(rig.shop, rig.house.clock.now()) is None
    await claims.give_back(rig.shop, trial)
    ran = await rig.drive(await rig.job(trial.id), State.RUNNING)
    other = second if ran.id == first.id else first
    await sweep.released(rig.shop)
    gained = (await rig.job(other.id)).queue_deadline_at - held.queue_deadline_at
    assert HALF_AN_HOUR - timedelta(seconds=5) <= gained < HALF_AN_HOUR + timedelta(minutes=1)
    await sweep.queue_deadlines(rig.shop)
    assert (await rig.job(other.id)).state is State.QUEUED


async def test_nothing_is_held_longer_than_a_day_by_the_account(rig: Rig, emulator: EmulatorProcess) -> None:
    """A job that waits for credits for a day ends, unpaid."""
    emulator.switch(balance=0)
    job = await rig.order()
    await rig.step(job)
    await rig.hurry(created_at=timedelta(hours=24), queue_deadline_at=timedelta(hours=24))
    await sweep.queue_deadlines(rig.shop)
    ended = await rig.job(job.id)
    assert (ended.state, ended.error_code) == (State.FAILED, Failure.EXPIRED)
    assert await rig.balance() == (0, 0)


@pytest.mark.parametrize("state", [State.RUNNING, State.SUBMISSION_UNKNOWN])
async def test_a_job_that_hangs_gives_its_slot_back(slow_rig: Rig, state: State) -> None:
    """After 15 minutes upstream, running or unknown, the only slot is free for the next job."""
    (hangs,) = await running(slow_rig, 1)
    now = slow_rig.house.clock.now()
    await write(slow_rig, hangs, state=state, submitted_at=now, accepted_at=now)
    waiting = await slow_rig.order()
    assert await claims.take_queued(slow_rig.shop, now) is None
    later = now + timedelta(minutes=15, seconds=1)
    taken = await claims.take_queued(slow_rig.shop, later)
    assert taken is not None
    assert taken.id == waiting.id


async def test_a_killed_workers_slot_is_free_again(slow_rig: Rig) -> None:
    """What a dead worker had claimed to send takes no slot once its death was seen."""
    first = await slow_rig.order()
    assert await claims.take_queued(slow_rig.shop, slow_rig.house.clock.now()) is not None
    await slow_rig.order()
    assert await claims.take_queued(slow_rig.shop, slow_rig.house.clock.now()) is None
    await sweep.free(slow_rig.shop, slow_rig.shop.worker_id)
    taken = await claims.take_queued(slow_rig.shop, slow_rig.house.clock.now())
    assert taken is not None
    assert taken.id == first.id


async def test_a_real_limiter_is_followed(rig: Rig, emulator: EmulatorProcess) -> None:
    """An upstream that allows less than we do says so in its headers, and becomes the rate for everyone."""
    emulator.switch(rate_limit_rpm=30)
    await rig.drive(await rig.order(), State.RUNNING)
    assert (await rig.shop.pacer.standing()).rpm <= 30


async def test_a_poll_that_is_refused_for_pace_halts_everyone(rig: Rig, emulator: EmulatorProcess) -> None:
    """A 429 to a poll halts submits too, for as long as it says."""
    job = await rig.drive(await rig.order(), State.RUNNING)
    emulator.switch(poll_fault={"kind": "status", "status": 429, "retry_after_s": 30, "times": 1})
    await write(rig, job, due_at=rig.house.clock.now())
    await polling.poll(rig.shop, job.id)
    standing = await rig.shop.pacer.standing()
    assert 20 < standing.halted_s <= 30
    assert standing.rpm < rig.shop.pacer.requests_per_minute
