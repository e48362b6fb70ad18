"""The secrets of webhooks over their life: first need, rotation, the key that seals them, and its rotation."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from gateway.jobs import delivery_sweep
from gateway.jobs.announce import Status
from gateway.settings import keyring
from gateway.storage import outbox
from gateway.webhooks import team_secrets
from tests.support import hooked
from tests.support.emulator import EmulatorProcess
from tests.support.hooked import Hooked
from tests.support.receiver import Receiver

NEW = SecretStr("another secret of the tests with thirty-two characters and more")


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


async def rows(hook: Hooked) -> list[sa.Row[tuple[object, ...]]]:
    """All secrets as they are stored."""
    async with hook.rig.house.database.read() as connection:
        return list((await connection.execute(sa.select(outbox.webhook_secrets))).all())


async def test_every_message_is_signed_from_the_first_on(hook: Hooked, receiver: Receiver) -> None:
    """A team's first secret is made at its first need, once however many need it at once, and kept sealed."""
    house = hook.rig.house
    needs = [
        team_secrets.opened(house.database, house.keys.webhook_secrets, hook.rig.caller.team_id, house.clock.now())
        for _ in range(5)
    ]
    found = await asyncio.gather(*needs)
    assert len({tuple(each) for each in found}) == 1
    (row,) = await rows(hook)
    assert found[0][0] not in row.sealed
    await hook.ended(receiver.url())
    await hook.deliver()
    assert receiver.messages[0].headers["webhook-signature"].startswith("v1,")


async def test_both_secrets_sign_while_they_rotate(hook: Hooked, receiver: Receiver) -> None:
    """During the grace a receiver with either secret takes the message; after it the old one proves nothing."""
    old = await hook.new_secret()
    new = await hook.new_secret(timedelta(hours=1))
    await hook.ended(receiver.url())
    await hook.deliver()
    (during,) = receiver.messages
    assert len(during.headers["webhook-signature"].split()) == 2
    assert during.proven(old)
    assert during.proven(new)
    assert not during.proven(old, during.body + b" ")
    async with hook.rig.house.database.write() as tx:
        past = hook.rig.house.clock.now() - timedelta(seconds=1)
        await tx.execute(
            outbox.webhook_secrets.update()
            .where(outbox.webhook_secrets.c.expires_at.is_not(None))
            .values(expires_at=past)
        )
    await hook.ended(receiver.url())
    await hook.deliver()
    assert not receiver.messages[1].proven(old)
    assert receiver.messages[1].proven(new)
    await delivery_sweep.old_deliveries(hook.shop)
    assert len(await rows(hook)) == 1


async def test_a_rotation_without_grace_ends_all_before_it(hook: Hooked, receiver: Receiver) -> None:
    """A secret that leaked proves nothing any more, and neither do those that were still in their grace."""
    first = await hook.new_secret()
    second = await hook.new_secret(timedelta(hours=1))
    third = await hook.new_secret()
    await hook.ended(receiver.url())
    await hook.deliver()
    proven = [receiver.messages[0].proven(secret) for secret in (first, second, third)]
    assert proven == [False, False, True]


async def test_the_secret_key_is_rotated(hook: Hooked, receiver: Receiver) -> None:
    """With a new key first in the list messages go on, rows are sealed anew, and then the old one can be dropped."""
    secret = await hook.new_secret()
    house = hook.rig.house
    both = keyring.derive([NEW, *house.settings.secret_key]).webhook_secrets
    shop = replace(hook.shop, courier=replace(hook.shop.courier, seals=both))
    await hook.ended(receiver.url())
    await hook.deliver(shop)
    assert receiver.messages[0].proven(secret)
    async with house.database.read() as connection:
        assert await team_secrets.under_older_secrets(connection, both) == 1
    await delivery_sweep.old_deliveries(shop)
    async with house.database.read() as connection:
        assert await team_secrets.under_older_secrets(connection, both) == 0
    alone = replace(shop, courier=replace(shop.courier, seals=both[:1]))
    await hook.ended(receiver.url())
    await hook.deliver(alone)
    assert receiver.messages[1].proven(secret)


async def test_a_key_that_was_dropped_too_early(hook: Hooked, receiver: Receiver) -> None:
    """A message whose secret cannot be opened is not sent unsigned: it waits until the key is back."""
    secret = await hook.new_secret()
    other = keyring.derive([NEW]).webhook_secrets
    shop = replace(hook.shop, courier=replace(hook.shop.courier, seals=other))
    job = await hook.ended(receiver.url())
    await hook.deliver(shop)
    found = await hook.one(job)
    assert (found.state, found.outcome, receiver.connections) == (Status.RETRYING, "no_secret", 0)
    async with hook.rig.house.database.read() as connection:
        assert await team_secrets.lost(connection, other) == 1
    await hook.pass_time(due_at=timedelta(minutes=1))
    await hook.deliver()
    assert receiver.messages[0].proven(secret)


async def test_the_log_is_kept_for_a_while(hook: Hooked, receiver: Receiver) -> None:
    """A delivery is forgotten with its tries 30 days after its end, and never one that is still to be sent."""
    job, other = await hook.ended(receiver.url()), await hook.ended("http://127.0.0.1:1/nobody")
    for _ in range(2):
        await hook.deliver()
    month = delivery_sweep.KEPT
    await hook.pass_time(ended_at=month - timedelta(minutes=1), created_at=month)
    await delivery_sweep.old_deliveries(hook.shop)
    assert len(await hook.all()) == 2
    delivered = await hook.one(job)
    await hook.pass_time(ended_at=timedelta(minutes=2))
    await delivery_sweep.old_deliveries(hook.shop)
    assert await hook.all(job) == []
    assert await hook.tries(delivered) == []
    assert (await hook.one(other)).state is Status.RETRYING
