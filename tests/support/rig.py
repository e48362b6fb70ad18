"""A whole gateway in the test's own process, on real stores and the emulator, whose steps a test takes by hand.

Nothing of the gateway is replaced: the settings are read from an environment that the test makes up, and the house is
built by ``bootstrap``. Only the worker's loop is missing, so that a test can stand still between two steps.
"""

import asyncio
import contextlib
import functools
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa
from alembic.script import ScriptDirectory

from gateway import bootstrap, errors
from gateway.bootstrap import House
from gateway.jobs import accept, keeping, liveness, lookup, polling, states, submission
from gateway.jobs.accept import Caller
from gateway.jobs.parts import Shop
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.ledger import proof
from gateway.settings import values
from gateway.settings.values import Purpose
from gateway.storage import database, schema, tables
from gateway.storage.database import Database, Limits
from gateway.tenancy import keys, scopes, teams
from tests.support import wait
from tests.support.emulator import EmulatorProcess

SECRET = "a secret of the tests with thirty-two characters and more"
MODEL = "flux-2-max"

#: A transaction that a test stands still in, on a crowded machine, is not one that stalled. Processes have the real
#: ones; what is asked of those is asked of them.
LIMITS = Limits(stalled_ms=30_000, longest_ms=60_000)

#: The command as `make setup` installs it.
TORII = Path(sys.executable).with_name("torii")


def environment(
    emulator: EmulatorProcess, database_url: str, redis_url: str, folder: Path, **more: str
) -> dict[str, str]:
    """The settings of a gateway on these servers, as variables."""
    return {
        "PIXELDOJO_API_KEY": "pd_test_key_of_the_emulator",
        "PIXELDOJO_API_BASE": emulator.api_base,
        "TORII_RESULT_HOSTS": emulator.result_host,
        "TORII_DATABASE_URL": database_url,
        "TORII_REDIS_URL": redis_url,
        "TORII_ARCHIVE_URL": str(folder / "archive"),
        "TORII_SECRET_KEY": SECRET,
        "TORII_ADMIN_TOKEN": "an-admin-token-of-the-tests-with-thirty-two-characters",
        "TORII_UPSTREAM_RPM": "60000",
        "TORII_WORKER_METRICS_PORT": "0",
        **more,
    }


