"""The keys of teams: minted, rotated, revoked, listed. Keeps only digests; a key's text is seen once, by its holder.

Who shows a key at the front door is recognised in ``recognition``, which remembers for a moment; ``recognise`` here
asks the store and remembers nothing, for commands.
"""

import contextlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.settings.keyring import DerivedKey
from gateway.storage import columns, pages, tables
from gateway.storage.database import Database
from gateway.storage.pages import Slice
from gateway.tenancy import keytext, scopes
from gateway.tenancy.keytext import KeyText
from gateway.tenancy.scopes import Scope

#: "Last used" is for people who clean up; writing it at each call would cost more than it tells.
LAST_USED_STEP: Final = timedelta(minutes=1)
NAME_CHARACTERS_MAX: Final = 200
#: What a key's own limit may be.
LIMIT_MAX: Final = 1_000_000
#: A rotated key that lives on for longer was not rotated but doubled.
GRACE_MAX: Final = timedelta(days=30)

_key = tables.api_keys
_team = tables.teams
_budget = tables.budgets


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
    #: New generations a minute and jobs in flight; none where only the team's limits apply.
    rpm: int | None = None
    concurrency: int | None = None
    #: The key that took its place, when it was rotated.
    successor: str | None = None
    #: The first key of its chain of rotations; none for that key itself.
    lineage: str | None = None

    @property
    def first(self) -> str:
        """The id under which all keys of its chain have their budgets and their pace."""
        return self.lineage or self.id

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
    *,
    rpm: int | None = None,
    concurrency: int | None = None,
) -> tuple[Key, KeyText]:
    """A new key of the team and its text, which is not kept.

    ``InvalidParameter`` says which of its name, expiry and limits cannot be. Whether the one who asks may grant all
    that is for ``authority`` to say.
    """
    if not name.isprintable() or not 1 <= len(name) <= NAME_CHARACTERS_MAX:
        raise errors.InvalidParameter(
            f"name: use 1 to {NAME_CHARACTERS_MAX} characters that can be printed", param="name"
        )
    if expires_at is not None and expires_at <= at:
        raise errors.InvalidParameter("expires: this moment is past", param="expires")
    _require_limits(rpm, concurrency)
    values = {
        "team_id": team_id,
        "name": name,
        "scopes": scopes.spell(granted),
        "expires_at": expires_at,
        "rpm": rpm,
        "concurrency": concurrency,
    }
    return await _insert(tx, keytext.mint(), ring[0], at, values)


async def rotate(
    tx: AsyncConnection, team_id: str, key_id: str, grace: timedelta, ring: tuple[DerivedKey, ...], at: datetime
) -> tuple[Key, KeyText]:
    """A key in the place of that one, with its name, scopes, limits and expiry, and the text of the new key.

    It goes on with the old one's budgets as they stand, and sees its jobs. The old one works until the grace is over,
    or until its own expiry if that is sooner; while both work they share budgets, pace and concurrency.

    Raises ``KeyNotFound``; ``Conflict`` for a key that is over or was rotated before; ``InvalidParameter`` for a grace
    that cannot be.
    """
    if not timedelta(0) <= grace <= GRACE_MAX:
        raise errors.InvalidParameter(f"grace: use nothing to {GRACE_MAX.days} days", param="grace")
    old = await find(tx, team_id, key_id)
    if not old.alive(at):
        raise errors.Conflict("this key is revoked or expired; make a new one", param="key")
    text = keytext.mint()
    ends_at = at + grace if old.expires_at is None else min(old.expires_at, at + grace)
    replaced = await tx.execute(
        _key.update()
        # Looked at again where it is changed: of two rotations at once, one is told so.
        .where(_of(team_id, key_id), _key.c.successor.is_(None), _key.c.revoked_at.is_(None))
        .values(successor=text.id, expires_at=ends_at)
    )
    if not replaced.rowcount:
        raise errors.Conflict("this key was rotated or revoked before", param="key")
    values = {
        "team_id": team_id,
        "name": old.name,
        "scopes": scopes.spell(old.scopes),
        "expires_at": old.expires_at,
        "rpm": old.rpm,
        "concurrency": old.concurrency,
        "lineage": old.first,
    }
    made = await _insert(tx, text, ring[0], at, values)
    await _copy_budgets(tx, team_id, old.first, text.id)
    return made


