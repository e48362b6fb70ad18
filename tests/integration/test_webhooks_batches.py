"""What is told of batches: one message a batch, and of its jobs only what they ask for themselves."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.jobs import batch_sweep, batches, batching, delivery_log, gate, sweep
from gateway.jobs.announce import Status
from gateway.jobs.states import State
from gateway.storage import outbox, tables
from gateway.tenancy import teams
from tests.support import crowd, hooked
from tests.support.emulator import EmulatorProcess
from tests.support.hooked import Hooked
from tests.support.receiver import Receiver
from tests.support.rig import MODEL


@pytest.fixture
async def hook(emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Hooked]:
    """Give a gateway whose webhooks may reach loopback."""
    async with hooked.hooked(emulator, database_url, redis_url, tmp_path) as built:
        yield built


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Give a receiver that answers 204."""
    async with Receiver().listening() as opened:
        yield opened


async def test_a_batch_is_told_of_as_a_whole(hook: Hooked, receiver: Receiver) -> None:
    """The team's own URL hears of the batch alone, signed and with its counts; a job's own URL hears of that job."""
    rig = hook.rig
    secret = await hook.new_secret()
    async with rig.house.database.write() as tx:
        await teams.set_webhook(tx, rig.caller.team_id, receiver.url("/team"))
    items = [{"prompt": "a"}, {"prompt": "b", "webhook_url": receiver.url("/job")}]
    body = {"model": MODEL, "items": items, "torii": {"metadata": {"of": "ours"}}}
    made = await batching.make(rig.house.counter, rig.caller, body, None, gate.Anyone(), crowd.wish(rig.caller))
    house = rig.house
    await batches.cancel(house.database, house.clock, rig.caller.team_id, made.batch.id, None)
    await hook.sweep()
    await hook.deliver()
    told = {message.path: message for message in receiver.messages}
    assert set(told) == {"/team", "/job"}
    assert told["/job"].content["type"] == "job.cancelled"
    message = told["/team"]
    assert message.proven(secret)
    assert message.content["type"] == "batch.finished"
    data = message.content["data"]
    assert (data["batchId"], data["status"], data["total"]) == (made.batch.id, "finished", 2)
    assert data["counts"] == {"pending": 0, "processing": 0, "completed": 0, "failed": 2, "cancelled": 2}
    assert (data["torii"]["metadata"], "items" in data) == ({"of": "ours"}, False)
    (found,) = [each for each in await hook.all() if each.batch_id is not None]
    assert (found.state, found.job_id) == (Status.DELIVERED, None)
    async with house.database.write() as tx:
        await delivery_log.replay(tx, "somebody", found, house.clock.now())
    await hook.deliver()
    assert [each.id for each in receiver.messages].count(found.id) == 2


async def test_a_doubt_about_a_job_of_a_batch(hook: Hooked) -> None:
    """That a job of a batch is in doubt is not told to its team, and no sweep tries that for ever."""
    rig = hook.rig
    async with rig.house.database.write() as tx:
        await teams.set_webhook(tx, rig.caller.team_id, "https://hooks.example/team")
    body = {"model": MODEL, "items": [{"prompt": "a"}]}
    await batching.make(rig.house.counter, rig.caller, body, None, gate.Anyone(), crowd.wish(rig.caller))
    early = rig.house.clock.now() - timedelta(minutes=30)
    async with rig.house.database.write() as tx:
        await tx.execute(tables.jobs.update().values(state=State.SUBMISSION_UNKNOWN, submitted_at=early))
    await sweep.ALL["deliveries"](rig.shop)
    await batch_sweep.finish(rig.shop)
    assert await crowd.rows(rig, outbox.deliveries) == []
