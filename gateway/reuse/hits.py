"""What reuse has saved: counted in Redis with each hit, taken over into SQL every two seconds, never twice.

The counts are renamed to a batch with an id of its own, inserted under that id, and then deleted. Whoever dies in
between leaves a batch that the next one inserts, or finds inserted, and deletes. A flush of Redis loses what was not
yet taken over. Answers that write SQL anyway are counted in their own transaction.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec
import sqlalchemy as sa
import structlog
from redis.asyncio import Redis
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import ids
from gateway.clock import Clock
from gateway.storage import keyspace, reuse_tables, statements, tables
from gateway.storage.database import Database

EVERY_S: Final = 2.0
#: A batch's row outlives every copy of Redis that could still hold the batch.
REMEMBER: Final = timedelta(days=30)

#: A transaction must not last.
_FORGOTTEN_AT_ONCE: Final = 1000

#: Names that are written with each hit.
_FIELDS_MAX: Final = 1024

_batch = reuse_tables.hit_batches
_saving = reuse_tables.savings
#: What SQL can add up; more than this in one field was not counted by us.
_COUNT_MAX: Final = 2**53

_TAKE: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[2] ~= '0' and not redis.call('SET', KEYS[4], '1', 'NX', 'PX', ARGV[2]) then return 0 end
redis.call('RENAME', KEYS[1], KEYS[3])
redis.call('SADD', KEYS[2], ARGV[1])
return 1
"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Saved:
    """How many answers cost a team nothing on a day (``2026-11-23``, UTC), and what they would have cost."""

    team_id: str
    model: str
    day: str
    hits: int
    micros: int


def field(team_id: str, model: str, at: datetime) -> str:
    """Under which name a hit of that moment is counted in Redis."""
    return _field(team_id, model, at.astimezone(UTC).date())


@lru_cache(_FIELDS_MAX)
def _field(team_id: str, model: str, day: date) -> str:
    return msgspec.json.encode([team_id, model, day.isoformat()]).decode()


def read(counted: Mapping[bytes, bytes]) -> list[Saved]:
    """What the fields of a batch say; what is no count of ours is left out."""
    sums: dict[tuple[str, str, str], dict[str, int]] = {}
    for name, value in counted.items():
        try:
            who = msgspec.json.decode(name[1:], type=tuple[str, str, str])
            number = int(value)
        except (msgspec.MsgspecError, ValueError):
            continue
        if name[:1] in (b"n", b"m") and 0 <= number <= _COUNT_MAX:
            sums.setdefault(who, {})[name[:1].decode()] = number
    return [Saved(*who, hits=each.get("n", 0), micros=each.get("m", 0)) for who, each in sorted(sums.items())]


async def count(tx: AsyncConnection, saved: Iterable[Saved]) -> None:
    """Add to the sums, in the caller's own transaction."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for each in saved:
        who = (each.team_id, each.model, each.day)
        row = rows.setdefault(who, {**dict(zip(("team_id", "model", "day"), who, strict=True)), "hits": 0})
        row["hits"] += each.hits
        row["saved_micros"] = row.get("saved_micros", 0) + each.micros
    if rows:
        await statements.upsert(tx, _saving, list(rows.values()), add=("hits", "saved_micros"))


async def take(redis: Redis, every_s: float = 0.0) -> None:
    """Set aside what was counted until now, as a batch; not if somebody did, as often as that, a moment ago."""
    batch_id = ids.hit_batch()
    keys = [keyspace.HITS, keyspace.HIT_BATCHES, keyspace.hit_batch(batch_id), keyspace.HITS_TAKEN]
    await redis.register_script(_TAKE)(keys=keys, args=[batch_id, int(every_s * 1000)])


async def waiting(redis: Redis) -> list[str]:
    """The ids of the batches that were set aside, by whomever."""
    pipe = redis.pipeline(transaction=False)
    pipe.smembers(keyspace.HIT_BATCHES)
    (found,) = await pipe.execute()
    return sorted(name.decode() for name in found)


async def fetch(redis: Redis, batch_id: str) -> list[Saved]:
    """What a batch says; nothing if another has deleted it."""
    pipe = redis.pipeline(transaction=False)
    pipe.hgetall(keyspace.hit_batch(batch_id))
    (counted,) = await pipe.execute()
    return read(counted)


async def insert(tx: AsyncConnection, batch_id: str, saved: Iterable[Saved], now: datetime) -> bool:
    """Add a batch to the sums, unless that was done before; whether it was now."""
    new = (await tx.execute(_claim(tx.dialect.name), {"id": batch_id, "inserted_at": now})).first()
    if new is None:
        return False
    wanted = {each.team_id for each in saved}
    known = set(await tx.scalars(sa.select(tables.teams.c.id).where(tables.teams.c.id.in_(sorted(wanted)))))
    await count(tx, [each for each in saved if each.team_id in known])
    return True


async def drop(redis: Redis, batch_id: str) -> None:
    """Delete a batch that is in SQL; its name goes last, so that a batch without one never stays behind."""
    pipe = redis.pipeline(transaction=True)
    pipe.delete(keyspace.hit_batch(batch_id))
    pipe.srem(keyspace.HIT_BATCHES, batch_id)
    await pipe.execute()


async def take_over(redis: Redis, database: Database, clock: Clock, every_s: float = 0.0) -> int:
    """Bring all that was counted until now into SQL; how many batches were new.

    With ``every_s`` all who call it together make one batch in that time, since each leaves a row for a month.

    Safe to run in many processes at once. Raises ``RedisError``, ``OSError`` or ``StoreUnavailable``; what it did not
    come to is done the next time.
    """
    await take(redis, every_s)
    new = 0
    for batch_id in await waiting(redis):
        saved = await fetch(redis, batch_id)
        if saved:
            async with database.write() as tx:
                new += await insert(tx, batch_id, saved, clock.now())
        await drop(redis, batch_id)
    return new


async def any_old(connection: AsyncConnection, now: datetime) -> bool:
    """Whether there are rows of batches that nobody can hold any more."""
    old = sa.select(_batch.c.id).where(_batch.c.inserted_at < now - REMEMBER).limit(1)
    return (await connection.execute(old)).first() is not None


async def forget_old(tx: AsyncConnection, now: datetime) -> int:
    """Delete rows of batches that nobody can hold any more, a thousand at most; how many there were."""
    old = sa.select(_batch.c.id).where(_batch.c.inserted_at < now - REMEMBER).limit(_FORGOTTEN_AT_ONCE)
    return (await tx.execute(_batch.delete().where(_batch.c.id.in_(old)))).rowcount


async def sums(connection: AsyncConnection) -> dict[tuple[str, str], tuple[int, int]]:
    """All that was ever saved, as (answers, micro-credits) by team and model."""
    rows = await connection.execute(
        sa.select(
            _saving.c.team_id,
            _saving.c.model,
            sa.func.sum(_saving.c.hits).label("hits"),
            sa.func.sum(_saving.c.saved_micros).label("micros"),
        ).group_by(_saving.c.team_id, _saving.c.model)
    )
    return {(row.team_id, row.model): (int(row.hits), int(row.micros)) for row in rows}


@lru_cache
def _claim(dialect: str) -> sa.Executable:
    insert: Any = (postgresql if dialect == "postgresql" else sqlite).insert(_batch)
    statement: sa.Executable = insert.on_conflict_do_nothing(index_elements=["id"]).returning(_batch.c.id)
    return statement
