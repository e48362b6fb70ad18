"""The object store that keeps every picture: a folder or an S3 bucket, under one set of verbs.

Never decides what an object is called (`keys`) or what is in it, never tries for longer than a caller waits, and
never tells a caller why the store failed: the reason is a note on the error, for the log.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from obstore import exceptions
from obstore.store import ClientConfig, LocalStore, RetryConfig, S3Config, S3Store

from gateway import errors, ids
from gateway.archive import folder, keys
from gateway.settings import values
from gateway.telemetry import redaction

Result = TypeVar("Result")

#: One object is read in pieces of this size: a slow reader holds one piece and no connection.
CHUNK_BYTES = 4 * 1024 * 1024
#: No verb takes longer, waiting for a thread included.
DEADLINE_S = 30.0

_THREADS = 16
_CONNECT_TIMEOUT = timedelta(seconds=3)
_REQUEST_TIMEOUT = timedelta(seconds=20)
_RETRIES = 2
_REASON_CHARACTERS_MAX = 300
_SCHEME = "s3://"


@dataclass(frozen=True, slots=True)
class Aws:
    """How to reach an S3 bucket; without keys, the machine's role is asked as the AWS tools would."""

    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    region: str | None = None
    endpoint_url: str | None = None


def aws(settings: values.Settings) -> Aws:
    """What the settings say about S3."""
    secret = settings.aws_secret_access_key
    return Aws(
        access_key_id=settings.aws_access_key_id,
        secret_access_key=secret.get_secret_value() if secret is not None else None,
        region=settings.aws_region,
        endpoint_url=settings.aws_endpoint_url,
    )


def open(url: str, aws: Aws | None = None) -> "Bucket":
    """The archive at ``url``: a folder, which is made if need be, or ``s3://bucket/prefix``, which must exist.

    Raises ``ArchiveUnavailable`` when the folder cannot be made; an S3 bucket is first asked at the first verb.
    """
    if url.startswith(_SCHEME):
        return Bucket(_s3(url, aws or Aws()))
    try:
        place = folder.Folder(Path(url))
        return Bucket(LocalStore(place.path), place)
    except (OSError, ValueError, exceptions.BaseError) as error:
        raise _unavailable(error) from None


class Bucket:
    """An open archive. Each verb raises ``ArchiveUnavailable`` when the store fails, ``ValueError`` for a bad key.

    Calls run in threads of the bucket's own: obstore's asyncio bridge can abort the interpreter when the process ends
    soon after a call (19 of 100 short runs with 0.12.1), and writing to a folder blocks anyway.
    """

    def __init__(self, store: LocalStore | S3Store, place: folder.Folder | None = None) -> None:
        self._store = store
        self._folder = place
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="archive")

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """Keep ``data`` (not empty) under ``key``, for good when this returns; putting the same again changes nothing.

        The content type is kept by S3 alone.
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
            self._store.put(key, data, attributes={"Content-Type": content_type}, use_multipart=False)

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
            async with asyncio.timeout(DEADLINE_S):
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._attempt, deed)
        except TimeoutError:
            raise _unavailable(TimeoutError(f"no answer within {DEADLINE_S:g} s")) from None
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
            return errors.ImageNotFound() if "NoSuchKey" in str(error) else _unavailable(error)
        try:
            self._folder.require()
        except OSError as gone:
            return _unavailable(gone)
        return errors.ImageNotFound()


def _s3(url: str, aws: Aws) -> S3Store:
    name, _, prefix = url.removeprefix(_SCHEME).partition("/")
    config: S3Config = {
        "region": aws.region or "us-east-1",
        # Many S3 servers know neither host names per bucket nor deleting several objects at once.
        "virtual_hosted_style_request": aws.endpoint_url is None,
        "disable_bulk_delete": True,
    }
    if aws.endpoint_url is not None:
        config["endpoint"] = aws.endpoint_url
    if aws.access_key_id is not None and aws.secret_access_key is not None:
        config["access_key_id"] = aws.access_key_id
        config["secret_access_key"] = aws.secret_access_key
    client: ClientConfig = {
        "connect_timeout": _CONNECT_TIMEOUT,
        "timeout": _REQUEST_TIMEOUT,
        "allow_http": (aws.endpoint_url or "").startswith("http://"),
    }
    retry: RetryConfig = {
        "max_retries": _RETRIES,
        "retry_timeout": _REQUEST_TIMEOUT,
        "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1), "base": 2},
    }
    return S3Store(name, prefix=prefix or None, config=config, client_options=client, retry_config=retry)


def _unavailable(error: Exception) -> errors.ArchiveUnavailable:
    # obstore appends a dump of its request to each message; the first line says what happened.
    reason = redaction.redact(str(error).partition("\n")[0])[:_REASON_CHARACTERS_MAX]
    unavailable = errors.ArchiveUnavailable()
    unavailable.add_note(f"{type(error).__name__}: {reason}")
    return unavailable
