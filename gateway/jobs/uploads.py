"""Uploads: pictures that callers brought to start from, as rows: found, listed, and let go.

An upload that an unfinished job starts from stays: its job may not have been sent, or may be fetching it. The row goes
with one transaction, which also writes down the object that is to go from the archive, if no other row names it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, ids
from gateway.archive import links
from gateway.clock import rfc3339_ms
from gateway.jobs.view import Frame
from gateway.settings.keyring import DerivedKey
from gateway.storage import erasure_tables, pages, tables, upload_tables
from gateway.storage.erasure_tables import Cause, Kind
from gateway.storage.pages import Slice
from gateway.tenancy import audit, keys

PREFIX: Final = "upload_"
#: One refusal names so many of the jobs that are in its way.
_NAMED: Final = 5

_upload = upload_tables.uploads
_use = upload_tables.upload_uses
_erasure = erasure_tables.erasures
_job = tables.jobs
_retention = erasure_tables.retention


@dataclass(frozen=True, slots=True)
class Upload:
    """One picture as its row tells it. Sides are in pixels."""

    id: str
    team_id: str
    key_id: str
    object_key: str
    content_type: str
    extension: str
    width: int
    height: int
    size_bytes: int
    sha256: str
    created_at: datetime
    expires_at: datetime


def read(row: sa.Row[Any]) -> Upload:
    """The upload of a whole row."""
    return Upload(**{name: getattr(row, name) for name in Upload.__dataclass_fields__})


def render(upload: Upload, frame: Frame, now: datetime) -> dict[str, Any]:
    """The upload's JSON members, with a fresh link, which ends with the upload at the latest."""
    life_s = min(frame.image_url_ttl_s, max(int((upload.expires_at - now).total_seconds()), 1))
    url, _ = link(upload, frame.public_url, frame.link_key, now, life_s)
    return {
        "uploadId": upload.id,
        "url": url,
        "contentType": upload.content_type,
        "width": upload.width,
        "height": upload.height,
        "bytes": upload.size_bytes,
        "sha256": upload.sha256,
        "createdAt": rfc3339_ms(upload.created_at),
        "expiresAt": rfc3339_ms(upload.expires_at),
    }


def link(upload: Upload, public_url: str, key: DerivedKey, now: datetime, life_s: int) -> tuple[str, datetime]:
    """An address at which whoever has it gets the bytes, and when that ends."""
    return links.sign(public_url, key, upload.id, upload.extension, now, life_s, folder=links.UPLOADS)


async def find(
    connection: AsyncConnection, team_id: str, upload_id: str, now: datetime, key_id: str | None = None
) -> Upload:
    """The team's upload; with a key, only if that key or one of its chain brought it. ``UploadNotFound``."""
    question = sa.select(_upload).where(_living(team_id, now), _upload.c.id == upload_id)
    if key_id is not None:
        question = question.where(_upload.c.key_id.in_(keys.kin(team_id, key_id)))
    row = (await connection.execute(question)).first()
    if row is None:
        raise errors.UploadNotFound(f"there is no upload {upload_id[:80]!r}", param="uploadId")
    return read(row)


async def any_team(connection: AsyncConnection, upload_id: str) -> Upload:
    """An upload whose link was signed, as long as it is there; ``UploadNotFound``."""
    row = (await connection.execute(sa.select(_upload).where(_upload.c.id == upload_id))).first()
    if row is None:
        raise errors.UploadNotFound
    return read(row)


async def several(
    connection: AsyncConnection, team_id: str, upload_ids: Sequence[str], now: datetime | None = None
) -> dict[str, Upload]:
    """Those of the team's uploads that are there, by id; with a moment, only those that an order may name then."""
    question = sa.select(_upload).where(_upload.c.team_id == team_id, _upload.c.id.in_(sorted(set(upload_ids))))
    if now is not None:
        question = question.where(_upload.c.expires_at > now)
    return {row.id: read(row) for row in await connection.execute(question)}


async def page(
    connection: AsyncConnection, team_id: str, key_id: str | None, asked: Slice, now: datetime
) -> tuple[list[Upload], str | None]:
    """A slice of the team's uploads, or of a key's, newest first, and the cursor of the next."""
    question = sa.select(_upload).where(_living(team_id, now))
    if key_id is not None:
        question = question.where(_upload.c.key_id.in_(keys.kin(team_id, key_id)))
    order = (_upload.c.created_at, _upload.c.id)
    found = await pages.page(connection, question, order, asked, newest_first=True)
    return [read(row) for row in found.rows], found.next_cursor


async def pin(tx: AsyncConnection, team_id: str, upload_ids: Sequence[str], now: datetime) -> frozenset[str]:
    """Those of them that an order may name, kept from going until the transaction ends."""
    wanted = (_living(team_id, now), _upload.c.id.in_(sorted(set(upload_ids))))
    rows = await tx.execute(sa.select(_upload.c.id).where(*wanted).order_by(_upload.c.id).with_for_update(read=True))
    return frozenset(rows.scalars())