async def recognise(database: Database, text: str, ring: tuple[DerivedKey, ...], now: datetime) -> Key:
    """The living key of that text.

    Raises ``NotAuthenticated`` only when the store answered that there is no such key, and ``StoreUnavailable`` when
    it could not be asked. A digest made under an older secret is made anew under the current one, so that a rotation
    of the secret comes to its end by use.
    """
    parsed = keytext.parse(text)
    if parsed is None:
        raise errors.NotAuthenticated
    question = sa.select(_key).join(_team, _team.c.id == _key.c.team_id)
    async with database.read() as connection:
        row = (await connection.execute(question.where(_key.c.id == parsed.id, _team.c.deleted_at.is_(None)))).first()
    key = None if row is None else read(row)
    if row is None or key is None or not proves(ring, parsed, row.digest, row.digest_key) or not key.alive(now):
        raise errors.NotAuthenticated
    if stale(key, row.digest_key, ring[0], now):
        await mark_used(database, parsed, ring[0], now)
    return key


def proves(ring: Sequence[DerivedKey], shown: KeyText, digest: bytes, digest_key: str) -> bool:
    """Whether the shown text has the stored digest under the key it was made with; compared in constant time."""
    made_under = next((key for key in ring if key.id == digest_key), None)
    return made_under is not None and hmac.compare_digest(keytext.digest(made_under.key, shown), digest)


def stale(key: Key, digest_key: str, current: DerivedKey, now: datetime) -> bool:
    """Whether it is time to note that the key is used, or to make its digest anew under the current secret."""
    return digest_key != current.id or key.last_used_at is None or now - key.last_used_at > LAST_USED_STEP


async def mark_used(database: Database, text: KeyText, current: DerivedKey, now: datetime) -> None:
    """Note that the key is used, with its digest under the current secret; a store that does not answer is let be.

    A caller with a good key is not turned away because this note could not be written.
    """
    with contextlib.suppress(errors.StoreUnavailable):
        async with database.write() as tx:
            await tx.execute(
                _key.update()
                .where(_key.c.id == text.id)
                .values(last_used_at=now, digest=keytext.digest(current.key, text), digest_key=current.id)
            )


async def revoke(tx: AsyncConnection, team_id: str, key_id: str, at: datetime) -> Key:
    """The key, revoked from now on (or from when it first was); ``KeyNotFound``. Its successor, if any, lives on."""
    row = (
        await tx.execute(
            _key.update()
            .where(_of(team_id, key_id))
            .values(revoked_at=sa.func.coalesce(_key.c.revoked_at, sa.literal(at, columns.Moment)))
            .returning(_key)
        )
    ).first()
    if row is None:
        raise _unknown(key_id)
    return read(row)


async def revoke_all(tx: AsyncConnection, team_id: str, at: datetime) -> int:
    """Revoke every living key of the team; how many there were."""
    return (
        await tx.execute(
            _key.update().where(_key.c.team_id == team_id, _key.c.revoked_at.is_(None)).values(revoked_at=at)
        )
    ).rowcount


async def limit(tx: AsyncConnection, team_id: str, key_id: str, *, rpm: int | None, concurrency: int | None) -> Key:
    """The key with those limits in place of its own; ``InvalidParameter`` names one that cannot be."""
    _require_limits(rpm, concurrency)
    values = {"rpm": rpm, "concurrency": concurrency}
    row = (await tx.execute(_key.update().where(_of(team_id, key_id)).values(values).returning(_key))).first()
    if row is None:
        raise _unknown(key_id)
    return read(row)


async def find(connection: AsyncConnection, team_id: str, key_id: str, *, lock: bool = False) -> Key:
    """The team's key of that id, living or not; ``KeyNotFound``. ``lock`` keeps it so until the transaction ends."""
    question = sa.select(_key).where(_of(team_id, key_id))
    row = (await connection.execute(question.with_for_update(key_share=True) if lock else question)).first()
    if row is None:
        raise _unknown(key_id)
    return read(row)


async def owner(connection: AsyncConnection, key_id: str) -> str:
    """The team that a key belongs to, for an operator who knows only the key's id; ``KeyNotFound``."""
    team_id = (await connection.execute(sa.select(_key.c.team_id).where(_key.c.id == key_id))).scalar_one_or_none()
    if team_id is None:
        raise errors.KeyNotFound(f"there is no key {key_id[:40]!r}", param="key")
    return str(team_id)