@dataclass(frozen=True)
class Rig:
    """A gateway with a team and a key, and one worker's shop."""

    house: House
    shop: Shop
    caller: Caller
    key_text: str

    async def order(self, **body: object) -> Job:
        """Accept an order of the team."""
        body = {"prompt": "a torii gate", **body}
        return (await accept.accept(self.house.counter, self.caller, MODEL, body)).job

    async def job(self, job_id: str) -> Job:
        """The job as it is now."""
        async with self.house.database.read() as connection:
            job = await lookup.any_team(connection, job_id)
        assert job is not None
        return job

    async def step(self, job: Job) -> Job:
        """Take the job's next step if it is due, else nothing; the job afterwards."""
        # As in a worker: a step that the store broke off is taken again, since the row says what is still to be done.
        with contextlib.suppress(errors.StoreUnavailable):
            if job.state is State.QUEUED:
                await submission.submit(self.shop)
            elif job.state is State.RUNNING:
                await polling.poll(self.shop, job.id)
            elif job.state is State.ARCHIVING:
                await keeping.keep(self.shop, job.id)
        return await self.job(job.id)

    async def drive(self, job: Job, *until: State, within_s: float = 20.0) -> Job:
        """Take steps until the job is in one of the states (by default: has ended)."""
        wanted = frozenset(until) or states.ENDED
        async with asyncio.timeout(within_s):
            while job.state not in wanted:
                job = await self.step(job)
                # Steps become due by the clock; this only keeps the loop from spinning while none is.
                await asyncio.sleep(0.02)
        return job

    async def ended(self, *job_ids: str, within_s: float = 30.0) -> list[State]:
        """Wait until the jobs have ended by other hands; their states."""

        async def all_ended() -> list[State] | None:
            found = [(await self.job(job_id)).state for job_id in job_ids]
            return found if all(state in states.ENDED for state in found) else None

        found = await wait.until(all_ended, timeout_s=within_s, what="all jobs ended", every_s=0.1)
        assert found is not None
        return found

    async def reaches(self, job_id: str, *wanted: State, within_s: float = 20.0) -> None:
        """Wait until the job is, by other hands, in one of the states."""

        async def there() -> bool:
            return (await self.job(job_id)).state in wanted

        await wait.until(there, timeout_s=within_s, what=f"job in {wanted}")

    async def hurry(self, **ages: timedelta) -> None:
        """Let time pass for the rows: move each named column of ``jobs`` and ``attempts`` into the past."""
        async with self.house.database.write() as tx:
            for name, age in ages.items():
                table = tables.jobs if name in tables.jobs.c else tables.attempts
                rows = (await tx.execute(sa.select(table).where(table.c[name].is_not(None)))).all()
                for row in rows:
                    same = sa.and_(*(column == getattr(row, column.name) for column in table.primary_key.columns))
                    await tx.execute(table.update().where(same).values({name: getattr(row, name) - age}))

    async def entries(self, job_id: str) -> list[tuple[int, str, int]]:
        """The job's ledger as (attempt, kind, micro-credits), in order."""
        entry = tables.ledger_entries
        async with self.house.database.read() as connection:
            rows = await connection.execute(
                sa.select(entry.c.attempt, entry.c.kind, entry.c.amount_micros)
                .where(entry.c.job_id == job_id)
                .order_by(entry.c.attempt, entry.c.created_at, entry.c.kind)
            )
            return [(row.attempt, row.kind, row.amount_micros) for row in rows]

    async def outcomes(self, job_id: str) -> list[str]:
        """What became of the job's attempts, in order."""
        attempt = tables.attempts
        async with self.house.database.read() as connection:
            rows = await connection.execute(
                sa.select(attempt.c.outcome).where(attempt.c.job_id == job_id).order_by(attempt.c.number)
            )
            return list(rows.scalars())

    async def balance(self) -> tuple[int, int]:
        """What the team holds and has spent, in micro-credits; the proof of the ledger is made on the way."""
        balance = tables.balances
        async with self.house.database.read() as connection:
            assert await proof.differences(connection) == []
            row = (
                await connection.execute(
                    sa.select(balance.c.held_micros, balance.c.spent_micros).where(
                        balance.c.team_id == self.caller.team_id, balance.c.key_id == "", balance.c.period == "total"
                    )
                )
            ).first()
        return (0, 0) if row is None else (row.held_micros, row.spent_micros)


async def migrated(opened: Database) -> None:
    """Bring the schema to a database that is not the copy of one that has it."""
    async with opened.read() as connection:
        there = (await connection.run_sync(lambda raw: sa.inspect(raw).has_table("alembic_version"))) and (
            await connection.execute(sa.text("SELECT version_num FROM alembic_version"))
        ).scalar_one_or_none()
    if there not in heads():
        await schema.migrate(opened)


@functools.cache
def heads() -> frozenset[str]:
    """The last migrations of this release, of which there is one."""
    return frozenset(ScriptDirectory.from_config(schema.config()).get_heads())


def nobody() -> ssl.SSLContext:
    """No authority: for plain HTTP, where reading those of the system takes longer than most tests do."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@asynccontextmanager
async def rig(environ: Mapping[str, str]) -> AsyncIterator[Rig]:
    """A migrated, running gateway of that environment, without its loops."""
    settings = values.read(Purpose.WORK, environ=environ, env_file=None)
    opened = database.open(settings.reveal("database_url"))
    await migrated(opened)
    await opened.close()
    terms = bootstrap.Terms(trusted=nobody(), limits=LIMITS)
    async with bootstrap.house(settings, terms) as house, bootstrap.shop(house) as shop:
        await liveness.register(house.database, shop.worker_id, "test", house.clock)
        now = house.clock.now()
        async with house.database.write() as tx:
            team = await teams.create(tx, "testers", now)
            key, text = await keys.create(tx, team.id, "test", scopes.DEFAULT, house.keys.api_keys, now)
        yield Rig(house, shop, Caller(team.id, key.id), text.reveal())
