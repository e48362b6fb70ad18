"""Which ends are told, and what is told of a submission that nobody knows about."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.jobs import settlement, sweep
from gateway.jobs.announce import Event, Status
from gateway.jobs.record import Job
from gateway.jobs.settlement import Verdict
from gateway.jobs.states import State
from gateway.storage import tables
from tests.support import hooked
from tests.support.emulator import EmulatorProcess
from tests.support.hooked import Hooked
from tests.support.receiver import Receiver

DAY = timedelta(hours=24)


@pytest.fixture
async def hook(emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Hooked]:
    """Give a gateway whose webhooks may reach loopback."""
    emulator.switch(time_scale=0.0)
    async with hooked.hooked(emulator, database_url, redis_url, tmp_path) as built:
        yield built


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Give a receiver that answers 204."""
    async with Receiver().listening() as opened:
        yield opened


async def told(receiver: Receiver) -> list[tuple[str, str, bool]]:
    """What was received: type, status, and whether the failure is provisional."""
    return [
        (
            message.content["type"],
            message.content["data"]["status"],
            message.content["data"].get("error", {}).get("provisional", False),
        )
        for message in receiver.messages
    ]


async def in_doubt(hook: Hooked, emulator: EmulatorProcess, receiver: Receiver) -> Job:
    """A job whose answer was lost after the upstream had taken it."""
    emulator.switch(time_scale=0.0, submit_fault={"kind": "cut_after", "times": 1})
    return await hook.rig.drive(await hook.rig.order(webhook_url=receiver.url()), State.SUBMISSION_UNKNOWN)


async def test_a_failure_is_told(hook: Hooked, receiver: Receiver, emulator: EmulatorProcess) -> None:
    """A job that the upstream failed is told as `job.failed`, with its error."""
    emulator.switch(time_scale=0.0, outcome=[{"kind": "failed", "times": 1}])
    job = await hook.rig.drive(await hook.rig.order(webhook_url=receiver.url()))
    assert job.state is State.FAILED
    await hook.deliver()
    assert await told(receiver) == [("job.failed", "failed", False)]
    assert receiver.messages[0].content["data"]["error"]["code"] == "upstream_failed"


async def test_a_job_that_waited_too_long_is_told(hook: Hooked, receiver: Receiver) -> None:
    """An end that a sweep makes is told as any other."""
    await hook.rig.order(webhook_url=receiver.url())
    await hook.rig.hurry(queue_deadline_at=DAY)
    await sweep.queue_deadlines(hook.shop)
    await hook.deliver()
    assert receiver.messages[0].content["data"]["error"]["code"] == "queue_timeout"


async def test_an_event_is_of_its_own_transaction(hook: Hooked, receiver: Receiver) -> None:
    """An end that is rolled back leaves no event behind."""
    job = await hook.rig.order(webhook_url=receiver.url())
    with pytest.raises(RuntimeError):
        await hook.break_off_cancelling(job)
    assert (await hook.rig.job(job.id)).state is State.QUEUED
    assert await hook.all() == []


async def test_a_doubt_is_told_once_after_its_time(hook: Hooked, receiver: Receiver, emulator: EmulatorProcess) -> None:
    """A caller who waits for the webhook alone hears of the doubt when GET tells it, once, and of its end."""
    job = await in_doubt(hook, emulator, receiver)
    await hook.sweep()
    assert await hook.all() == []
    await hook.rig.hurry(submitted_at=timedelta(seconds=61))
    for _ in range(3):
        await hook.sweep()
        await hook.deliver()
    assert await told(receiver) == [("job.failed", "failed", True)]
    assert receiver.messages[0].content["data"]["error"]["code"] == "submission_unknown"
    await hook.rig.hurry(quiet_at=DAY)
    await settlement.settle(hook.rig.house.database, hook.rig.house.clock, job.id, Verdict.CHARGED)
    await hook.deliver()
    assert (await told(receiver))[1:] == [("job.failed", "failed", False)]
    assert len({message.id for message in receiver.messages}) == 2


async def test_a_doubt_that_ends_well_has_an_event_of_its_own(
    hook: Hooked, receiver: Receiver, emulator: EmulatorProcess
) -> None:
    """A job that was told as failed and is found after all is told as completed, under an id of its own."""
    job = await in_doubt(hook, emulator, receiver)
    await hook.rig.hurry(submitted_at=timedelta(seconds=61), quiet_at=DAY)
    await hook.sweep()
    await hook.deliver()
    (upstream_job,) = emulator.books()["jobs"]
    await settlement.found(hook.rig.house.database, hook.rig.house.clock, job.id, upstream_job["jobId"])
    assert (await hook.rig.drive(await hook.rig.job(job.id))).state is State.COMPLETED
    await hook.deliver()
    assert await told(receiver) == [("job.failed", "failed", True), ("job.completed", "completed", False)]
    assert len({message.id for message in receiver.messages}) == 2


async def test_what_is_not_so_any_more_is_not_sent(hook: Hooked, receiver: Receiver, emulator: EmulatorProcess) -> None:
    """A doubt that was settled before its message went out is told by the later event alone."""
    job = await in_doubt(hook, emulator, receiver)
    await hook.rig.hurry(submitted_at=timedelta(seconds=61), quiet_at=DAY)
    await hook.sweep()
    await settlement.settle(hook.rig.house.database, hook.rig.house.clock, job.id, Verdict.NOT_CHARGED)
    await hook.deliver()
    assert await told(receiver) == [("job.failed", "failed", False)]
    assert {(found.provisional, found.state) for found in await hook.all(job)} == {
        (True, Status.SUPERSEDED),
        (False, Status.DELIVERED),
    }
    assert {found.type for found in await hook.all(job)} == {Event.FAILED}


async def test_the_url_is_ours_alone(hook: Hooked, receiver: Receiver, emulator: EmulatorProcess) -> None:
    """The URL is kept with the job and is in nothing that the upstream is sent or that its sidecar says."""
    job = await hook.rig.drive(await hook.rig.order(webhook_url=receiver.url()))
    assert job.webhook_url == receiver.url()
    assert "webhook_url" not in job.parameters
    async with hook.rig.house.database.read() as connection:
        row = (await connection.execute(tables.jobs.select())).one()
    assert receiver.url() not in str(row.parameters)
    assert receiver.url() not in str(emulator.books())
