"""The cache of record: which completed job answers a request again. Knows neither Redis nor the archive.

What is purged is gone with the commit: nothing that was read later finds it. ``shelf`` says what that means for the
copies in Redis.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.reuse.answer import Answer, Picture
from gateway.reuse.places import POOL, Place
from gateway.storage import reuse_tables, tables

#: How many entries one statement purges: a transaction must not last.
AT_ONCE: Final = 1000

_entry = reuse_tables.cache_entries
_choice = reuse_tables.reuse_choices
_job = tables.jobs
_key = tables.api_keys
_image = tables.images
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Keeping:
    """A completed job that shall answer a request again from now on."""

    team_id: str
    model: str
    job_id: str
    cost_micros: int
    #: In seconds; none for ever.
    ttl_s: int | None = None


@dataclass(frozen=True, slots=True)
class Purged:
    """An entry that is gone; an older copy of it may still be in Redis."""

    place: Place
    version: int


def _question() -> sa.Select[Any]:
    """One row a picture, in order; none where the entry is over, or has lost its pictures or its owner's consent."""
    shares = sa.exists().where(_choice.c.team_id == _entry.c.team_id, _choice.c.pool)
    return (
        sa.select(
            *(_entry.c[name] for name in ("version", "team_id", "job_id", "model", "cost_micros")),
            _entry.c.created_at.label("kept_at"),
            _entry.c.expires_at,
            _entry.c.checked_at,
            _job.c.created_at.label("ordered_at"),
            _job.c.ended_at.label("completed_at"),
            sa.func.coalesce(_key.c.lineage, _key.c.id).label("key_id"),
            *(_image.c[name].label(f"image_{name}") for name in Picture.__struct_fields__),
        )
        .join_from(_entry, _job, _job.c.id == _entry.c.job_id)
        .join(_key, _key.c.id == _job.c.key_id)
        .join(_image, _image.c.job_id == _entry.c.job_id)
        .where(
            _entry.c.scope == sa.bindparam("scope"),
            _entry.c.fingerprint == sa.bindparam("fingerprint"),
            sa.or_(_entry.c.expires_at.is_(None), _entry.c.expires_at > sa.bindparam("now")),
            sa.or_(_entry.c.scope != POOL, shares),
        )
        .order_by(_image.c.position)
    )


#: Built once, its values given beside it.
_FIND: Final = _question()


async def find(connection: AsyncConnection, place: Place, now: datetime) -> Answer | None:
    """What answers the request in that place, with its pictures."""
    asked = {"scope": place.scope, "fingerprint": place.fingerprint, "now": now}
    rows = (await connection.execute(_FIND, asked)).all()
    if not rows:
        return None
    first = rows[0]
    own = {name: getattr(first, name) for name in Answer.__struct_fields__ if name != "pictures"}
    return Answer(**own, pictures=tuple(_picture(row) for row in rows))


def _picture(row: sa.Row[Any]) -> Picture:
    return Picture(*(getattr(row, f"image_{name}") for name in Picture.__struct_fields__))


async def find_pinned(tx: AsyncConnection, place: Place, now: datetime) -> Answer | None:
    """As ``find``, and its job can be neither erased nor purged before the transaction ends."""
    seen = await find(tx, place, now)
    if seen is None:
        return None
    await tx.execute(sa.select(_job.c.id).where(_job.c.id == seen.job_id).with_for_update(read=True))
    # Whoever had the row before may have purged the entry meanwhile.
    found = await find(tx, place, now)
    return found if found is not None and found.job_id == seen.job_id else None


async def put(tx: AsyncConnection, place: Place, kept: Keeping, now: datetime) -> int:
    """Let the job answer the request from the commit on, in place of an older one; the entry's version.

    The caller has the job's row locked. An older version that Redis has is the caller's to take away, after the commit.
    """
    row = await tx.execute(
        _upsert(tx.dialect.name),
        {
            "scope": place.scope,
            "fingerprint": place.fingerprint,
            "version": (now - _EPOCH) // _MICROSECOND,
            "team_id": kept.team_id,
            "model": kept.model,
            "job_id": kept.job_id,
            "cost_micros": kept.cost_micros,
            "created_at": now,
            "expires_at": None if kept.ttl_s is None else now + timedelta(seconds=kept.ttl_s),
            "checked_at": now,
        },
    )
    return int(row.scalar_one())


