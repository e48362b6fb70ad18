"""Small copies of archived pictures: made once, when the first one asks, and kept in the archive beside the picture.

Whatever fails, there is still the picture: then there is no copy, and the next one who asks has it tried again. Of two
processes that make one at once, both write the same.
"""

import asyncio
from typing import Final

import structlog

from gateway import errors
from gateway.archive import keys
from gateway.archive.bucket import Bucket
from gateway.images import thumbnail
from gateway.images.picture import NotAPicture
from gateway.jobs import lookup
from gateway.jobs.record import Image
from gateway.storage.database import Database

#: Each takes a core for a moment and a decoded picture's memory.
AT_ONCE: Final = 2
#: Larger files are not worth their memory for a copy of a few kilobytes.
MAX_BYTES: Final = 64 * 1024 * 1024

log = structlog.get_logger(__name__)


class Thumbnails:
    """Makes them for one process."""

    def __init__(self, database: Database, bucket: Bucket) -> None:
        self._database = database
        self._bucket = bucket
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._making: dict[str, asyncio.Task[bytes | None]] = {}

    async def fetch(self, image: Image) -> bytes | None:
        """The picture's small copy; none where it could not be made or read."""
        key = keys.thumbnail(image.object_key)
        try:
            return await self._bucket.get(key)
        except errors.ImageNotFound:
            return await self._made(image, key)
        except errors.ArchiveUnavailable:
            return None

    async def _made(self, image: Image, key: str) -> bytes | None:
        # Whoever asks for the same one meanwhile waits for the same work, which goes on if all of them leave.
        task = self._making.get(key)
        if task is None:
            task = asyncio.create_task(self._make(image, key))
            self._making[key] = task
            task.add_done_callback(lambda _: self._making.pop(key, None))
        return await asyncio.shield(task)

    async def _make(self, image: Image, key: str) -> bytes | None:
        if image.size_bytes > MAX_BYTES:
            return None
        try:
            async with self._turns:
                made = await asyncio.to_thread(thumbnail.make, await self._bucket.get(image.object_key))
            await self._keep(image, key, made)
        except (NotAPicture, MemoryError, errors.ImageNotFound, errors.ArchiveUnavailable) as error:
            log.warning("thumbnail_not_made", image_id=image.id, reason=str(error)[:100] or type(error).__name__)
            return None
        return made

    async def _keep(self, image: Image, key: str, made: bytes) -> None:
        await self._bucket.put(key, made, thumbnail.CONTENT_TYPE)
        try:
            async with self._database.read() as connection:
                await lookup.image(connection, image.id)
        except errors.ImageNotFound:
            # It was erased meanwhile, and this copy would outlive it.
            await self._bucket.delete(key)
            raise
        except errors.StoreUnavailable:
            return
