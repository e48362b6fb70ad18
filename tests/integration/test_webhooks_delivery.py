"""Webhooks from a job's end to its receiver, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.jobs import delivery, sweep
from gateway.jobs.announce import Status
from gateway.jobs.delivery import Result
from gateway.jobs.states import State
from gateway.jobs.tries import Outcome
from tests.support import hooked, ports, wait
from tests.support.emulator import EmulatorProcess
from tests.support.hooked import Hooked
from tests.support.receiver import Receiver, answer

DAY = timedelta(hours=24)


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


async def test_an_end_is_told_once(hook: Hooked, receiver: Receiver) -> None:
    """A job's end arrives once, signed, with the job as GET shows it; the log and the metrics have the try."""
    secret = await hook.new_secret()
    job = await hook.ended(receiver.url("/hook?for=us"))
    for _ in range(2):
        await hook.sweep()
        await hook.deliver()
    (message,) = receiver.messages
    assert message.proven(secret)
    assert not message.proven(secret, message.body.replace(b"job.cancelled", b"job.completed"))
    assert message.path == "/hook?for=us"
    assert message.headers["content-type"] == "application/json"
    assert message.content["type"] == "job.cancelled"
    assert message.content["data"]["jobId"] == job.id
    assert message.content["data"]["error"]["code"] == "cancelled"
    found = await hook.one(job)
    assert (found.id, found.state, found.tries) == (message.id, Status.DELIVERED, 1)
    assert [(row.outcome, row.status_code) for row in await hook.tries(found)] == [("delivered", 204)]
    assert hook.counted("torii_webhook_deliveries_total", outcome="delivered") == 1
    assert hook.counted("torii_job_stage_duration_seconds_count", stage="announce") == 1


async def test_a_completed_job_is_told_again_with_fresh_links(
    hook: Hooked, receiver: Receiver, emulator: EmulatorProcess
) -> None:
    """A message that was not taken comes again under its id and time of event, with links and signature made anew."""
    emulator.switch(time_scale=0.0)
    receiver.say(answer(500), answer(200))
    job = await hook.rig.drive(await hook.rig.order(webhook_url=receiver.url()))
    assert job.state is State.COMPLETED
    await hook.deliver()
    found = await hook.one(job)
    assert (found.state, found.outcome) == (Status.RETRYING, "refused")
    # Links and signatures tell whole seconds.
    await asyncio.sleep(1.1)
    await hook.pass_time(due_at=timedelta(minutes=1))
    await hook.deliver()
    first, second = receiver.messages
    assert first.id == second.id
    assert first.content["timestamp"] == second.content["timestamp"]
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert first.content["type"] == second.content["type"] == "job.completed"
    assert first.content["data"]["output"] != second.content["data"]["output"]
    assert first.content["data"]["assets"][0]["sha256"] == second.content["data"]["assets"][0]["sha256"]
    assert (await hook.one(job)).state is Status.DELIVERED


async def test_nobody_is_told_without_a_url(hook: Hooked) -> None:
    """Without a URL of its own or its team's an end writes no event, and nothing of a URL is sent upstream."""
    await hook.ended()
    await hook.sweep()
    assert await hook.all() == []


async def test_the_teams_url_is_the_one_in_force(hook: Hooked, receiver: Receiver) -> None:
    """A message to the team's own URL goes where the team is told at each try; an order's own URL wins."""
    await hook.set_default(f"http://127.0.0.1:{ports.free_one()}/gone")
    by_default, named = await hook.ended(), await hook.ended(receiver.url("/own"))
    await hook.deliver()
    assert (await hook.one(by_default)).outcome == "connect"
    await hook.set_default(receiver.url("/new"))
    await hook.pass_time(due_at=timedelta(minutes=1))
    await hook.deliver()
    assert sorted(message.path for message in receiver.messages) == ["/new", "/own"]
    assert {(await hook.one(job)).state for job in (by_default, named)} == {Status.DELIVERED}
    assert (await hook.one(by_default)).url == receiver.url("/new")


async def test_a_url_that_was_taken_away_ends_the_message(hook: Hooked, receiver: Receiver) -> None:
    """When the team has taken its URL away nothing more is sent there."""
    await hook.set_default(receiver.url())
    job = await hook.ended()
    await hook.set_default(None)
    await hook.deliver()
    found = await hook.one(job)
    assert (found.state, found.outcome) == (Status.DEAD, "no_url")
    assert receiver.connections == 0


