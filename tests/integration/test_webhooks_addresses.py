"""Where webhooks do not go: the guard on addresses, judged at each try on the address that would be called."""

from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway import errors
from gateway.jobs.announce import Status
from gateway.webhooks.outbound import Outbound
from tests.support import hooked
from tests.support.emulator import EmulatorProcess
from tests.support.hooked import Hooked
from tests.support.receiver import Receiver, answer

NETS = tuple(ip_network(text) for text in hooked.LOOPBACK.split(","))
#: Addresses that nobody has listed, each in the spelling of a resolver.
OUT_OF_REACH = [
    "169.254.169.254",
    "127.0.0.1",
    "::1",
    "10.0.0.1",
    "192.168.1.1",
    "0.0.0.0",  # noqa: S104  nothing is bound
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "fd00:ec2::254",
    "fe80::1",
]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Give a receiver that answers 204."""
    async with Receiver().listening() as opened:
        yield opened


@pytest.fixture
async def hook(emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Hooked]:
    """Give a gateway with no network listed, as it is by default."""
    async with hooked.hooked(emulator, database_url, redis_url, tmp_path, nets="") as built:
        yield built


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "127.0.0.1", "[::1]", "10.0.0.1", "[::ffff:10.0.0.1]", "[64:ff9b::a9fe:a9fe]", "localhost"],
)
async def test_an_address_is_refused_with_the_order(hook: Hooked, host: str) -> None:
    """An order whose webhook spells such an address is refused by name, and nothing is accepted."""
    with pytest.raises(errors.InvalidParameter) as caught:
        await hook.rig.order(webhook_url=f"https://{host}/latest/meta-data")
    assert caught.value.param == "webhook_url"
    assert await hook.rig.balance() == (0, 0)


async def test_a_name_that_leads_there_is_refused_at_the_try(hook: Hooked, receiver: Receiver) -> None:
    """Whatever such a name resolves to, no connection is made; the log says why, and it is tried again later."""
    jobs = [await hook.ended(f"https://hooks.example:{receiver.port}/x") for _ in OUT_OF_REACH]
    for address in OUT_OF_REACH:
        shop, client = hook.named(address)
        try:
            taken = await hook.carry_next(shop)
        finally:
            await client.close()
        found = await hook.find(taken)
        assert (found.state, found.outcome) == (Status.RETRYING, "refused_address"), address
        (row,) = await hook.tries(found)
        assert (row.outcome, row.status_code) == ("refused_address", None)
    assert receiver.connections == 0
    assert len(jobs) == hook.counted("torii_webhook_deliveries_total", outcome="refused_address")


async def test_one_bad_address_spoils_the_good_ones(hook: Hooked, receiver: Receiver) -> None:
    """A name that leads to a public address and to this machine is not called at all."""
    await hook.ended(f"https://hooks.example:{receiver.port}/x")
    shop, client = hook.named("93.184.215.14", "127.0.0.1")
    try:
        taken = await hook.carry_next(shop)
    finally:
        await client.close()
    assert (await hook.find(taken)).outcome == "refused_address"
    assert receiver.connections == 0


async def test_a_name_that_changes_between_look_and_call(
    emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    """A name is resolved once a try, and the call goes to that very address; at the next try it is judged anew."""
    looked: list[str] = []

    async def rebinding(host: str, _port: int) -> list[str]:
        looked.append(host)
        return ["127.0.0.1"] if len(looked) == 1 else ["169.254.169.254"]

    async with hooked.hooked(emulator, database_url, redis_url, tmp_path) as hook:
        receiver.say(answer(500))
        job = await hook.ended(f"http://rebinding.example:{receiver.port}/x")
        shop, client = hook.worker(Outbound(NETS, resolve=rebinding))
        try:
            await hook.deliver(shop)
            assert (await hook.one(job)).outcome == "refused"
            assert receiver.messages[0].headers["host"] == f"rebinding.example:{receiver.port}"
            await hook.replay(await hook.one(job))
            await hook.deliver(shop)
        finally:
            await client.close()
        assert (await hook.one(job)).outcome == "refused_address"
        assert (looked, receiver.connections) == (["rebinding.example"] * 2, 1)


@pytest.mark.parametrize(
    "place", ["http://127.0.0.1:{port}/inside", "http://169.254.169.254/latest", "//[::1]:{port}/"]
)
async def test_a_redirect_is_not_followed(
    emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path, receiver: Receiver, place: str
) -> None:
    """A redirect, wherever it leads, is an answer like any other that is not a 2xx."""
    async with Receiver().listening() as inside, hooked.hooked(emulator, database_url, redis_url, tmp_path) as hook:
        receiver.say(answer(307, f"Location: {place.format(port=inside.port)}"))
        job = await hook.ended(receiver.url())
        await hook.deliver()
        assert (await hook.one(job)).outcome == "redirect"
        assert (receiver.connections, inside.connections) == (1, 0)


async def test_plain_http_reaches_listed_networks_alone(
    emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """A name over plain http that turns out to be public is not called: the message would be read on its way."""
    async with hooked.hooked(emulator, database_url, redis_url, tmp_path) as hook:
        job = await hook.ended("http://hooks.example/x")
        shop, client = hook.worker(Outbound(NETS, resolve=hooked.resolver("93.184.215.14")))
        try:
            await hook.deliver(shop)
        finally:
            await client.close()
        assert (await hook.one(job)).outcome == "refused_address"


async def test_a_network_that_is_listed_no_more(
    emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    """An address that was fine when it was named is judged by what is listed at the try."""
    async with hooked.hooked(emulator, database_url, redis_url, tmp_path) as hook:
        job = await hook.ended(receiver.url())
        shop, client = hook.worker(Outbound(()))
        try:
            await hook.deliver(shop)
        finally:
            await client.close()
        assert (await hook.one(job)).outcome == "refused_address"
        assert receiver.connections == 0
        await hook.replay(await hook.one(job))
        await hook.deliver()
        assert (await hook.one(job)).state is Status.DELIVERED
