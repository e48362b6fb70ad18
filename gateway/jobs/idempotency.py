"""``Idempotency-Key``: the same key and body give the same job, for 24 hours, even over a crash.

The key is written in the job's own transaction, so it holds exactly when the job does. What created no job is not
remembered. Scope: the team and the route.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.storage import tables

LIFE = timedelta(hours=24)
MAX_LENGTH = 255

_PARAM = "Idempotency-Key"
#: A bare key, which begins with no quote, or a quoted one (RFC 8941 3.3.3, with its escapes of quote and backslash).
_BARE = re.compile(r"[\x21\x23-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_QUOTED = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')

_key = tables.idempotency_keys


class KeyTaken(Exception):
    """Another request with this key was quicker: it has committed."""


@dataclass(frozen=True)
class Ticket:
    """A request under a key: what is stored of the key, and what its body comes to."""

    route: str
    key_hash: str
    body_hash: str


def ticket(header: str, route: str, body: Mapping[str, object]) -> Ticket:
    """The ticket of a request; ``InvalidParameter`` for a header that is no key.

    Two spellings of one JSON body (order of members, white space) are one body.
    """
    text = _text(header.strip())
    encoded = msgspec.json.encode(body, order="sorted")
    return Ticket(
        route=route,
        key_hash=hashlib.sha256(text.encode()).hexdigest(),
        body_hash=hashlib.sha256(encoded).hexdigest(),
    )


def _text(header: str) -> str:
    quoted = _QUOTED.fullmatch(header)
    text = re.sub(r"\\(.)", r"\1", quoted.group(1)) if quoted else header
    if not text or len(text) > MAX_LENGTH or not (quoted or _BARE.fullmatch(text)):
        raise errors.InvalidParameter(
            f"Idempotency-Key: must be 1 to {MAX_LENGTH} printable ASCII characters, bare or in quotes", param=_PARAM
        )
    return text


async def find(connection: AsyncConnection, team_id: str, asked: Ticket, now: datetime) -> str | None:
    """The id of the job that the key was first used for; ``KeyReused`` if that was another body."""
    row = (
        await connection.execute(
            sa.select(_key.c.job_id, _key.c.body_hash).where(_of(team_id, asked), _key.c.created_at > now - LIFE)
        )
    ).first()
    if row is None:
        return None
    if row.body_hash != asked.body_hash:
        raise errors.KeyReused(param=_PARAM)
    return str(row.job_id)


async def keep(tx: AsyncConnection, team_id: str, asked: Ticket, job_id: str, now: datetime) -> None:
    """Remember the key with its job; ``KeyTaken`` when another request was quicker."""
    await keep_all(tx, team_id, [(asked, job_id)], now)


async def keep_all(tx: AsyncConnection, team_id: str, kept: Sequence[tuple[Ticket, str]], now: datetime) -> None:
    """As ``keep``, for several; each waits for whoever is writing the same key, in the order of the keys."""
    rows = [
        {
            "team_id": team_id,
            "route": asked.route,
            "key_hash": asked.key_hash,
            "body_hash": asked.body_hash,
            "job_id": job_id,
            "created_at": now,
        }
        for asked, job_id in sorted(kept, key=lambda each: (each[0].route, each[0].key_hash))
    ]
    for row in rows:
        if (await tx.execute(_keeping(tx.dialect.name), {**row, "over_at": now - LIFE})).first() is None:
            raise KeyTaken


@lru_cache
def _keeping(dialect: str) -> sa.Executable:
    """One row; of a key that is over it takes the place, of one that is not none."""
    insert: Any = (postgresql if dialect == "postgresql" else sqlite).insert(_key)
    statement: sa.Executable = insert.on_conflict_do_update(
        index_elements=[column.name for column in _key.primary_key.columns],
        set_={name: insert.excluded[name] for name in ("body_hash", "job_id", "created_at")},
        where=_key.c.created_at <= sa.bindparam("over_at", type_=_key.c.created_at.type),
    ).returning(_key.c.job_id)
    return statement


async def forget_old(tx: AsyncConnection, now: datetime) -> int:
    """Delete what is older than a day; how many there were."""
    return (await tx.execute(_key.delete().where(_key.c.created_at <= now - LIFE))).rowcount


def _of(team_id: str, asked: Ticket) -> sa.ColumnElement[bool]:
    return sa.and_(_key.c.team_id == team_id, _key.c.route == asked.route, _key.c.key_hash == asked.key_hash)