@pytest.mark.parametrize(
    ("said", "state", "outcome"),
    [
        (answer(200), Status.DELIVERED, "delivered"),
        (answer(299), Status.DELIVERED, "delivered"),
        (answer(410), Status.DEAD, "gone"),
        (answer(302, "Location: http://127.0.0.1:1/elsewhere"), Status.RETRYING, "redirect"),
        (answer(404), Status.RETRYING, "refused"),
        (answer(429), Status.RETRYING, "refused"),
        (answer(503), Status.RETRYING, "refused"),
        (b"", Status.RETRYING, "cut"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", Status.RETRYING, "cut"),
        (b"garbage\r\n\r\n", Status.RETRYING, "cut"),
    ],
)
async def test_what_each_answer_means(
    hook: Hooked, receiver: Receiver, said: bytes, state: Status, outcome: str
) -> None:
    """Any 2xx is taken, 410 stops, and everything else, be it no HTTP at all, is tried again later."""
    receiver.say(said)
    job = await hook.ended(receiver.url())
    await hook.deliver()
    found = await hook.one(job)
    assert (found.state, found.outcome, receiver.connections) == (state, outcome, 1)
    if state is Status.RETRYING:
        assert timedelta(seconds=4) < found.due_at - found.created_at < timedelta(seconds=60)
    assert hook.counted("torii_webhook_deliveries_total", outcome="dead") == (state is Status.DEAD)


async def test_an_endless_answer_costs_nothing(hook: Hooked, receiver: Receiver) -> None:
    """A body is not read: a 200 that never ends is a delivery."""
    receiver.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    receiver.drip = b"400\r\n" + b"x" * 1024 + b"\r\n"
    job = await hook.ended(receiver.url())
    async with asyncio.timeout(8):
        await hook.deliver()
    assert (await hook.one(job)).state is Status.DELIVERED


async def test_a_receiver_is_heeded(hook: Hooked, receiver: Receiver) -> None:
    """Retry-After puts the next try off."""
    receiver.say(answer(503, "Retry-After: 900"))
    job = await hook.ended(receiver.url())
    await hook.deliver()
    found = await hook.one(job)
    assert timedelta(seconds=890) < found.due_at - found.created_at < timedelta(seconds=960)


async def test_a_message_is_given_up_after_a_day_and_can_be_replayed(hook: Hooked, receiver: Receiver) -> None:
    """After a day of tries it is dead and rests; a replay sends it again, under its id and with a whole round."""
    receiver.say(answer(500))
    job = await hook.ended(receiver.url())
    await hook.deliver()
    await hook.pass_time(due_at=DAY, round_at=DAY)
    await hook.deliver()
    dead = await hook.one(job)
    assert (dead.state, dead.tries) == (Status.DEAD, 2)
    assert hook.counted("torii_webhook_deliveries_total", outcome="dead") == 1
    await hook.pass_time(due_at=DAY)
    await hook.sweep()
    await hook.deliver()
    assert len(receiver.messages) == 2
    await hook.replay(dead)
    await hook.deliver()
    assert (await hook.one(job)).state is Status.RETRYING
    receiver.say(answer(200))
    await hook.replay(dead)
    await hook.deliver()
    found = await hook.one(job)
    assert (found.state, found.tries, found.replays) == (Status.DELIVERED, 4, 2)
    assert len({message.id for message in receiver.messages}) == 1


async def test_a_worker_that_died_before_the_call(hook: Hooked, receiver: Receiver) -> None:
    """A claim of a dead worker is free as soon as it is known to be dead, and the message is sent."""
    job = await hook.ended(receiver.url())
    assert await delivery.claim(hook.shop) is not None
    await hook.deliver()
    assert receiver.connections == 0
    await sweep.free(hook.shop, hook.shop.worker_id)
    await hook.deliver()
    assert len(receiver.messages) == 1
    found = await hook.one(job)
    assert [row.outcome for row in await hook.tries(found)] == [None, "delivered"]


async def test_a_worker_that_died_after_the_call(hook: Hooked, receiver: Receiver) -> None:
    """A message whose delivery was not written comes twice, under one id."""
    await hook.ended(receiver.url())
    taken = await delivery.claim(hook.shop)
    assert taken is not None
    secret = await hook.new_secret()
    await delivery._send(hook.shop, taken)  # noqa: SLF001  the step up to where its worker dies
    await sweep.free(hook.shop, hook.shop.worker_id)
    await hook.deliver()
    first, second = receiver.messages
    assert first.id == second.id
    assert first.proven(secret)
    assert second.proven(secret)


async def test_a_claim_that_was_forgotten_is_freed_by_time(hook: Hooked, receiver: Receiver) -> None:
    """A claim that no living worker can still hold is freed by the sweep, also if nobody was found dead."""
    await hook.ended(receiver.url())
    assert await delivery.claim(hook.shop) is not None
    await hook.sweep()
    await hook.deliver()
    assert receiver.connections == 0
    await hook.pass_time(claimed_at=delivery.LEASE + timedelta(seconds=1))
    await hook.sweep()
    await hook.deliver()
    assert len(receiver.messages) == 1


async def test_what_came_of_a_lost_claim(hook: Hooked, receiver: Receiver) -> None:
    """A success that is booked late counts, whoever holds the claim by then; a failure changes nothing of theirs."""
    job = await hook.ended(receiver.url())
    early = await delivery.claim(hook.shop)
    await sweep.free(hook.shop, hook.shop.worker_id)
    late = await delivery.claim(hook.shop)
    assert early is not None
    assert late is not None
    assert await delivery.book(hook.shop, early, Result(Outcome.TIMEOUT), 10_000) is None
    assert (await hook.one(job)).claim == late.claim
    assert await delivery.book(hook.shop, early, Result(Outcome.DELIVERED), 5) is Status.DELIVERED
    assert await delivery.book(hook.shop, late, Result(Outcome.TIMEOUT), 10_000) is None
    found = await hook.one(job)
    assert (found.state, found.claim, found.outcome) == (Status.DELIVERED, None, "delivered")
    assert [row.outcome for row in await hook.tries(found)] == ["delivered", "timeout"]


async def test_a_slow_receiver_holds_up_nobody_else(hook: Hooked, receiver: Receiver) -> None:
    """One team's receiver that hangs has a bounded number of calls; another team's message goes out meanwhile."""
    receiver.free.clear()
    for _ in range(delivery.TEAM_AT_ONCE + 4):
        await hook.ended(receiver.url("/slow"))
    slow = [asyncio.create_task(hook.deliver()) for _ in range(delivery.TEAM_AT_ONCE + 4)]
    try:
        await wait.until(lambda: receiver.under_way == delivery.TEAM_AT_ONCE, timeout_s=20, what="its share is taken")
        async with Receiver().listening() as quick:
            other = await hook.another_team()
            job = await other.ended(quick.url())
            await other.deliver()
            assert len(quick.messages) == 1
            assert (await other.one(job)).state is Status.DELIVERED
        assert receiver.crowd == delivery.TEAM_AT_ONCE
    finally:
        receiver.free.set()
        await asyncio.gather(*slow)
    await hook.deliver()
    assert {found.state for found in await hook.all()} == {Status.DELIVERED}
    assert receiver.crowd == delivery.TEAM_AT_ONCE


async def test_a_full_worker_takes_nothing_more(hook: Hooked, receiver: Receiver) -> None:
    """A worker with all its hands full leaves the message to others."""
    job = await hook.ended(receiver.url())
    slots = hook.shop.courier.slots
    for _ in range(delivery.WORKER_AT_ONCE):
        await slots.acquire()
    await hook.deliver()
    assert (await hook.one(job)).tries == 0
    slots.release()
    await hook.deliver()
    assert (await hook.one(job)).state is Status.DELIVERED


async def test_a_redis_that_forgot_everything(hook: Hooked, receiver: Receiver) -> None:
    """The sweep nudges what is due, so a lost nudge costs a second."""
    await hook.ended(receiver.url())
    await hook.rig.house.redis.flushdb()
    await hook.sweep()
    names = [name async for name in hook.rig.house.redis.scan_iter("arq:job:*deliver*")]
    assert names


async def test_a_hanging_receiver_is_cut_off(hook: Hooked, receiver: Receiver) -> None:
    """A receiver that says nothing has its ten seconds, and is tried again later."""
    receiver.free.clear()
    job = await hook.ended(receiver.url())
    async with asyncio.timeout(delivery.TRY_S + 8):
        await hook.deliver()
    found = await hook.one(job)
    assert (found.state, found.outcome) == (Status.RETRYING, "timeout")
    (row,) = await hook.tries(found)
    assert delivery.TRY_S * 1000 - 100 <= row.duration_ms < (delivery.TRY_S + 5) * 1000
