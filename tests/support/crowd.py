"""Callers who ask for the same picture: orders with a wish of the cache, on a rig."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from gateway import bootstrap
from gateway.jobs import accept, lookup
from gateway.jobs.accept import Accepted, Caller
from gateway.jobs.draft import Wish
from gateway.jobs.errands import Errands
from gateway.jobs.parts import Counter
from gateway.jobs.record import Image, Job
from gateway.reuse import choices, directives
from gateway.storage import reuse_tables, tables
from gateway.tenancy import keys, scopes, teams
from gateway.tenancy.choices import Choices
from tests.support.rig import MODEL, Rig

PLAIN = Choices()
SHARES = Choices(pool=True)
#: The one request that all of them make.
BODY = {"prompt": "a torii gate", "seed": 7}


def wish(caller: Caller, header: str = "", chosen: Choices = PLAIN, **more: Any) -> Wish:
    """What a caller's request would have, as the front door reads it from the key and the headers."""
    usual: dict[str, Any] = {"chain": caller.key_id, "reads_team": True, "told": False, "drained": False}
    return Wish(directives.read(header), chosen, **(usual | more))


async def ask(
    rig: Rig,
    caller: Caller | None = None,
    header: str = "",
    *,
    body: dict[str, Any] | None = None,
    key: str | None = None,
    counter: Counter | None = None,
    chosen: Choices = PLAIN,
    **more: Any,
) -> Accepted:
    """Order what everybody orders."""
    who = caller or rig.caller
    wanted = wish(who, header, chosen, **more)
    return await accept.accept(
        counter or rig.house.counter, who, MODEL, BODY if body is None else body, key, wish=wanted
    )


async def another_process(rig: Rig) -> Counter:
    """A front door that shares the stores with the rig's, and nothing else."""
    house = rig.house
    return replace(house.counter, library=await bootstrap.library(house.database, house.redis, house.bucket, Errands()))


async def team(rig: Rig, name: str, chosen: Choices = PLAIN) -> Caller:
    """Another team with a key."""
    now = rig.house.clock.now()
    async with rig.house.database.write() as tx:
        made = await teams.create(tx, name, now)
        await choices.put(tx, made.id, chosen)
        found, _ = await keys.create(tx, made.id, "test", scopes.DEFAULT, rig.house.keys.api_keys, now)
    return Caller(made.id, found.id)


async def colleague(rig: Rig) -> Caller:
    """Another key of the rig's team."""
    async with rig.house.database.write() as tx:
        found, _ = await keys.create(
            tx, rig.caller.team_id, "other", scopes.DEFAULT, rig.house.keys.api_keys, rig.house.clock.now()
        )
    return Caller(rig.caller.team_id, found.id)


async def shown(rig: Rig, job_id: str) -> Job:
    """The job as its caller sees it."""
    async with rig.house.database.read() as connection:
        return await lookup.shown(connection, await rig.job(job_id))


async def pictures(rig: Rig, job: Job) -> list[Image]:
    """The job's own rows of pictures."""
    async with rig.house.database.read() as connection:
        return await lookup.images(connection, job.team_id, job.id)


async def rows(rig: Rig, table: sa.Table) -> list[Any]:
    """All rows of a table."""
    async with rig.house.database.read() as connection:
        return list((await connection.execute(sa.select(table))).all())


async def open_flights(rig: Rig) -> list[str]:
    """The leaders of all open flights."""
    return [row.leader_job_id for row in await rows(rig, reuse_tables.flights) if row.closed_at is None]


async def held_by(rig: Rig, caller: Caller) -> int:
    """What a caller's team holds, in micro-credits."""
    return sum(
        row.held_micros
        for row in await rows(rig, tables.balances)
        if (row.team_id, row.key_id, row.period) == (caller.team_id, "", "total")
    )


@contextmanager
def statements() -> Iterator[list[str]]:
    """Everything that SQL is asked meanwhile."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(sa.Engine, "before_cursor_execute", note)


async def somebody_waits(rig: Rig) -> bool:
    """Whether a transaction waits for another's lock; on SQLite it waits for the one writer, and nobody can see it."""
    if rig.house.database.dialect == "sqlite":
        return True
    activity = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with rig.house.database.read() as connection:
        return bool((await connection.execute(sa.text(activity))).scalar_one())
