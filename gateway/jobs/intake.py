"""Taking pictures in that callers bring to start from: fetched if a URL is named, decoded, kept, and then a row.

Before an object is put, a row says that it is to be deleted an hour later; the transaction that makes the upload takes
that row away. So whoever dies in between leaves nothing for good. Another upload of the same bytes by the same team
names the same object.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urljoin

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, ids
from gateway.archive import keys
from gateway.archive.bucket import Bucket
from gateway.clock import Clock
from gateway.images import picture
from gateway.images.picture import Picture
from gateway.jobs import idempotency, uploads
from gateway.jobs.draft import Caller
from gateway.jobs.idempotency import KeyTaken, Ticket
from gateway.jobs.seats import Seats
from gateway.jobs.uploads import Upload
from gateway.storage import erasure_tables, tables, upload_tables
from gateway.storage.database import Database
from gateway.storage.erasure_tables import Cause
from gateway.webhooks import urls
from gateway.webhooks.addresses import Network
from gateway.webhooks.outbound import Answer, Fault, Outbound
from gateway.webhooks.urls import Use

MAX_BYTES: Final = 20 * 1024 * 1024
TYPES: Final = ("image/png", "image/jpeg", "image/webp")
#: A team has so many at most, whatever their size.
MOST: Final = 10_000
#: Each takes a core for a moment and a decoded picture's memory.
_DECODED_AT_ONCE: Final = 2
#: More than a form puts around its file.
_AROUND_BYTES: Final = 64 * 1024
FETCHED_WITHIN_S: Final = 10.0
_HOPS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_OK: Final = 200
_ROUTE: Final = "uploads"
#: No put takes so long; what is not named by then never will be.
_ABANDONED_AFTER: Final = timedelta(hours=1)
_HEADERS: Final = MappingProxyType({"Accept": ", ".join(TYPES)})
_NOWHERE: Final = "leads to no address that pictures may be fetched from"
_WORDS: Final = MappingProxyType(
    {
        Fault.BAD_URL: "is not one that can be called",
        # One answer for both: which names of the operator's own network there are is nobody's to find out.
        Fault.FORBIDDEN: _NOWHERE,
        Fault.UNRESOLVED: _NOWHERE,
        Fault.TIMEOUT: f"did not answer within {FETCHED_WITHIN_S:g} s",
        Fault.CONNECT: "cannot be connected to",
        Fault.CUT: "broke off its answer",
    }
)

_upload = upload_tables.uploads
_erasure = erasure_tables.erasures

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Room:
    """What a team's uploads may come to, and for how long."""

    life: timedelta
    #: Of all of a team's together.
    bytes: int


@dataclass(frozen=True, slots=True)
class Taken:
    """An upload, new or of an earlier request under the same ``Idempotency-Key``."""

    upload: Upload
    replayed: bool = False


