"""What an operator has stopped: its jobs wait, without running out of time, and go on afterwards."""

import asyncio
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import accept, claims, pauses, sweep
from gateway.jobs.pauses import Scope
from gateway.jobs.record import Job
from gateway.jobs.states import Failure, State
from gateway.reuse import choices
from gateway.storage import tables
from tests.support import crowd, wait
from tests.support.rig import MODEL, Rig

SIBLING = "flux-2-flex"
HALF_AN_HOUR = timedelta(minutes=30)
MILLISECOND = timedelta(milliseconds=1)


def subject(rig: Rig, scope: Scope) -> str:
    """What a pause of that scope has to name to hold the rig's jobs."""
    return {Scope.ALL: "", Scope.TEAM: rig.caller.team_id, Scope.MODEL: MODEL}[scope]


async def pause(rig: Rig, scope: Scope, ago: timedelta = timedelta(), name: str | None = None) -> bool:
    """Pause, some time ago."""
    async with rig.house.database.write() as tx:
        since_at = rig.house.clock.now() - ago
        return await pauses.pause(tx, scope, subject(rig, scope) if name is None else name, since_at)


async def resume(rig: Rig, scope: Scope, at: datetime | None = None) -> bool:
    """Resume."""
    async with rig.house.database.write() as tx:
        return await pauses.resume(tx, scope, subject(rig, scope), at or rig.house.clock.now())


async def take(rig: Rig) -> str | None:
    """Claim the next job; its id, and none only where the look before said so too."""
    now = rig.house.clock.now()
    async with rig.house.database.read() as connection:
        outlook = await claims.outlook(connection, rig.shop.concurrency, now)
    job = await claims.take_queued(rig.shop, now)
    assert outlook.open == (job is not None)
    return None if job is None else job.id


async def sibling(rig: Rig) -> Job:
    """A queued job of another model."""
    body = {"prompt": "a lantern"}
    return (await accept.accept(rig.house.counter, rig.caller, SIBLING, body)).job


async def test_a_paused_job_waits_and_goes_on(rig: Rig) -> None:
    """What a pause holds is accepted and not claimed, and goes on once it is resumed."""
    for scope in Scope:
        assert await pause(rig, scope)
        job = await rig.order()
        assert await take(rig) is None
        assert await resume(rig, scope)
        assert await take(rig) == job.id


async def test_a_paused_model_or_team_holds_nobody_else(rig: Rig) -> None:
    """Jobs of another model go on, and a pause of another team is none of theirs."""
    await pause(rig, Scope.MODEL)
    await pause(rig, Scope.TEAM, name="team_of_someone_else")
    held, free = await rig.order(), await sibling(rig)
    assert await take(rig) == free.id
    assert await take(rig) is None
    assert (await rig.job(held.id)).state is State.QUEUED


async def test_a_sent_job_is_not_held(rig: Rig) -> None:
    """A pause stops the sending only: what runs upstream comes home."""
    job = await rig.drive(await rig.order(), State.RUNNING)
    await pause(rig, Scope.ALL)
    assert (await rig.drive(job)).state is State.COMPLETED


async def test_a_pause_is_in_force_once(rig: Rig) -> None:
    """Pausing twice keeps the first time; resuming what is not paused does nothing; the list says what is."""
    assert await pause(rig, Scope.TEAM, HALF_AN_HOUR)
    assert not await pause(rig, Scope.TEAM)
    await pause(rig, Scope.ALL)
    async with rig.house.database.read() as connection:
        found = await pauses.listing(connection)
    assert [(pause.scope, pause.subject) for pause in found] == [(Scope.TEAM, rig.caller.team_id), (Scope.ALL, "")]
    assert found[1].since_at - found[0].since_at >= HALF_AN_HOUR
    assert not await resume(rig, Scope.MODEL)
    assert await resume(rig, Scope.TEAM)
    assert not await resume(rig, Scope.TEAM)


async def test_a_pause_does_not_count_as_waiting(rig: Rig) -> None:
    """A held job outlives its deadline, and afterwards has as much patience as it had when the pause began."""
    for scope in Scope:
        job = await rig.order()
        await rig.hurry(created_at=timedelta(minutes=80), queue_deadline_at=timedelta(minutes=80))
        await pause(rig, scope, HALF_AN_HOUR)
        await sweep.queue_deadlines(rig.shop)
        held = await rig.job(job.id)
        assert held.state is State.QUEUED
        await resume(rig, scope)
        pushed = await rig.job(job.id)
        assert timedelta() <= pushed.queue_deadline_at - held.queue_deadline_at - HALF_AN_HOUR < timedelta(seconds=10)
        await sweep.queue_deadlines(rig.shop)
        assert (await rig.job(job.id)).state is State.QUEUED
        await rig.hurry(queue_deadline_at=HALF_AN_HOUR)
        await sweep.queue_deadlines(rig.shop)
        ended = await rig.job(job.id)
        assert (ended.state, ended.error_code) == (State.FAILED, Failure.QUEUE_TIMEOUT)
    assert await rig.balance() == (0, 0)


