"""What the record names in the archive, pictures and uploads: whether it is there, and copies of it elsewhere.

A copy is an archive of its own: a folder that Torii can be started on. What is there already is not copied again.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import sqlalchemy as sa

from gateway import errors
from gateway.archive import keys, sidecar
from gateway.archive.bucket import Bucket
from gateway.storage import pages, tables, upload_tables
from gateway.storage.database import Database

_AT_ONCE = 8
_PAGE = 500

_image = tables.images
_job = tables.jobs
_upload = upload_tables.uploads


@dataclass(frozen=True)
class Stocked:
    """One object that the record names, and what lies beside it."""

    key: str
    #: None for an upload.
    beside: str | None
    sha256: str
    content_type: str


@dataclass
class Count:
    """What became of a look at many pictures; ``missing`` and ``damaged`` have their keys in the archive."""

    looked_at: int = 0
    copied: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether every one is there and what it was."""
        return not self.missing and not self.damaged


async def verify(database: Database, bucket: Bucket, newest: int | None) -> Count:
    """Read the pictures and compare their SHA-256: so many of the newest, or all. Raises ``ArchiveUnavailable``."""
    count = Count()
    async for page in _pages(database, newest):
        for stocked, data in zip(page, await _each(page, bucket), strict=True):
            count.looked_at += 1
            if data is None:
                count.missing.append(stocked.key)
            elif hashlib.sha256(data).hexdigest() != stocked.sha256:
                count.damaged.append(stocked.key)
    return count


async def copy(database: Database, source: Bucket, target: Bucket) -> Count:
    """Bring each picture and its sidecar from one archive into another; raises ``ArchiveUnavailable``."""
    count = Count()
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(stocked: Stocked) -> None:
        async with turns:
            await _bring(stocked, source, target, count)

    async for page in _pages(database, None):
        async with asyncio.TaskGroup() as group:
            for stocked in page:
                group.create_task(one(stocked))
    return count


async def _bring(stocked: Stocked, source: Bucket, target: Bucket, count: Count) -> None:
    count.looked_at += 1
    if await target.exists(stocked.key):
        return
    data = await _get(source, stocked.key)
    if data is None:
        count.missing.append(stocked.key)
        return
    if hashlib.sha256(data).hexdigest() != stocked.sha256:
        count.damaged.append(stocked.key)
        return
    beside = None if stocked.beside is None else await _get(source, stocked.beside)
    if beside and stocked.beside is not None:
        await target.put(stocked.beside, beside, sidecar.CONTENT_TYPE)
    # Last, since it says that both are there.
    await target.put(stocked.key, data, stocked.content_type)
    count.copied += 1


async def _each(page: list[Stocked], bucket: Bucket) -> list[bytes | None]:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(stocked: Stocked) -> bytes | None:
        async with turns:
            return await _get(bucket, stocked.key)

    return await asyncio.gather(*(one(stocked) for stocked in page))


async def _get(bucket: Bucket, key: str) -> bytes | None:
    try:
        return await bucket.get(key)
    except errors.ImageNotFound:
        return None


async def _pages(database: Database, newest: int | None) -> AsyncIterator[list[Stocked]]:
    """The rows' pictures and then their uploads, the newest of each first, in portions; each row counts."""
    async for page in _pictures(database, newest):
        yield page
    async for page in _uploads(database, newest):
        yield page


async def _uploads(database: Database, newest: int | None) -> AsyncIterator[list[Stocked]]:
    left = newest
    asked = pages.Slice(_PAGE)
    while left is None or left > 0:
        asked = pages.Slice(_PAGE if left is None else min(_PAGE, left), asked.cursor)
        async with database.read() as connection:
            order = (_upload.c.created_at, _upload.c.id)
            found = await pages.page(connection, sa.select(_upload), order, asked, newest_first=True)
        if found.rows:
            yield [Stocked(row.object_key, None, row.sha256, row.content_type) for row in found.rows]
        if found.next_cursor is None:
            return
        asked = pages.Slice(_PAGE, found.next_cursor)
        left = None if left is None else left - len(found.rows)


async def _pictures(database: Database, newest: int | None) -> AsyncIterator[list[Stocked]]:
    """The rows' pictures, the newest first, in portions; of several rows for one object each counts."""
    last: tuple[object, str] | None = None
    left = newest
    while left is None or left > 0:
        asked = (
            sa.select(_image, _job.c.created_at.label("ordered_at"))
            .join(_job, _job.c.id == _image.c.job_id)
            .order_by(_image.c.created_at.desc(), _image.c.id.desc())
            .limit(_PAGE if left is None else min(_PAGE, left))
        )
        if last is not None:
            before = sa.and_(_image.c.created_at == last[0], _image.c.id < last[1])
            asked = asked.where(sa.or_(_image.c.created_at < last[0], before))
        async with database.read() as connection:
            rows = (await connection.execute(asked)).all()
        if not rows:
            return
        yield [
            Stocked(
                row.object_key,
                keys.sidecar(row.team_id, row.job_id, row.position, row.ordered_at),
                row.sha256,
                row.content_type,
            )
            for row in rows
        ]
        last = (rows[-1].created_at, rows[-1].id)
        left = None if left is None else left - len(rows)
