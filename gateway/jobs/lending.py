"""The uploads of a job that is about to be sent, as links that the upstream can follow. Sends nothing.

They are signed when the job is sent, not when it was ordered: a queue may be long. They work as long as an upstream may
have a job, and no longer than their upload is there, which stays while its job is unfinished.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway import errors
from gateway.images import model as models
from gateway.images.model import Model
from gateway.jobs import uploads
from gateway.jobs.parts import Shop
from gateway.jobs.record import Job
from gateway.jobs.uploads import Upload

#: As long as a job is looked for upstream.
LINK_LIFE_S: Final = 24 * 3600
#: What a look into the archive may take of the time between the claim and the POST.
_CHECK_WITHIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Lost:
    """Why the job cannot be sent any more."""

    reason: str


async def links(shop: Shop, job: Job, model: Model) -> Mapping[str, str] | Lost:
    """A link for each upload that the job starts from, by the upload's id.

    What is not there would be paid for and not be made, so the archive is asked first. Raises ``ArchiveUnavailable``
    when it does not say, or ``StoreUnavailable``: then the job has to wait.
    """
    named = [text for _, text in models.references(model, job.parameters) if text.startswith(uploads.PREFIX)]
    if not named:
        return {}
    if not shop.links_reach_upstream:
        return Lost("it starts from an upload, and this worker has no TORII_PUBLIC_URL at which that could be fetched")
    async with shop.database.read() as connection:
        found = await uploads.several(connection, job.team_id, named)
    missing = [upload_id for upload_id in named if upload_id not in found]
    missing += await _gone(shop, found)
    if missing:
        return Lost(f"the upload {missing[0]} that it starts from is not there any more")
    now, lender = shop.clock.now(), shop.courier
    return {
        upload.id: uploads.link(upload, lender.public_url, lender.link_key, now, LINK_LIFE_S)[0]
        for upload in found.values()
    }


async def _gone(shop: Shop, found: Mapping[str, Upload]) -> list[str]:
    try:
        async with asyncio.timeout(_CHECK_WITHIN_S):
            there = await asyncio.gather(*(shop.bucket.exists(upload.object_key) for upload in found.values()))
    except TimeoutError:
        raise errors.ArchiveUnavailable from None
    return [upload_id for upload_id, exists in zip(found, there, strict=True) if not exists]
