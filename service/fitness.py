"""Whether a paid job can be accepted now, and would be carried out: each part asked for real, all at once.

Accepting needs the database alone; without any other part an accepted job waits and is not lost. Spends nothing, and
tells of a part that failed only what kind of failure it was.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import sqlalchemy as sa
from redis.exceptions import RedisError

from gateway import clock, errors
from gateway.bootstrap import House
from gateway.jobs.liveness import Watch
from gateway.storage import schema, tables
from service.wire import Paid, Part

#: A part that does not answer within this time is taken for gone.
ANSWER_WITHIN_S: Final = 3.0
#: Without these no job is accepted.
VITAL: Final = frozenset({"database", "schema"})


class Unfit(Exception):
    """A part answered, and said that it cannot serve; the text says why."""


Check = Callable[[], Awaitable[str]]


@dataclass(frozen=True)
class Fitness:
    """The checks of one process; it remembers which workers' hearts it saw beating."""

    house: House
    watch: Watch
    checks: Mapping[str, Check] = field(init=False)

    def __post_init__(self) -> None:
        checks: dict[str, Check] = {
            "database": self._database,
            "schema": self._schema,
            "archive": self._archive,
            "queue": self._queue,
            "upstream": self._upstream,
            "workers": self._workers,
        }
        object.__setattr__(self, "checks", MappingProxyType(checks))

    async def report(self, *, draining: bool) -> Paid:
        """What each part said."""
        found = await asyncio.gather(*(_ask(check) for check in self.checks.values()))
        parts = dict(zip(self.checks, found, strict=True))
        parts["process"] = Part(ok=not draining, detail="draining" if draining else "serving")
        accepting = not draining and all(parts[name].ok for name in VITAL)
        well = accepting and all(part.ok for part in parts.values())
        return Paid(
            status="ok" if well else "degraded" if accepting else "unavailable", accepting=accepting, parts=parts
        )

    async def _database(self) -> str:
        info = tables.schema_info
        async with self.house.database.write() as tx:
            # Changes nothing, yet takes what a new job takes: the write lock and room on the disk.
            await tx.execute(info.update().values(release=info.c.release))
        return "writable"

    async def _schema(self) -> str:
        await schema.check(self.house.database)
        return "of this release"

    async def _archive(self) -> str:
        await self.house.bucket.check()
        return "writable"

    async def _queue(self) -> str:
        await self.house.redis.ping()
        return "reachable"

    async def _upstream(self) -> str:
        account = tables.upstream_account
        async with self.house.database.read() as connection:
            row = (await connection.execute(sa.select(account))).one()
        now = self.house.clock.now()
        if row.paused_until is not None and row.paused_until > now:
            raise Unfit(f"paused until {clock.rfc3339(row.paused_until)}: {row.pause_reason}")
        if row.breaker_until is not None and row.breaker_until > now:
            raise Unfit(f"resting until {clock.rfc3339(row.breaker_until)} after answers that were lost")
        return "open"

    async def _workers(self) -> str:
        async with self.house.database.read() as connection:
            listed = set((await connection.execute(sa.select(tables.workers.c.id))).scalars())
            living = listed.difference(await self.watch.dead(connection))
        if not living:
            raise Unfit("no worker is alive")
        return f"{len(living)} alive"


async def _ask(check: Check) -> Part:
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return Part(ok=True, detail=await check())
    except Unfit as reason:
        return Part(ok=False, detail=str(reason))
    except errors.ToriiError as error:
        return Part(ok=False, detail=error.code)
    except TimeoutError:
        return Part(ok=False, detail=f"no answer within {ANSWER_WITHIN_S:g} s")
    except (RedisError, OSError) as error:
        return Part(ok=False, detail=type(error).__name__)
