"""A picture that the archive has and no row names: found by its sidecar, instead of being given up with the upstream's.

So it is after a restore, whose record knows nothing of what was archived since, and after a worker that died between
its last put and the row. Looks; puts and writes nothing.
"""

import asyncio
from dataclasses import dataclass

import msgspec
import structlog

from gateway import errors
from gateway.archive import keys
from gateway.archive.bucket import Bucket
from gateway.images import picture
from gateway.images.picture import Picture
from gateway.jobs.record import Job

log = structlog.get_logger(__name__)


class _Beside(msgspec.Struct, rename="camel"):
    """What is needed of a sidecar."""

    job_id: str
    position: int
    upstream_job_id: str
    content_type: str
    sha256: str
    seed: int | None = None


@dataclass(frozen=True)
class Found:
    """A picture of the job that is in the archive already."""

    picture: Picture
    data: bytes
    seed: int | None


async def find(bucket: Bucket, job: Job, position: int) -> Found | None:
    """The picture at that place, if it is whole and of this very generation; raises ``ArchiveUnavailable``."""
    try:
        text = await bucket.get(keys.sidecar(job.team_id, job.id, position, job.created_at))
        beside = msgspec.json.decode(text, type=_Beside)
        extension = picture.extension(beside.content_type)
        if extension is None or (beside.job_id, beside.position) != (job.id, position):
            return None
        if beside.upstream_job_id != job.upstream_job_id:
            return None
        data = await bucket.get(keys.picture(job.team_id, job.id, position, extension, job.created_at))
        seen = await asyncio.to_thread(picture.inspect, data)
    except (errors.ImageNotFound, msgspec.DecodeError, msgspec.ValidationError, picture.NotAPicture):
        return None
    if seen.sha256 != beside.sha256:
        return None
    log.info("picture_adopted", job_id=job.id, position=position)
    return Found(seen, data, beside.seed)
