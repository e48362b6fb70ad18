"""Clients that repeat a paid request by themselves: which job a repeat is for, so that nobody pays for it twice.

Such a client sends the same body again when its connection broke or the answer was an error, and says how often it has.
A job's row of ``unanswered`` is written in the job's own transaction and names the one live request that it is for.
A repeat takes over, by compare-and-set, a young job of its key and body whose answer was not delivered: one whose
request is known to be gone, else one that was last held by an earlier repeat than this. A request that lost its job so
is told to come again, and then finds its own or orders anew; so there are as many jobs as callers.

An order and its repeats may be on their way at once, in several processes: in the transaction that makes a job they
see each other, one after the other.
"""

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, ids
from gateway.jobs import halts
from gateway.jobs.record import Job
from gateway.jobs.states import ENDED
from gateway.storage import repeat_tables
from gateway.storage.database import Database

#: Nobody repeats a request for longer.
LIFE: Final = timedelta(minutes=15)
#: Any number that no other advisory lock has.
_LOCK: Final = 0x72657065
#: Each round lost means that another repeat was quicker.
_ROUNDS: Final = 20
_CANDIDATES: Final = 20

_row = repeat_tables.unanswered


class Overtaken(Exception):
    """Another request of the same body has made its job meanwhile; this one made none."""


@dataclass(frozen=True)
class Request:
    """One live request of a client that repeats."""

    key_id: str
    body_hash: str
    #: Names the request itself.
    holder: str
    #: How often its client has sent this before.
    repeat: int
    began_at: datetime

    async def beside(self, tx: AsyncConnection, job: Job, now: datetime) -> None:
        """Note the job in the transaction that makes it. ``Overtaken``, or ``UpstreamPaused``: then it is not made."""
        await require_motion(tx, job, now)
        await _one_after_the_other(tx, self)
        if await _overtaken(tx, self, now):
            raise Overtaken
        await tx.execute(
            _row.insert().values(
                job_id=job.id,
                key_id=self.key_id,
                body_hash=self.body_hash,
                created_at=now,
                holder=self.holder,
                repeat=self.repeat,
            )
        )


async def require_motion(tx: AsyncConnection, job: Job, now: datetime) -> None:
    """``UpstreamPaused`` in the transaction that makes a job which would stand still: then it is not made."""
    if job.state not in ENDED:
        await halts.require_motion(tx, job, now)


def request(key_id: str, body: Mapping[str, object], repeat: int, now: datetime) -> Request:
    """The request of that body, of whose spellings only the order of members does not count."""
    encoded = msgspec.json.encode(body, order="sorted")
    return Request(key_id, hashlib.sha256(encoded).hexdigest(), ids.claim(), repeat, now)


async def claim(database: Database, asks: Request, now: datetime) -> str | None:
    """Take over a job whose answer was not delivered; its id, or none if there is none for this repeat."""
    for _ in range(_ROUNDS):
        async with database.write() as tx:
            candidates = await _candidates(tx, asks, now)
            for job_id in candidates:
                taken = await tx.execute(
                    _row.update()
                    .where(_row.c.job_id == job_id, _claimable(asks, now))
                    .values(holder=asks.holder, repeat=asks.repeat)
                )
                if taken.rowcount:
                    return job_id
        if not candidates:
            return None
    raise errors.StoreUnavailable


async def held(connection: AsyncConnection, asks: Request, job_id: str) -> bool:
    """Whether the job is still for this request, and no repeat has taken it over."""
    question = sa.select(_row.c.job_id).where(_row.c.job_id == job_id, _row.c.holder == asks.holder)
    return (await connection.execute(question)).first() is not None


async def give_back(database: Database, asks: Request, job_id: str) -> None:
    """Note that this request is over and its caller has no answer: the next repeat is for the job."""
    async with database.write() as tx:
        await tx.execute(_row.update().where(_mine(asks, job_id)).values(holder=None))


async def delivered(database: Database, asks: Request, job_id: str, now: datetime) -> None:
    """Note that the caller has its answer: no repeat is for this job any more."""
    async with database.write() as tx:
        await tx.execute(_row.update().where(_mine(asks, job_id)).values(delivered_at=now))


async def forget_old(tx: AsyncConnection, now: datetime) -> int:
    """Delete what no repeat can be for any more; how many there were."""
    return (await tx.execute(_row.delete().where(_row.c.created_at <= now - LIFE))).rowcount


async def _candidates(tx: AsyncConnection, asks: Request, now: datetime) -> list[str]:
    rows = await tx.execute(
        sa.select(_row.c.job_id)
        .where(_claimable(asks, now))
        # First those whose request is known to be gone; a live one may be among the others.
        .order_by(sa.case((_row.c.holder.is_(None), 0), else_=1), _row.c.repeat, _row.c.created_at)
        .limit(_CANDIDATES)
    )
    return [row.job_id for row in rows]


def _claimable(asks: Request, now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(
        _of(asks),
        _row.c.created_at > now - LIFE,
        _row.c.delivered_at.is_(None),
        sa.or_(_row.c.holder.is_(None), _row.c.repeat < asks.repeat),
    )


async def _overtaken(tx: AsyncConnection, asks: Request, now: datetime) -> bool:
    """Whether a repeat may take over another's job; or, of a first request, whether a repeat has ordered since."""
    if asks.repeat:
        return bool(await _candidates(tx, asks, now))
    later = sa.select(_row.c.job_id).where(_of(asks), _row.c.repeat > 0, _row.c.created_at >= asks.began_at)
    return (await tx.execute(later.limit(1))).first() is not None


async def _one_after_the_other(tx: AsyncConnection, asks: Request) -> None:
    # SQLite has one writer in any case. Nothing else is locked after this, so nobody can wait for each other.
    if tx.dialect.name == "postgresql":
        text = f"{asks.key_id}:{asks.body_hash}".encode()
        await tx.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK, zlib.crc32(text) - 2**31)))


def _of(asks: Request) -> sa.ColumnElement[bool]:
    return sa.and_(_row.c.key_id == asks.key_id, _row.c.body_hash == asks.body_hash)


def _mine(asks: Request, job_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(_row.c.job_id == job_id, _row.c.holder == asks.holder)