async def test_a_job_accepted_during_a_pause_gains_its_own_wait_only(rig: Rig) -> None:
    """Its patience begins with the end of the pause, not with an end that lies further off."""
    await pause(rig, Scope.ALL, timedelta(hours=5))
    job = await rig.order()
    at = job.created_at + timedelta(minutes=7)
    await resume(rig, Scope.ALL, at)
    gained = (await rig.job(job.id)).queue_deadline_at - job.queue_deadline_at
    assert abs(gained - timedelta(minutes=7)) <= MILLISECOND


async def test_time_under_two_pauses_counts_once(rig: Rig) -> None:
    """Whichever of two overlapping pauses ends first, the deadline moves by the time that at least one held."""
    gains = []
    for first, second in ((Scope.TEAM, Scope.MODEL), (Scope.MODEL, Scope.TEAM)):
        job = await rig.order()
        start = job.created_at
        async with rig.house.database.write() as tx:
            await pauses.pause(tx, Scope.TEAM, subject(rig, Scope.TEAM), start + timedelta(minutes=1))
            await pauses.pause(tx, Scope.MODEL, subject(rig, Scope.MODEL), start + timedelta(minutes=5))
        await resume(rig, first, start + timedelta(minutes=8))
        await resume(rig, second, start + timedelta(minutes=10))
        gains.append((await rig.job(job.id)).queue_deadline_at - job.queue_deadline_at)
    assert all(abs(gain - timedelta(minutes=9)) <= 2 * MILLISECOND for gain in gains), gains


async def test_nothing_waits_longer_than_a_day(rig: Rig) -> None:
    """A pause pushes no deadline beyond a day after the acceptance, and then the job ends, paused or not."""
    await pause(rig, Scope.ALL, timedelta(hours=30))
    job = await rig.order()
    await rig.hurry(created_at=timedelta(hours=23, minutes=50), queue_deadline_at=timedelta(hours=23, minutes=50))
    await sweep.queue_deadlines(rig.shop)
    assert (await rig.job(job.id)).state is State.QUEUED
    await resume(rig, Scope.ALL)
    pushed = await rig.job(job.id)
    assert abs(pushed.queue_deadline_at - pushed.created_at - timedelta(hours=24)) <= MILLISECOND
    await pause(rig, Scope.ALL)
    await rig.hurry(created_at=timedelta(minutes=10), queue_deadline_at=timedelta(minutes=10))
    await sweep.queue_deadlines(rig.shop)
    ended = await rig.job(job.id)
    assert (ended.state, ended.error_code) == (State.FAILED, Failure.EXPIRED)


async def test_only_queued_jobs_of_the_subject_are_pushed(rig: Rig) -> None:
    """Resuming a model moves no other model's deadline, and none of a job that has ended."""
    other, done = await sibling(rig), await rig.order()
    async with rig.house.database.write() as tx:
        await tx.execute(tables.jobs.update().where(tables.jobs.c.id == done.id).values(state=State.CANCELLED))
    await pause(rig, Scope.MODEL)
    await resume(rig, Scope.MODEL, rig.house.clock.now() + HALF_AN_HOUR)
    for job in (other, done):
        assert (await rig.job(job.id)).queue_deadline_at == job.queue_deadline_at


async def test_a_resume_and_the_end_of_a_flight_wait_in_line(rig: Rig) -> None:
    """Both lock the leader first and then who follows, of whatever team: neither ever waits for the other in a ring."""
    other = await crowd.team(rig, "others", crowd.SHARES)
    async with rig.house.database.write() as tx:
        await choices.put(tx, rig.caller.team_id, crowd.SHARES)
    leader = (await crowd.ask(rig, other, chosen=crowd.SHARES)).job
    follower = (await crowd.ask(rig, chosen=crowd.SHARES)).job
    assert follower.follows == leader.id
    assert await pause(rig, Scope.ALL, HALF_AN_HOUR)
    async with rig.house.database.write() as end:
        # As the end of the leader would.
        await _lock(end, leader)
        resumed = asyncio.create_task(resume(rig, Scope.ALL))
        await wait.until(lambda: crowd.somebody_waits(rig), timeout_s=5, what="the resume waits for the leader")
        await _lock(end, follower)
    assert await resumed
    assert (await rig.job(leader.id)).queue_deadline_at > leader.queue_deadline_at
    pushed, until = (await rig.job(follower.id)).follows_until, follower.follows_until
    assert pushed is not None
    assert until is not None
    assert pushed > until


async def _lock(tx: AsyncConnection, job: Job) -> None:
    await tx.execute(sa.select(tables.jobs.c.id).where(tables.jobs.c.id == job.id).with_for_update())