class Intake:
    """What one process takes uploads in with."""

    def __init__(
        self,
        database: Database,
        bucket: Bucket,
        clock: Clock,
        outbound: Outbound,
        room: Room,
        allowed: tuple[Network, ...] = (),
    ) -> None:
        self._database = database
        self._bucket = bucket
        self._clock = clock
        self._outbound = outbound
        self._room = room
        self._allowed = allowed
        self._decoding = asyncio.Semaphore(_DECODED_AT_ONCE)
        #: Where whoever has a file in memory sits.
        self.seats = Seats(clock, MAX_BYTES + _AROUND_BYTES)

    async def fetch(self, url: object) -> bytes:
        """The bytes at a URL that a caller named; ``InvalidParameter`` says why they were not to be had.

        Redirects are followed, each held to the rules and its address judged anew.
        """
        until_s = self._clock.monotonic() + FETCHED_WITHIN_S
        at = urls.check(url, self._allowed, param="url", use=Use.PICTURES)
        for _ in range(_HOPS + 1):
            left_s = max(until_s - self._clock.monotonic(), 0.001)
            answer = await self._outbound.get(at, _HEADERS, timeout_s=left_s, limit_bytes=MAX_BYTES, encrypted=True)
            if isinstance(answer, Fault):
                raise _unfetched(_WORDS[answer])
            if answer.status not in _REDIRECTS:
                return _bytes(answer)
            at = urls.check(_next(at, answer), self._allowed, param="url", use=Use.PICTURES)
        raise _unfetched(f"redirects more than {_HOPS} times")

    async def replayed(self, team_id: str, asked: Ticket) -> Taken | None:
        """The upload that was brought under that key within a day and is there; ``KeyReused`` for another body."""
        now = self._clock.now()
        async with self._database.read() as connection:
            row = (
                await connection.execute(
                    sa.select(_upload).where(
                        _upload.c.team_id == team_id,
                        _upload.c.request_hash == asked.key_hash,
                        _upload.c.created_at > now - idempotency.LIFE,
                        _upload.c.expires_at > now,
                    )
                )
            ).first()
        if row is None:
            return None
        if row.body_hash != asked.body_hash:
            raise errors.KeyReused(param="Idempotency-Key")
        return Taken(uploads.read(row), replayed=True)

    async def take(self, caller: Caller, data: bytes, param: str, asked: Ticket | None = None) -> Taken:
        """Keep the picture of those bytes; ``param`` is the field that brought it.

        Raises ``InvalidParameter`` for what is no picture, ``UploadsFull``, ``ArchiveUnavailable``,
        ``StoreUnavailable`` or ``RequestInFlight``; then nothing is kept.
        """
        found = await self._inspected(data, param)
        if (twin := await self._twin(caller.team_id, found)) is not None:
            again = await self._named_again(caller, twin, asked)
            if again is not None:
                return again
        now = self._clock.now()
        upload_id = ids.upload()
        key = keys.upload(caller.team_id, upload_id, found.extension, now)
        made = self._upload(caller, upload_id, key, found, now)
        abandoned = uploads.erasure(made, Cause.REQUEST, now, due_at=now + _ABANDONED_AFTER)
        async with self._database.write() as tx:
            await self._require_room(tx, made)
            # Done as far as anybody can tell: what nobody ever named is no erasure that is still to be counted.
            await tx.execute(_erasure.insert().values(**abandoned, done_at=now))
        await self._bucket.put(key, data, found.content_type)
        return await self._written(made, asked, abandoned["id"])

    async def _inspected(self, data: bytes, param: str) -> Picture:
        if not data:
            raise errors.InvalidParameter(f"{param}: it is empty", param=param)
        kind = picture.kind(data)
        if kind is not None and kind not in TYPES:
            # Before any decoder sees it: each is one more that hostile bytes could be made for.
            raise errors.InvalidParameter(f"{param}: must be one of {', '.join(TYPES)}, not {kind}", param=param)
        try:
            async with self._decoding:
                return await asyncio.to_thread(picture.inspect, data)
        except picture.NotAPicture as wrong:
            raise errors.InvalidParameter(f"{param}: not a whole picture: {wrong.reason}", param=param) from None

    async def _twin(self, team_id: str, found: Picture) -> Upload | None:
        """An upload of the same bytes by the same team, whose object is there."""
        same = (_upload.c.team_id == team_id, _upload.c.sha256 == found.sha256)
        newest = sa.select(_upload).where(*same).order_by(_upload.c.created_at.desc()).limit(1)
        async with self._database.read() as connection:
            row = (await connection.execute(newest)).first()
        if row is None or not await self._bucket.exists(row.object_key):
            return None
        return uploads.read(row)

    async def _named_again(self, caller: Caller, twin: Upload, asked: Ticket | None) -> Taken | None:
        """A new upload that names the twin's object; none if that went meanwhile."""
        now = self._clock.now()
        values = {name: getattr(twin, name) for name in Upload.__dataclass_fields__}
        made = Upload(
            **values
            | {"id": ids.upload(), "key_id": caller.key_id, "created_at": now, "expires_at": now + self._room.life}
        )
        pinned = sa.select(_upload.c.id).where(_upload.c.id == twin.id).with_for_update(read=True)
        try:
            async with self._database.write() as tx:
                await self._require_room(tx, made)
                if (await tx.execute(pinned)).first() is None:
                    return None
                await _insert(tx, made, asked)
        except KeyTaken:
            return await self._quicker(made, asked)
        return Taken(made)

    async def _written(self, made: Upload, asked: Ticket | None, abandoned_id: str) -> Taken:
        try:
            async with self._database.write() as tx:
                untouched = (_erasure.c.id == abandoned_id, _erasure.c.tries == 0)
                rescued = (await tx.execute(_erasure.delete().where(*untouched))).rowcount > 0
                if rescued:
                    await self._require_room(tx, made)
                    await _insert(tx, made, asked)
                else:
                    # This process stood still for so long that a sweep has deleted the object, or is about to. It may
                    # have done so before the object was there.
                    now = self._clock.now()
                    again = uploads.erasure(made, Cause.REQUEST, now, due_at=now)
                    await tx.execute(_erasure.insert().values(**again, done_at=now))
        except KeyTaken:
            return await self._quicker(made, asked)
        if not rescued:
            raise errors.ArchiveUnavailable
        return Taken(made)

    async def _quicker(self, made: Upload, asked: Ticket | None) -> Taken:
        """Another request with this key has committed meanwhile; its object is the one that stays."""
        earlier = None if asked is None else await self.replayed(made.team_id, asked)
        if earlier is None:
            raise errors.RequestInFlight(param="Idempotency-Key", retry_after_s=1)
        return earlier

    def _upload(self, caller: Caller, upload_id: str, key: str, found: Picture, now: datetime) -> Upload:
        return Upload(
            id=upload_id,
            team_id=caller.team_id,
            key_id=caller.key_id,
            object_key=key,
            content_type=found.content_type,
            extension=found.extension,
            width=found.width,
            height=found.height,
            size_bytes=found.bytes,
            sha256=found.sha256,
            created_at=now,
            expires_at=now + self._room.life,
        )

    async def _require_room(self, tx: AsyncConnection, made: Upload) -> None:
        """``UploadsFull`` where the team has no room for it; the team's row keeps others from taking it meanwhile."""
        team = tables.teams
        await tx.execute(sa.select(team.c.id).where(team.c.id == made.team_id).with_for_update(key_share=True))
        sums = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(_upload.c.size_bytes), 0))
        count, size_bytes = (await tx.execute(sums.where(_upload.c.team_id == made.team_id))).one()
        if int(count) >= MOST:
            raise errors.UploadsFull(f"the team has {count} uploads, and may have no more; delete some")
        if int(size_bytes) + made.size_bytes > self._room.bytes:
            raise errors.UploadsFull(
                f"the team's uploads have {size_bytes} bytes, this one {made.size_bytes}, "
                f"and together they may have {self._room.bytes}; delete some"
            )


