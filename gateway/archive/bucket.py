"""The object store that keeps every picture: a folder or an S3 bucket, under one set of verbs.

Never decides what an object is called (`keys`) or what is in it, never tries for longer than a caller waits, and
never tells a caller why the store failed: the reason is a note on the error, for the log.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import obstore
from obstore import exceptions
from obstore.store import LocalStore, S3Store

from gateway import errors, ids
from gateway.archive import aws, folder, keys
from gateway.telemetry import redaction

if TYPE_CHECKING:  # obstore has it in its stubs alone
    from obstore import Attributes

Result = TypeVar("Result")

#: One object is read in pieces of this size: a slow reader holds one piece and no connection.
CHUNK_BYTES = 4 * 1024 * 1024
#: No verb but `Bucket.check` takes longer, waiting for a thread included; that one takes three times as long.
DEADLINE_S = 30.0
#: No URL of the store's own lives longer: whoever has one needs nothing else, and nobody can take it back.
URL_LIFE_S_MAX = 900

_THREADS = 16
_REASON_CHARACTERS_MAX = 300


def open(url: str, access: aws.Access | None = None, deadline_s: float = DEADLINE_S) -> "Bucket":
    """The archive at ``url``: a folder, which is made if need be, or ``s3://bucket/prefix``, which must exist.

    Raises ``ArchiveUnavailable`` when the folder cannot be made; an S3 bucket is first asked at the first verb.
    """
    if url.startswith(aws.SCHEME):
        return Bucket(aws.store(url, access or aws.Access()), deadline_s=deadline_s)
    try:
        place = folder.Folder(Path(url))
        return Bucket(LocalStore(place.path), place, deadline_s=deadline_s)
    except (OSError, ValueError, exceptions.BaseError) as error:
        raise _unavailable(error) from None


class Bucket:
    """An open archive. Each verb raises ``ArchiveUnavailable`` when the store fails, ``ValueError`` for a bad key.

    Calls run in threads of the bucket's own: obstore's asyncio bridge can abort the interpreter when the process ends
    soon after a call (19 of 100 short runs with 0.12.1), and writing to a folder blocks anyway.
    """

    def __init__(self, store: LocalStore | S3Store, place: folder.Folder | None = None, *, deadline_s: float) -> None:
        self._store = store
        self._folder = place
        self._deadline_s = deadline_s
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="archive")

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """Keep ``data`` (not empty) under ``key``, for good when this returns; putting the same again changes nothing.

        The content type is kept by S3 alone, and for a picture what else a browser wants to know that gets it there.
        """
        if not data:
            raise ValueError("an empty object is no picture")
        await self._run(lambda: self._write(keys.checked(key), data, content_type))

    async def get(self, key: str) -> bytes:
        """The whole object; raises ``ImageNotFound`` when there is none."""
        return await self._run(lambda: bytes(self._store.get(keys.checked(key)).bytes()))

    async def stream(self, key: str) -> tuple[int, AsyncIterator[bytes]]:
        """The object's size in bytes, and its pieces in order; raises ``ImageNotFound`` before the first piece.

        Each piece is a request of its own, so a reader may be as slow as it likes. The iterator raises
        ``ArchiveUnavailable`` or ``ImageNotFound`` when the store or the object goes away meanwhile.
        """
        size, first = await self._run(lambda: self._piece(key, 0, CHUNK_BYTES))
        return size, self._pieces(key, size, first)

    async def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        try:
            # Not HEAD: its 404 has no body to tell a missing object from a missing bucket.
            await self._run(lambda: self._piece(key, 0, 1))
        except errors.ImageNotFound:
            return False
        return True

    async def url(self, key: str, life_s: int, method: Literal["GET", "HEAD"] = "GET") -> str:
        """An address at which the store itself gives the object, good for that method and that many seconds.

        At most ``URL_LIFE_S_MAX``. Whoever has it needs no key, so it is a secret. ``ValueError`` for a folder. Whether
        the object exists is not asked.
        """
        store = self._store
        if isinstance(store, LocalStore) or not 1 <= life_s <= URL_LIFE_S_MAX:
            raise ValueError("no such address can be made")
        life = timedelta(seconds=life_s)
        return await self._run(lambda: obstore.sign(store, method, keys.checked(key), life))

    async def delete(self, key: str) -> None:
        """Remove the object; one that is not there is as good as removed."""
        try:
            await self._run(lambda: self._store.delete(keys.checked(key)))
        except errors.ImageNotFound:
            return

    async def check(self) -> None:
        """Write, read and delete a tiny object of its own: returns when the archive can be relied on right now."""
        key = f"checks/{ids.base62(16)}"
        data = key.encode()
        await self.put(key, data, "text/plain")
        try:
            if await self.get(key) != data:
                raise _unavailable(ValueError("the archive gave back other bytes than were put"))
        finally:
            await self.delete(key)

    def close(self) -> None:
        """Take no more calls; those under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _write(self, key: str, data: bytes, content_type: str) -> None:
        if self._folder is not None:
            self._folder.write(key, data)
        else:
            # One PUT, not parts: it is atomic and strongly consistent, and takes up to 5 GB.
            self._store.put(key, data, attributes=_attributes(key, content_type), use_multipart=False)

    def _piece(self, key: str, start: int, length: int) -> tuple[int, bytes]:
        found = self._store.get(keys.checked(key), options={"range": (start, start + length)})
        return found.meta["size"], bytes(found.bytes())

    async def _pieces(self, key: str, size: int, first: bytes) -> AsyncIterator[bytes]:
        yield first
        for start in range(len(first), size, CHUNK_BYTES):
            _, piece = await self._run(partial(self._piece, key, start, CHUNK_BYTES))
            yield piece

    async def _run(self, deed: Callable[[], Result]) -> Result:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._attempt, deed)
        except TimeoutError:
            raise _unavailable(TimeoutError(f"no answer within {self._deadline_s:g} s")) from None
        except RuntimeError as error:  # the threads are shut down
            raise _unavailable(error) from None

    def _attempt(self, deed: Callable[[], Result]) -> Result:
        try:
            return deed()
        except FileNotFoundError as error:
            raise self._absence(error) from None
        except (OSError, exceptions.BaseError) as error:
            raise _unavailable(error) from None

    def _absence(self, error: FileNotFoundError) -> errors.ToriiError:
        """A missing object, or a missing archive: taken for the first, the second would report all pictures lost."""
        if self._folder is None:
            return errors.ImageNotFound() if aws.code(error) == "NoSuchKey" else _unavailable(error)
        try:
            self._folder.require()
        except OSError as gone:
            return _unavailable(gone)
        return errors.ImageNotFound()


def _attributes(key: str, content_type: str) -> "Attributes":
    """What S3 says of the object to whoever gets it there: of a picture its name, and how long its address lives."""
    if not content_type.startswith("image/"):
        return {"Content-Type": content_type}
    return {
        "Content-Type": content_type,
        "Content-Disposition": f'inline; filename="{keys.saved_as(key)}"',
        "Cache-Control": f"private, max-age={URL_LIFE_S_MAX}, immutable",
    }


def _unavailable(error: Exception) -> errors.ArchiveUnavailable:
    # obstore appends a dump of its request, and S3 servers whole pages of XML: the code and the first line say enough.
    said = filter(None, (type(error).__name__, aws.code(error), str(error).partition("\n")[0]))
    unavailable = errors.ArchiveUnavailable()
    unavailable.add_note(redaction.redact(": ".join(said))[:_REASON_CHARACTERS_MAX])
    return unavailable
