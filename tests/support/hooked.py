"""A rig whose webhooks may reach loopback, with what tests of webhooks ask of it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import stamina

from gateway import errors
from gateway.jobs import announce, delivery, delivery_log, delivery_sweep, desk
from gateway.jobs.accept import Caller
from gateway.jobs.announce import Delivery
from gateway.jobs.parts import Shop
from gateway.jobs.record import Job
from gateway.storage import outbox
from gateway.tenancy import keys, scopes, teams
from gateway.webhooks import team_secrets
from gateway.webhooks.outbound import Outbound, Resolve
from tests.support import rig as rigs
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig

LOOPBACK = "127.0.0.0/8,::1/128"


@dataclass(frozen=True)
class Hooked:
    """The rig, and the steps of webhooks by hand."""

    rig: Rig

    @property
    def shop(self) -> Shop:
        """The rig's own worker."""
        return self.rig.shop

    async def ended(self, url: str | None = None, **body: object) -> Job:
        """An order with that webhook, taken back: the quickest end of a job."""
        if url is not None:
            body["webhook_url"] = url
        # As callers do: what the store broke off is asked for again.
        async for attempt in stamina.retry_context(on=errors.StoreUnavailable, attempts=5, wait_initial=0.2):
            with attempt:
                job = await self.rig.order(**body)
                return await desk.cancel(self.rig.house.counter, self.rig.caller, job.id, whole_team=True)
        raise AssertionError("the store stayed away")

    async def deliver(self, shop: Shop | None = None) -> None:
        """Take the deliver step."""
        await delivery.deliver(shop or self.shop)

    async def sweep(self) -> None:
        """Take the sweep of deliveries."""
        await delivery_sweep.deliveries(self.shop)

    async def all(self, job: Job | None = None) -> list[Delivery]:
        """The deliveries, the oldest first."""
        table = outbox.deliveries
        question = sa.select(table).order_by(table.c.created_at, table.c.id)
        if job is not None:
            question = question.where(table.c.job_id == job.id)
        async with self.rig.house.database.read() as connection:
            return [announce.read(row) for row in await connection.execute(question)]

    async def one(self, job: Job) -> Delivery:
        """The only delivery about the job."""
        (found,) = await self.all(job)
        return found

    async def tries(self, about: Delivery) -> Sequence[sa.Row[Any]]:
        """Its log."""
        async with self.rig.house.database.read() as connection:
            return await delivery_log.tries(connection, about.id)

    async def replay(self, about: Delivery) -> Delivery:
        """Have it sent again."""
        async with self.rig.house.database.write() as tx:
            return await delivery_log.replay(tx, "test", about, self.rig.house.clock.now())

    async def pass_time(self, **ages: timedelta) -> None:
        """Move each named column of all deliveries into the past."""
        table = outbox.deliveries
        async with self.rig.house.database.write() as tx:
            for name, age in ages.items():
                rows = (await tx.execute(sa.select(table).where(table.c[name].is_not(None)))).all()
                for row in rows:
                    changed = {name: getattr(row, name) - age}
                    await tx.execute(table.update().where(table.c.id == row.id).values(changed))

    async def set_default(self, url: str | None) -> None:
        """Say where the team is told."""
        async with self.rig.house.database.write() as tx:
            await teams.set_webhook(tx, self.rig.caller.team_id, url)

    async def new_secret(self, grace: timedelta = timedelta(0)) -> str:
        """Rotate the team's secret; the new text."""
        house = self.rig.house
        async with house.database.write() as tx:
            _, text = await team_secrets.rotate(
                tx, house.keys.webhook_secrets, self.rig.caller.team_id, grace, house.clock.now()
            )
        return text

    async def carry_next(self, shop: Shop) -> Delivery:
        """Claim one message and send it; as it was claimed."""
        taken = await delivery.claim(shop)
        assert taken is not None
        await delivery.carry(shop, taken)
        return taken

    async def find(self, about: Delivery) -> Delivery:
        """The delivery as it is now."""
        async with self.rig.house.database.read() as connection:
            return await delivery_log.find(connection, about.id, None)

    async def break_off_cancelling(self, job: Job) -> None:
        """End the job, and fail before that is committed."""
        async with self.rig.house.database.write() as tx:
            assert (await desk.cancel_in(tx, job, self.rig.house.clock.now())).event_id is not None
            raise RuntimeError("half-way")

    def counted(self, name: str, **labels: str) -> float:
        """A sample of the worker's metrics; 0 where nothing was counted."""
        return self.rig.house.registry.get_sample_value(name, labels) or 0.0

    async def another_team(self) -> "Hooked":
        """The same gateway in another team's name."""
        house = self.rig.house
        async with house.database.write() as tx:
            team = await teams.create(tx, "others", house.clock.now())
            key, text = await keys.create(tx, team.id, "test", scopes.DEFAULT, house.keys.api_keys, house.clock.now())
        return Hooked(Rig(house, self.shop, Caller(team.id, key.id), text.reveal()))

    def named(self, *addresses: str, allowed: tuple[Any, ...] = ()) -> tuple[Shop, Outbound]:
        """A worker for which every name has those addresses, with those networks listed; close its client."""

        async def resolve(_host: str, _port: int) -> Sequence[str]:
            return addresses

        return self.worker(Outbound(allowed, resolve=resolve))

    def worker(self, outbound: Outbound) -> tuple[Shop, Outbound]:
        """A worker with that client."""
        courier = replace(self.shop.courier, outbound=outbound, slots=asyncio.Semaphore(4), claiming=asyncio.Lock())
        return replace(self.shop, courier=courier), outbound


def resolver(*addresses: str) -> Resolve:
    """A resolver for which every name has those addresses."""

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return addresses

    return resolve


@asynccontextmanager
async def hooked(
    emulator: EmulatorProcess, database_url: str, redis_url: str, folder: Path, nets: str = LOOPBACK, **more: str
) -> AsyncIterator[Hooked]:
    """A gateway whose webhooks may reach those networks."""
    environ = rigs.environment(emulator, database_url, redis_url, folder, **more)
    if nets:
        environ["TORII_WEBHOOK_ALLOW_NETS"] = nets
    async with rigs.rig(environ) as rig:
        yield Hooked(rig)