async def ticket(key_header: str, body: Mapping[str, object] | bytes) -> Ticket:
    """The ticket of an upload under an ``Idempotency-Key``: of a file its bytes count, of JSON what it says."""
    if isinstance(body, bytes):
        # Of a large file this takes as long as many requests do.
        digest = await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest())
        return idempotency.ticket(key_header, _ROUTE, {"sha256": digest})
    return idempotency.ticket(key_header, _ROUTE, body)


async def _insert(tx: AsyncConnection, made: Upload, asked: Ticket | None) -> None:
    """Write the row; ``KeyTaken`` when another request under its key was quicker."""
    values = {name: getattr(made, name) for name in Upload.__dataclass_fields__}
    if asked is None:
        await tx.execute(_upload.insert().values(**values))
        return
    same = (_upload.c.team_id == made.team_id, _upload.c.request_hash == asked.key_hash)
    day_ago = made.created_at - idempotency.LIFE
    over = sa.or_(_upload.c.created_at <= day_ago, _upload.c.expires_at <= made.created_at)
    await tx.execute(_upload.update().where(*same, over).values(request_hash=None, body_hash=None))
    insert: Any = (postgresql if tx.dialect.name == "postgresql" else sqlite).insert(_upload)
    kept = (
        insert.values(**values, request_hash=asked.key_hash, body_hash=asked.body_hash)
        # Of what may be in the way only this means that somebody was quicker.
        .on_conflict_do_nothing(index_elements=["team_id", "request_hash"])
        .returning(_upload.c.id)
    )
    if (await tx.execute(kept)).first() is None:
        raise KeyTaken


def _next(at: str, answer: Answer) -> str:
    where = answer.headers.get("location", "")
    try:
        return urljoin(at, where)
    except ValueError:
        raise _unfetched("redirects to what is no URL") from None


def _bytes(answer: Answer) -> bytes:
    if answer.status != _OK:
        raise _unfetched(f"answers {answer.status}")
    if answer.body is None:
        raise _unfetched(f"has more than {MAX_BYTES} bytes")
    return answer.body


def _unfetched(why: str) -> errors.InvalidParameter:
    # Not the URL itself: it may hold a secret of its owner's, and errors are shown and logged.
    return errors.InvalidParameter(f"url: it {why}", param="url")