async def listing(connection: AsyncConnection, team_id: str) -> list[Key]:
    """All keys of the team, oldest first."""
    rows = await connection.execute(
        sa.select(_key).where(_key.c.team_id == team_id).order_by(_key.c.created_at, _key.c.id)
    )
    return [read(row) for row in rows]


async def names(connection: AsyncConnection, key_ids: set[str]) -> dict[str, str]:
    """The names of those keys by id, whoever's they are."""
    rows = await connection.execute(sa.select(_key.c.id, _key.c.name).where(_key.c.id.in_(sorted(key_ids))))
    return {row.id: row.name for row in rows}


async def page(connection: AsyncConnection, team_id: str, asked: Slice) -> tuple[list[Key], str | None]:
    """A slice of the team's keys, oldest first, and the cursor of the next."""
    question = sa.select(_key).where(_key.c.team_id == team_id)
    found = await pages.page(connection, question, (_key.c.created_at, _key.c.id), asked)
    return [read(row) for row in found.rows], found.next_cursor


async def under_older_secrets(connection: AsyncConnection, ring: tuple[DerivedKey, ...]) -> int:
    """How many living keys would be lost if every secret but the current one were dropped."""
    return (
        await connection.execute(
            sa.select(sa.func.count()).where(_key.c.digest_key != ring[0].id, _key.c.revoked_at.is_(None))
        )
    ).scalar_one()


async def under_lost_secrets(connection: AsyncConnection, ring: tuple[DerivedKey, ...], now: datetime) -> int:
    """How many living keys were made under a secret that is not in the list any more: nobody can use them."""
    known = [key.id for key in ring]
    living = sa.and_(_key.c.revoked_at.is_(None), sa.or_(_key.c.expires_at.is_(None), _key.c.expires_at > now))
    return (
        await connection.execute(sa.select(sa.func.count()).where(_key.c.digest_key.not_in(known), living))
    ).scalar_one()


def first_of(key_id: str) -> sa.ScalarSelect[str]:
    """The first key of that key's chain, as a part of a statement; no row for a key that does not exist."""
    one = _key.alias()
    return sa.select(sa.func.coalesce(one.c.lineage, one.c.id)).where(one.c.id == key_id).scalar_subquery()


def kin(team_id: str, key_id: str) -> sa.Select[tuple[str]]:
    """The ids of the team's keys that are of one chain with that key, itself among them, as a part of a statement."""
    one = _key.alias()
    first = sa.func.coalesce(one.c.lineage, one.c.id)
    return sa.select(one.c.id).where(one.c.team_id == team_id, first == first_of(key_id))


def read(row: sa.Row[Any]) -> Key:
    """The key of a row that has the columns of ``api_keys`` under their own names."""
    return Key(
        id=row.id,
        team_id=row.team_id,
        name=row.name,
        scopes=scopes.read(row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
        rpm=row.rpm,
        concurrency=row.concurrency,
        successor=row.successor,
        lineage=row.lineage,
    )


async def _insert(
    tx: AsyncConnection, text: KeyText, current: DerivedKey, at: datetime, values: dict[str, Any]
) -> tuple[Key, KeyText]:
    made = {"id": text.id, "digest": keytext.digest(current.key, text), "digest_key": current.id, "created_at": at}
    row = (await tx.execute(_key.insert().values(**values, **made).returning(_key))).one()
    return read(row), text


async def _copy_budgets(tx: AsyncConnection, team_id: str, old_id: str, new_id: str) -> None:
    """Copy the chain's budgets to the new key's own id.

    Nothing here reads the copies: release 2, which may run beside this one or come back, looks under a key's own id,
    and would find no limit.
    """
    names = [column.name for column in _budget.c if column.name not in {"key_id", "warned_period"}]
    own = sa.select(sa.literal(new_id), *(_budget.c[name] for name in names))
    own = own.where(_budget.c.team_id == team_id, _budget.c.key_id == old_id)
    await tx.execute(_budget.insert().from_select(["key_id", *names], own))


def _require_limits(rpm: int | None, concurrency: int | None) -> None:
    for param, asked in (("rpm", rpm), ("concurrency", concurrency)):
        if asked is not None and not 1 <= asked <= LIMIT_MAX:
            raise errors.InvalidParameter(f"{param}: use 1 to {LIMIT_MAX}, not {asked}", param=param)


def _of(team_id: str, key_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(_key.c.team_id == team_id, _key.c.id == key_id)


def _unknown(key_id: str) -> errors.KeyNotFound:
    return errors.KeyNotFound(f"this team has no key {key_id[:40]!r}", param="key")