@lru_cache
def _upsert(dialect: str) -> sa.Executable:
    insert: Any = (postgresql if dialect == "postgresql" else sqlite).insert(_entry)
    given = insert.excluded
    # Another host's clock may be behind: the version grows all the same.
    version = sa.case((given.version > _entry.c.version, given.version), else_=_entry.c.version + 1)
    keys = ["scope", "fingerprint"]
    others = {column.name: given[column.name] for column in _entry.columns if column.name not in keys}
    statement: sa.Executable = insert.on_conflict_do_update(
        index_elements=keys, set_={**others, "version": version}
    ).returning(_entry.c.version)
    return statement


async def purge(
    tx: AsyncConnection,
    *,
    team_id: str | None = None,
    model: str | None = None,
    job_id: str | None = None,
    at_most: int = AT_ONCE,
) -> list[Purged]:
    """Take away the entries of a team, a model or a job, or all; call again until there are none left."""
    wanted = {"team_id": team_id, "model": model, "job_id": job_id}
    which = [_entry.c[name] == value for name, value in wanted.items() if value is not None]
    return await _delete(tx, sa.and_(sa.true(), *which), at_most)


async def purge_object(tx: AsyncConnection, object_key: str) -> list[Purged]:
    """Take away every entry that would hand out that object: it is not in the archive."""
    owners = sa.select(_image.c.job_id).where(_image.c.object_key == object_key)
    return await _delete(tx, _entry.c.job_id.in_(owners), AT_ONCE)


async def any_expired(connection: AsyncConnection, now: datetime) -> bool:
    """Whether there are entries whose time is over."""
    over = sa.select(_entry.c.job_id).where(_entry.c.expires_at <= now).limit(1)
    return (await connection.execute(over)).first() is not None


async def expire(tx: AsyncConnection, now: datetime, at_most: int = AT_ONCE) -> list[Purged]:
    """Take away entries whose time is over. They are not found anyway; this only keeps the table small."""
    return await _delete(tx, _entry.c.expires_at <= now, at_most)


async def answered_by(connection: AsyncConnection, job_id: str) -> list[Purged]:
    """Where that job, or one that followed it, answers from now on, with the entries' versions."""
    rows = await connection.execute(
        sa.select(_entry.c.scope, _entry.c.fingerprint, _entry.c.version)
        .join_from(_job, _entry, _entry.c.job_id == _job.c.id)
        .where(sa.or_(_job.c.id == job_id, _job.c.follows == job_id))
    )
    return [Purged(Place(row.scope, row.fingerprint), row.version) for row in rows]


async def checked(tx: AsyncConnection, place: Place, version: int, at: datetime) -> None:
    """Note that the entry's pictures were seen in the archive, for when there is no Redis to remember it."""
    same = sa.and_(_entry.c.scope == place.scope, _entry.c.fingerprint == place.fingerprint)
    await tx.execute(_entry.update().where(same, _entry.c.version == version).values(checked_at=at))


async def _delete(tx: AsyncConnection, which: sa.ColumnElement[bool], at_most: int) -> list[Purged]:
    key = sa.tuple_(_entry.c.scope, _entry.c.fingerprint)
    # In the order of the key, so that two purges at once lock the same rows in the same order.
    chosen = (
        sa.select(_entry.c.scope, _entry.c.fingerprint)
        .where(which)
        .order_by(_entry.c.scope, _entry.c.fingerprint)
        .limit(at_most)
        .with_for_update()
    )
    rows = await tx.execute(
        _entry.delete().where(key.in_(chosen)).returning(_entry.c.scope, _entry.c.fingerprint, _entry.c.version)
    )
    return [Purged(Place(row.scope, row.fingerprint), row.version) for row in rows]
