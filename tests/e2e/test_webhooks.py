"""Webhooks by real worker processes, and what their deaths cost."""

from collections.abc import AsyncIterator, Callable

import pytest

from gateway.jobs.states import State
from gateway.tenancy import teams
from tests.support import hooked, wait
from tests.support.emulator import EmulatorProcess
from tests.support.process import Process
from tests.support.receiver import Receiver
from tests.support.rig import Rig

StartWorker = Callable[..., Process]
NETS = {"TORII_WEBHOOK_ALLOW_NETS": hooked.LOOPBACK}


@pytest.fixture
async def receiver(rig: Rig) -> AsyncIterator[Receiver]:
    """Give a receiver that the rig's team is told at."""
    async with Receiver().listening() as opened:
        async with rig.house.database.write() as tx:
            await teams.set_webhook(tx, rig.caller.team_id, opened.url())
        yield opened


async def test_a_picture_is_told(
    rig: Rig, emulator: EmulatorProcess, start_worker: StartWorker, receiver: Receiver
) -> None:
    """From the order to the receiver through a worker: one message, with the picture's link, soon after the end."""
    emulator.switch(time_scale=0.01)
    start_worker(**NETS)
    job = await rig.order()
    assert await rig.ended(job.id) == [State.COMPLETED]
    await wait.until(lambda: bool(receiver.messages), timeout_s=10, what="the receiver is told")
    (message,) = receiver.messages
    assert message.content["data"]["jobId"] == job.id
    assert message.content["data"]["output"]["images"]


async def test_a_worker_killed_while_it_calls(
    rig: Rig, emulator: EmulatorProcess, start_worker: StartWorker, receiver: Receiver
) -> None:
    """A message whose worker died in the middle of the call comes again from another one, under the same id."""
    emulator.switch(time_scale=0.01)
    receiver.free.clear()
    doomed = start_worker("doomed", **NETS)
    await rig.order()
    await wait.until(lambda: bool(receiver.messages), timeout_s=20, what="the first call is under way")
    doomed.kill()
    receiver.free.set()
    start_worker("heir", **NETS)
    await wait.until(lambda: len(receiver.messages) == 2, timeout_s=30, what="the message came again")
    first, second = receiver.messages
    assert first.id == second.id
