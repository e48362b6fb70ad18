"""The secrets that a team's webhooks are signed with: made, rotated, opened, sealed anew. Signs and sends nothing.

A secret's text is given once, when it is made by a rotation; afterwards only its id and its times are shown. The team
comes first in each question that a caller can ask.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import ids
from gateway.settings.keyring import DerivedKey
from gateway.storage import outbox, tables
from gateway.storage.database import Database
from gateway.webhooks import sealing, signature
from gateway.webhooks.sealing import Sealed

_secret = outbox.webhook_secrets

#: How long the secrets before still sign after a rotation, unless another time is asked for.
GRACE_S = 86_400
GRACE_MAX_S = 30 * 86_400

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Secret:
    """A secret as it may be shown: without its text."""

    id: str
    team_id: str
    created_at: datetime
    #: It signs until then; none for the one in force.
    expires_at: datetime | None


async def living(connection: AsyncConnection, team_id: str, now: datetime) -> list[Secret]:
    """The team's secrets that sign now, the newest first."""
    return [_read(row) for row in await _rows(connection, team_id, now)]


async def opened(database: Database, ring: tuple[DerivedKey, ...], team_id: str, now: datetime) -> list[bytes]:
    """What signs the team's messages now, the newest first; its first secret is made at its first need.

    Empty if none of them can be opened, since the secret key that sealed them is not in the list any more.
    """
    async with database.read() as connection:
        rows = await _rows(connection, team_id, now)
    if not rows:
        async with database.write() as tx:
            await _lock(tx, team_id)
            rows = await _rows(tx, team_id, now)
            if not rows:
                secret = signature.new_secret()
                await _add(tx, ring[0], team_id, secret, now)
                return [secret]
    found = {row.id: sealing.open(ring, Sealed(row.sealed, row.sealed_key), row.id) for row in rows}
    lost = [secret_id for secret_id, secret in found.items() if secret is None]
    if lost:
        log.error("webhook_secret_cannot_be_opened", team_id=team_id, secrets=lost)
    return [secret for secret in found.values() if secret is not None]


async def rotate(
    tx: AsyncConnection, ring: tuple[DerivedKey, ...], team_id: str, grace: timedelta, now: datetime
) -> tuple[Secret, str]:
    """A new secret and its text; those before sign on for the grace, and not at all without one."""
    await _lock(tx, team_id)
    end = now + grace
    await tx.execute(
        _secret.update()
        .where(_secret.c.team_id == team_id, sa.or_(_secret.c.expires_at.is_(None), _secret.c.expires_at > end))
        .values(expires_at=end)
    )
    secret = signature.new_secret()
    return await _add(tx, ring[0], team_id, secret, now), signature.spell(secret)


async def forget_expired(tx: AsyncConnection, now: datetime) -> None:
    """Delete the secrets that sign no more."""
    await tx.execute(_secret.delete().where(_secret.c.expires_at <= now))


async def expired(connection: AsyncConnection, now: datetime) -> bool:
    """Whether ``forget_expired`` would delete anything."""
    found = await connection.execute(sa.select(_secret.c.id).where(_secret.c.expires_at <= now).limit(1))
    return found.first() is not None


async def under_older_secrets(connection: AsyncConnection, ring: tuple[DerivedKey, ...]) -> int:
    """How many secrets could not be opened if every secret key but the current one were dropped."""
    return (
        await connection.execute(
            sa.select(sa.func.count()).select_from(_secret).where(_secret.c.sealed_key != ring[0].id)
        )
    ).scalar_one()


async def lost(connection: AsyncConnection, ring: tuple[DerivedKey, ...]) -> int:
    """How many secrets were sealed under a key that is not in the list any more."""
    known = [key.id for key in ring]
    return (
        await connection.execute(
            sa.select(sa.func.count()).select_from(_secret).where(_secret.c.sealed_key.not_in(known))
        )
    ).scalar_one()


async def unopened(connection: AsyncConnection, ring: tuple[DerivedKey, ...]) -> int:
    """How many secrets no key of the list opens, by opening each."""
    rows = await connection.execute(sa.select(_secret))
    return sum(sealing.open(ring, Sealed(row.sealed, row.sealed_key), row.id) is None for row in rows)


async def seal_anew(database: Database, ring: tuple[DerivedKey, ...], at_once: int) -> int:
    """Seal under the current key what an older one of the list sealed, so many at a time; how many were."""
    older = [key.id for key in ring[1:]]
    if not older:
        return 0
    question = sa.select(_secret).where(_secret.c.sealed_key.in_(older)).limit(at_once)
    async with database.read() as connection:
        rows = (await connection.execute(question)).all()
    moved = 0
    for row in rows:
        secret = sealing.open(ring, Sealed(row.sealed, row.sealed_key), row.id)
        if secret is None:
            continue  # damaged: the count of older ones keeps telling of it
        sealed = sealing.seal(ring[0], secret, row.id)
        async with database.write() as tx:
            await tx.execute(
                _secret.update()
                .where(_secret.c.id == row.id, _secret.c.sealed_key == row.sealed_key)
                .values(sealed=sealed.data, sealed_key=sealed.key_id)
            )
        moved += 1
    return moved


async def _rows(connection: AsyncConnection, team_id: str, now: datetime) -> list[sa.Row[tuple[object, ...]]]:
    question = (
        sa.select(_secret)
        .where(_secret.c.team_id == team_id, sa.or_(_secret.c.expires_at.is_(None), _secret.c.expires_at > now))
        .order_by(_secret.c.created_at.desc(), _secret.c.id)
    )
    return list((await connection.execute(question)).all())


async def _lock(tx: AsyncConnection, team_id: str) -> None:
    """Keep others from making a secret for the same team meanwhile."""
    await tx.execute(sa.select(tables.teams.c.id).where(tables.teams.c.id == team_id).with_for_update(key_share=True))


async def _add(tx: AsyncConnection, key: DerivedKey, team_id: str, secret: bytes, now: datetime) -> Secret:
    row_id = ids.webhook_secret()
    sealed = sealing.seal(key, secret, row_id)
    row = await tx.execute(
        _secret.insert()
        .values(id=row_id, team_id=team_id, sealed=sealed.data, sealed_key=sealed.key_id, created_at=now)
        .returning(_secret)
    )
    return _read(row.one())


def _read(row: sa.Row[tuple[object, ...]]) -> Secret:
    return Secret(row.id, row.team_id, row.created_at, row.expires_at)
