"""Who is signed in to the console: begun, recognised, ended. Knows no cookie and no page.

What a browser keeps is an id and a secret of its own, never a key; the store keeps the secret's digest. A session is
good while its key is, which is asked apart (``recognition.Recogniser.recall``): here only its own time counts.
"""

import contextlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, ids
from gateway.settings.keyring import DerivedKey
from gateway.storage import session_tables
from gateway.storage.database import Database

#: Nobody was there for so long.
IDLE: Final = timedelta(hours=2)
#: A working day; then one signs in anew.
LIFE: Final = timedelta(hours=12)
#: Writing down each use would cost more than it tells.
SEEN_STEP: Final = timedelta(minutes=1)

_SECRET_DIGITS: Final = 43
_TEXT: Final = re.compile(rf"(ses_[0-9A-Za-z]{{22}})\.([0-9A-Za-z]{{{_SECRET_DIGITS}}})", re.ASCII)
_session = session_tables.sessions


@dataclass(frozen=True)
class Session:
    """A browser that is signed in."""

    id: str
    #: None for the operator, who showed the admin token.
    key_id: str | None
    expires_at: datetime
    #: What each form of this session must bring along.
    csrf: str


@dataclass(frozen=True)
class Begun:
    """A new session, and the text that its browser keeps."""

    session: Session
    text: str


async def begin(
    tx: AsyncConnection,
    ring: Sequence[DerivedKey],
    now: datetime,
    *,
    key_id: str | None = None,
    admin_token: str | None = None,
) -> Begun:
    """A session of that key's or that admin token's holder; what ended long ago is swept out with it."""
    current, session_id, secret = ring[0], ids.session(), ids.base62(_SECRET_DIGITS)
    expires_at = now + LIFE
    await tx.execute(_session.delete().where(sa.or_(_session.c.expires_at <= now, _session.c.seen_at <= now - IDLE)))
    await tx.execute(
        _session.insert().values(
            id=session_id,
            digest=_digest(current, "session", secret),
            digest_key=current.id,
            key_id=key_id,
            operator=None if admin_token is None else _digest(current, "operator", admin_token),
            created_at=now,
            seen_at=now,
            expires_at=expires_at,
        )
    )
    session = Session(session_id, key_id, expires_at, _csrf(current, session_id, secret))
    return Begun(session, f"{session_id}.{secret}")


async def find(
    database: Database,
    ring: Sequence[DerivedKey],
    admin_tokens: Sequence[str],
    text: str,
    now: datetime,
    *,
    used: bool = True,
) -> Session | None:
    """The session of that text, none if there is none or its time is over.

    Noted as used, unless a page that nobody may be looking at asked by itself. An operator's session ends when its
    admin token is none any more. Raises ``StoreUnavailable`` when nobody can tell.
    """
    parsed = _TEXT.fullmatch(text)
    if parsed is None:
        return None
    session_id, secret = parsed.groups()
    async with database.read() as connection:
        row = (await connection.execute(sa.select(_session).where(_session.c.id == session_id))).first()
    if row is None or row.expires_at <= now or row.seen_at <= now - IDLE:
        return None
    made_under = next((key for key in ring if key.id == row.digest_key), None)
    if made_under is None or not hmac.compare_digest(_digest(made_under, "session", secret), row.digest):
        return None
    if row.key_id is None and not _of_operator(made_under, row.operator, admin_tokens):
        return None
    if used and now - row.seen_at > SEEN_STEP:
        await _mark_seen(database, session_id, now)
    return Session(session_id, row.key_id, row.expires_at, _csrf(made_under, session_id, secret))


async def end(tx: AsyncConnection, session_id: str) -> None:
    """Sign out: the session is gone, whatever its browser keeps."""
    await tx.execute(_session.delete().where(_session.c.id == session_id))


def _of_operator(made_under: DerivedKey, kept: bytes | None, admin_tokens: Sequence[str]) -> bool:
    # Every token is compared, so that the time taken tells nothing about which one matched.
    matches = [hmac.compare_digest(_digest(made_under, "operator", token), kept or b"") for token in admin_tokens]
    return any(matches)


async def _mark_seen(database: Database, session_id: str, now: datetime) -> None:
    # Nobody is sent away because this note could not be written.
    with contextlib.suppress(errors.StoreUnavailable):
        async with database.write() as tx:
            await tx.execute(_session.update().where(_session.c.id == session_id).values(seen_at=now))


def _csrf(key: DerivedKey, session_id: str, secret: str) -> str:
    return urlsafe_b64encode(_digest(key, "csrf", f"{session_id}.{secret}")).rstrip(b"=").decode()


def _digest(key: DerivedKey, use: str, text: str) -> bytes:
    return hmac.digest(key.key, f"{use}\n{text}".encode(), "sha256")
