"""The upstream's own calls: hints that are verified, and never more than that."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.jobs import attempts, booking, evidence, hooks
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.storage import tables
from gateway.upstream import answers
from tests.support import rig as rigs
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig

CREDIT = 1_000_000
BASE = "http://127.0.0.1:9/never-called"


@pytest.fixture
async def called(emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Rig]:
    """Give a gateway that asks to be called; the test makes the calls, so the list is switched off."""
    emulator.switch(job_list=False, webhooks="never")
    more = {"TORII_UPSTREAM_WEBHOOKS": "true", "TORII_PUBLIC_URL": BASE}
    async with rigs.rig(rigs.environment(emulator, database_url, redis_url, tmp_path, **more)) as built:
        yield built


def token_of(emulator: EmulatorProcess, number: int = 0) -> str:
    """The token that went upstream with a job."""
    url: str = emulator.books()["jobs"][number]["webhookUrl"]
    assert url.startswith(f"{BASE}/hooks/upstream/")
    return url.rpartition("/")[2]


async def call(rig: Rig, token: str, named: str | None) -> None:
    """The call as the front door hands it on."""
    await hooks.take(rig.house.database, rig.house.queue, token, named, rig.house.clock.now())


async def row(rig: Rig, job: Job) -> Any:
    """The row of the job's first attempt."""
    attempt = tables.attempts
    async with rig.house.database.read() as connection:
        return (await connection.execute(sa.select(attempt).where(attempt.c.job_id == job.id))).first()


async def lost(rig: Rig, emulator: EmulatorProcess) -> Job:
    """A job whose answer was lost."""
    emulator.switch(submit_fault={"kind": "cut_after", "times": 1})
    return await rig.drive(await rig.order(), State.SUBMISSION_UNKNOWN)


async def test_a_call_makes_a_running_job_due_at_once(called: Rig, emulator: EmulatorProcess) -> None:
    """The next look is now; a flood of calls is one look, and the one after it comes seconds later."""
    emulator.switch(duration_s=6000)
    job = await called.drive(await called.order(), State.RUNNING)
    token = token_of(emulator)
    assert hooks.digest(token) == (await row(called, job)).hook_digest
    await called.hurry(due_at=timedelta(hours=-1))
    for _ in range(20):
        await call(called, token, job.upstream_job_id)
    hurried = await called.job(job.id)
    assert hurried.due_at <= called.house.clock.now()
    assert hurried.nudges == job.nudges + 1
    assert (await row(called, job)).hint_due_at > called.house.clock.now()
    await called.step(hurried)
    assert emulator.books()["totals"]["polls"] == 1


async def test_a_call_before_the_answer_is_not_lost(called: Rig, emulator: EmulatorProcess) -> None:
    """A call that overtakes the 202 changes nothing yet; once the answer is booked, the job is looked at at once."""
    emulator.switch(duration_s=6000)
    model = next(model for model in called.shop.catalogue if model.api_id == "flux-2-max")
    job = await called.order()
    token = hooks.token()
    async with called.house.database.write() as tx:
        await tx.execute(tables.jobs.update().where(tables.jobs.c.id == job.id).values(claim="clm_test"))
    opened = await attempts.open(called.shop, await called.job(job.id), called.house.clock.now(), token.digest)
    assert opened is not None
    answer = await called.shop.upstream.submit(model.api_id, {"prompt": "a torii gate"})
    assert isinstance(answer, answers.Accepted)
    await call(called, token.text, answer.upstream_job_id)
    assert (await called.job(job.id)).state is State.SUBMITTING
    await evidence.look(called.shop)
    booked = await booking.book(called.shop, job.id, 1, answer)
    assert booked is not None
    assert booked.due_at <= called.house.clock.now()


async def test_a_call_finds_an_unknown_job(called: Rig, emulator: EmulatorProcess) -> None:
    """The job that a call names is read before it is believed; then it runs on, found by webhook, paid once."""
    job = await lost(called, emulator)
    (upstream,) = emulator.books()["jobs"]
    await call(called, token_of(emulator), upstream["jobId"])
    assert (await called.job(job.id)).state is State.SUBMISSION_UNKNOWN
    await evidence.look(called.shop)
    assert (await row(called, job)).evidence == "webhook"
    # The call at its end would bring the look; none is made here, so that what was found is looked at by hand.
    emulator.wait_for(lambda books: books["jobs"][0]["status"] == "completed")
    await called.hurry(due_at=timedelta(hours=1))
    assert (await called.drive(await called.job(job.id))).state is State.COMPLETED
    assert await called.balance() == (0, 2 * CREDIT)
    assert emulator.books()["totals"]["submitsReceived"] == 1


