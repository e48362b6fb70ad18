"""The pictures of a completed job as OpenAI's image API gives them. Holds one piece of one picture at a time.

The base64 text of a picture is as long as its size says, so the answer's length is known before its first byte.
"""

import base64
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from gateway.archive import links
from gateway.archive.bucket import Bucket
from gateway.jobs.desk import Reading
from gateway.jobs.record import Image
from gateway.jobs.view import Frame
from service import wire
from service.openai_orders import B64, URL

#: Base64 takes bytes by three.
_GROUP: Final = 3
_FORMATS: Final = MappingProxyType({"jpg": "jpeg"})


@dataclass(frozen=True)
class Body:
    """An answer that is about to be sent."""

    length: int
    pieces: AsyncIterator[bytes]


async def body(bucket: Bucket, reading: Reading, forms: frozenset[str], frame: Frame, now: datetime) -> Body:
    """The answer with files; raises ``ArchiveUnavailable`` or ``ImageNotFound`` if its first picture cannot be had."""
    texts = _texts(reading, forms, frame, now)
    images = reading.images
    opened = [await bucket.stream(image.object_key) for image in images[:1]]
    length = sum(map(len, texts)) + sum(_encoded_length(image) for image in images)
    return Body(length, _pieces(bucket, texts, images, [pieces for _, pieces in opened]))


def linked(reading: Reading, frame: Frame, now: datetime) -> bytes:
    """The whole answer to who asked for links alone: it takes nothing out of the archive."""
    return b"".join(_texts(reading, frozenset({URL}), frame, now))


def _texts(reading: Reading, forms: frozenset[str], frame: Frame, now: datetime) -> list[bytes]:
    """The JSON between the pictures' base64 texts; one piece more than there are pictures, where they are in it."""
    job = reading.job
    last: dict[str, Any] = {"torii": {"job_id": job.id, "cached": job.reused_from is not None}}
    if reading.images:
        image = reading.images[0]
        last["output_format"] = _FORMATS.get(image.extension, image.extension)
        last["size"] = f"{image.width}x{image.height}"
    head, tail = b'{"created":%d,"data":[' % int((job.ended_at or now).timestamp()), b"]," + wire.encode(last)[1:]
    texts, text = [], head
    for number, image in enumerate(reading.images):
        text += b"," if number else b""
        members = {URL: _url(image, frame, now)} if URL in forms else {}
        if B64 not in forms:
            text += wire.encode(members)
            continue
        opening = wire.encode(members)[:-1] + (b"," if members else b"")
        texts.append(text + opening + b'"b64_json":"')
        text = b'"}'
    return [*texts, text + tail]


def _url(image: Image, frame: Frame, now: datetime) -> str:
    return links.sign(frame.public_url, frame.link_key, image.id, image.extension, now, frame.image_url_ttl_s)[0]


def _encoded_length(image: Image) -> int:
    return (image.size_bytes + _GROUP - 1) // _GROUP * (_GROUP + 1)


async def _pieces(
    bucket: Bucket, texts: Sequence[bytes], images: Sequence[Image], opened: Sequence[AsyncIterator[bytes]]
) -> AsyncIterator[bytes]:
    for text, image, first in itertools.zip_longest(texts, images, opened):
        yield text
        if image is not None:
            async for encoded in _encoded(first or (await bucket.stream(image.object_key))[1]):
                yield encoded


async def _encoded(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for piece in pieces:
        data = rest + piece
        whole = len(data) - len(data) % _GROUP
        rest = data[whole:]
        yield base64.b64encode(memoryview(data)[:whole])
    yield base64.b64encode(rest)