async def use(tx: AsyncConnection, uses: Sequence[tuple[str, str]]) -> None:
    """Write down which upload each job starts from; the uploads are pinned."""
    rows = [{"upload_id": upload_id, "job_id": job_id} for upload_id, job_id in uses]
    if rows:
        await tx.execute(_use.insert(), rows)


async def delete(tx: AsyncConnection, actor: str, upload: Upload, now: datetime) -> None:
    """Let an upload go; ``Conflict`` names the unfinished jobs that start from it."""
    if not await _lock(tx, upload.object_key, upload.id):
        raise errors.UploadNotFound(f"there is no upload {upload.id!r}", param="uploadId")
    used_by = sa.select(_job.c.id).where(*_unfinished(upload.id)).order_by(_job.c.created_at).limit(_NAMED)
    jobs = (await tx.execute(used_by)).scalars().all()
    if jobs:
        raise errors.Conflict(
            f"unfinished jobs start from it: {', '.join(jobs)}; it can be deleted once they have ended",
            param="uploadId",
        )
    await let_go(tx, upload, Cause.REQUEST, now)
    await audit.note(
        tx,
        actor=actor,
        action="upload.delete",
        subject=upload.id,
        team_id=upload.team_id,
        before={"bytes": upload.size_bytes},
        after={},
        at=now,
    )


async def due(connection: AsyncConnection, now: datetime, at_most: int) -> list[Upload]:
    """Uploads whose time is over, or whose team is gone, and that no unfinished job starts from."""
    team = tables.teams
    gone = sa.select(team.c.id).where(team.c.deleted_at.is_not(None))
    ended = [_upload.c.expires_at <= now, _upload.c.team_id.in_(gone)]
    chosen = sa.select(_retention.c.prompts_days).distinct().where(_retention.c.prompts_days.is_not(None))
    for days in (await connection.execute(chosen)).scalars().all():
        # What a team's pictures were made from is kept no longer than the team keeps that.
        teams = sa.select(_retention.c.team_id).where(_retention.c.prompts_days == days)
        ended.append(sa.and_(_upload.c.team_id.in_(teams), _upload.c.created_at <= now - timedelta(days=days)))
    busy = sa.exists().where(*_unfinished(_upload.c.id))
    found: dict[str, Upload] = {}
    for over in ended:
        # One question for each reason: each has an index, all of them together have none.
        rows = await connection.execute(sa.select(_upload).where(over, ~busy).limit(at_most - len(found)))
        found |= {row.id: read(row) for row in rows}
    return list(found.values())


async def expire(tx: AsyncConnection, upload: Upload, now: datetime) -> bool:
    """Let an upload go that is due; false where somebody was quicker, or a job came to start from it."""
    if not await _lock(tx, upload.object_key, upload.id):
        return False
    if (await tx.execute(sa.select(_job.c.id).where(*_unfinished(upload.id)).limit(1))).first() is not None:
        return False
    await let_go(tx, upload, Cause.RETENTION, now)
    return True


async def let_go(tx: AsyncConnection, upload: Upload, cause: Cause, now: datetime) -> None:
    """Take the row away, and with the last one that names its object have that deleted. Its rows are locked."""
    await tx.execute(_use.delete().where(_use.c.upload_id == upload.id))
    await tx.execute(_upload.delete().where(_upload.c.id == upload.id))
    others = sa.select(_upload.c.id).where(_upload.c.object_key == upload.object_key).limit(1)
    if (await tx.execute(others)).first() is None:
        await tx.execute(_erasure.insert().values(**erasure(upload, cause, now, due_at=now)))


def erasure(upload: Upload, cause: Cause, now: datetime, due_at: datetime) -> dict[str, Any]:
    """The row by which a sweep deletes the upload's object."""
    return {
        "id": ids.erasure(),
        "team_id": upload.team_id,
        "job_id": upload.id,
        "kind": Kind.UPLOAD,
        "object_key": upload.object_key,
        "cause": cause,
        "created_at": now,
        "due_at": due_at,
        "passes": 1,
    }


async def _lock(tx: AsyncConnection, object_key: str, upload_id: str) -> bool:
    """Lock each row that names the object, so that the last one is known to be it; whether the upload is there."""
    named = sa.select(_upload.c.id).where(_upload.c.object_key == object_key).order_by(_upload.c.id)
    return upload_id in (await tx.execute(named.with_for_update())).scalars().all()


def _living(team_id: str, now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(_upload.c.team_id == team_id, _upload.c.expires_at > now)


def _unfinished(upload_id: str | sa.ColumnElement[str]) -> tuple[sa.ColumnElement[bool], ...]:
    return (_use.c.upload_id == upload_id, _use.c.job_id == _job.c.id, _job.c.ended_at.is_(None))