async def test_a_call_that_names_another_job_is_not_believed(called: Rig, emulator: EmulatorProcess) -> None:
    """Neither a job that is ours already, nor one that does not exist, nor none at all ends a doubt."""
    first = await called.drive(await called.order(), State.RUNNING)
    job = await lost(called, emulator)
    token = token_of(emulator, 1)
    for named in (first.upstream_job_id, "job_of_nobody", None):
        await call(called, token, named)
        await evidence.look(called.shop)
        assert (await called.job(job.id)).state is State.SUBMISSION_UNKNOWN
        await called.hurry(hinted_at=timedelta(minutes=5))
        async with called.house.database.write() as tx:
            mine = tables.attempts
            await tx.execute(mine.update().where(mine.c.job_id == job.id).values(hint_due_at=None))
    assert (await called.job(first.id)).upstream_job_id == first.upstream_job_id
    assert await called.balance() == (2 * CREDIT, 2 * CREDIT)


async def test_a_job_that_cannot_be_read_yet_is_asked_for_again(called: Rig, emulator: EmulatorProcess) -> None:
    """A poll that fails leaves the hint for later; a job that stays unknown there is given up when all is quiet."""
    job = await lost(called, emulator)
    emulator.switch(poll_fault={"kind": "status", "status": 503, "times": 1})
    (upstream,) = emulator.books()["jobs"]
    await call(called, token_of(emulator), upstream["jobId"])
    await evidence.look(called.shop)
    again = await row(called, job)
    assert (again.outcome, again.hinted_upstream_job_id) == ("unknown", upstream["jobId"])
    assert again.hint_due_at > called.house.clock.now()
    await called.hurry(hint_due_at=timedelta(minutes=1))
    await evidence.look(called.shop)
    assert (await called.job(job.id)).state is State.RUNNING


async def test_two_workers_verify_a_hint_once(called: Rig, emulator: EmulatorProcess) -> None:
    """Turns at the same moment read the named job once and charge it once."""
    job = await lost(called, emulator)
    (upstream,) = emulator.books()["jobs"]
    await call(called, token_of(emulator), upstream["jobId"])
    await asyncio.gather(*(evidence.look(called.shop) for _ in range(3)))
    assert (await called.job(job.id)).state is State.RUNNING
    assert emulator.books()["totals"]["polls"] == 1
    assert await called.balance() == (0, 2 * CREDIT)


async def test_an_upstream_that_refuses_webhooks_costs_nothing(called: Rig, emulator: EmulatorProcess) -> None:
    """A 400 about webhook_url is not the caller's fault: the job is sent again without it, and so are the next ones."""
    emulator.switch(webhooks="off")
    job = await called.drive(await called.order(), State.RUNNING)
    assert job.attempt == 2
    assert (await called.drive(await called.order(), State.RUNNING)).attempt == 1
    assert emulator.books()["totals"]["submitsReceived"] == 3
    assert await called.balance() == (0, 4 * CREDIT)


async def test_without_the_setting_nothing_is_asked_for(rig: Rig, emulator: EmulatorProcess) -> None:
    """By default no address goes upstream, and no attempt has a token."""
    job = await rig.drive(await rig.order(), State.RUNNING)
    assert emulator.books()["jobs"][0]["webhookUrl"] is None
    assert (await row(rig, job)).hook_digest is None


async def test_a_job_that_can_never_be_read_is_asked_for_more_and_more_rarely(
    called: Rig, emulator: EmulatorProcess
) -> None:
    """Ten minutes after its POST a hint that cannot be verified is tried again in a minute, after a day never."""
    job = await lost(called, emulator)
    await call(called, token_of(emulator), "job_that_cannot_be_read")
    emulator.switch(poll_fault={"kind": "status", "status": 500, "times": 100})
    await called.hurry(opened_at=timedelta(minutes=10), hint_due_at=timedelta(minutes=1))
    before = called.house.clock.now()
    await evidence.look(called.shop)
    assert (await row(called, job)).hint_due_at > before + timedelta(seconds=55)
    await called.hurry(opened_at=timedelta(days=1), hint_due_at=timedelta(minutes=5))
    await evidence.look(called.shop)
    asked = await row(called, job)
    assert (asked.hint_due_at, asked.hinted_upstream_job_id) == (None, None)
