"""The keys of teams: minted, recognised, revoked. Keeps only digests; a key's text is seen once, by its holder."""

import contextlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.settings.keyring import DerivedKey
from gateway.storage import tables
from gateway.storage.database import Database
from gateway.tenancy import keytext, scopes
from gateway.tenancy.keytext import KeyText
from gateway.tenancy.scopes import Scope

#: "Last used" is for people who clean up; writing it at each call would cost more than it tells.
LAST_USED_STEP = timedelta(minutes=1)


@dataclass(frozen=True)
class Key:
    """A key as the store has it, without its digest."""

    id: str
    team_id: str
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def alive(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


async def create(
    tx: AsyncConnection,
    team_id: str,
    name: str,
    granted: frozenset[Scope],
    ring: tuple[DerivedKey, ...],
    at: datetime,
    expires_at: datetime | None = None,
) -> tuple[Key, KeyText]:
    """A new key of the team and its text, which is not kept. ``InvalidParameter`` for an expiry that is past."""
    if expires_at is not None and expires_at <= at:
        raise errors.InvalidParameter("expires: this moment is past", param="expires")
    text = keytext.mint()
    row = (
        await tx.execute(
            tables.api_keys.insert()
            .values(
                id=text.id,
                team_id=team_id,
                name=name,
                digest=keytext.digest(ring[0].key, text),
                digest_key=ring[0].id,
                scopes=scopes.spell(granted),
                created_at=at,
                expires_at=expires_at,
            )
            .returning(tables.api_keys)
        )
    ).one()
    return _key(row), text


async def recognise(database: Database, text: str, ring: tuple[DerivedKey, ...], now: datetime) -> Key:
    """The living key of that text.

    Raises ``NotAuthenticated`` only when the store answered that there is no such key, and ``StoreUnavailable`` when
    it could not be asked. All wrong keys get one answer, and the digest is compared in constant time. A digest made
    under an older secret is made anew under the current one, so that a rotation comes to its end by use.
    """
    parsed = keytext.parse(text)
    if parsed is None:
        raise errors.NotAuthenticated
    async with database.read() as connection:
        row = (await connection.execute(sa.select(tables.api_keys).where(tables.api_keys.c.id == parsed.id))).first()
    made_under = next((key for key in ring if row is not None and key.id == row.digest_key), None)
    if row is None or made_under is None:
        raise errors.NotAuthenticated
    if not hmac.compare_digest(keytext.digest(made_under.key, parsed), row.digest):
        raise errors.NotAuthenticated
    key = _key(row)
    if not key.alive(now):
        raise errors.NotAuthenticated
    if made_under is not ring[0] or key.last_used_at is None or now - key.last_used_at > LAST_USED_STEP:
        await _mark_used(database, parsed, ring[0], now)
    return key


async def _mark_used(database: Database, text: KeyText, current: DerivedKey, now: datetime) -> None:
    # A caller with a good key is not turned away because this note could not be written.
    with contextlib.suppress(errors.StoreUnavailable):
        async with database.write() as tx:
            await tx.execute(
                tables.api_keys.update()
                .where(tables.api_keys.c.id == text.id)
                .values(last_used_at=now, digest=keytext.digest(current.key, text), digest_key=current.id)
            )


async def revoke(tx: AsyncConnection, team_id: str, key_id: str, at: datetime) -> Key:
    """The key, revoked from now on (or from when it first was); ``KeyNotFound``."""
    key = tables.api_keys
    row = (
        await tx.execute(
            key.update()
            .where(key.c.team_id == team_id, key.c.id == key_id)
            .values(revoked_at=sa.func.coalesce(key.c.revoked_at, sa.literal(at, tables.Moment)))
            .returning(key)
        )
    ).first()
    if row is None:
        raise errors.KeyNotFound(f"this team has no key {key_id[:40]!r}", param="key")
    return _key(row)


async def owner(connection: AsyncConnection, key_id: str) -> str:
    """The team that a key belongs to, for an operator who knows only the key's id; ``KeyNotFound``."""
    key = tables.api_keys
    team_id = (await connection.execute(sa.select(key.c.team_id).where(key.c.id == key_id))).scalar_one_or_none()
    if team_id is None:
        raise errors.KeyNotFound(f"there is no key {key_id[:40]!r}", param="key")
    return str(team_id)


async def listing(connection: AsyncConnection, team_id: str) -> list[Key]:
    """The team's keys, oldest first."""
    key = tables.api_keys
    rows = await connection.execute(sa.select(key).where(key.c.team_id == team_id).order_by(key.c.created_at, key.c.id))
    return [_key(row) for row in rows]


async def under_older_secrets(connection: AsyncConnection, ring: tuple[DerivedKey, ...]) -> int:
    """How many living keys would be lost if every secret but the current one were dropped."""
    key = tables.api_keys
    return (
        await connection.execute(
            sa.select(sa.func.count()).where(key.c.digest_key != ring[0].id, key.c.revoked_at.is_(None))
        )
    ).scalar_one()


def _key(row: sa.Row[tuple[object, ...]]) -> Key:
    return Key(
        id=row.id,
        team_id=row.team_id,
        name=row.name,
        scopes=scopes.read(row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
