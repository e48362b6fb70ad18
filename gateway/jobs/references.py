"""The pictures that an order starts from, before it is a job: which they are, and whether they may be named.

An upload is the team's own, and counts by its bytes: two uploads of one picture are one request. A URL is checked as
far as its text tells and handed to the upstream as it is, which fetches it; nobody knows what it will find there, so an
order with one is made anew each time. Nothing is fetched here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.images import model as models
from gateway.images.model import Model, Parameters
from gateway.images.sizes import MEGAPIXEL
from gateway.jobs import uploads
from gateway.jobs.parts import Counter
from gateway.jobs.uploads import Upload
from gateway.webhooks import urls
from gateway.webhooks.urls import Use

_UPLOAD: Final = re.compile(r"upload_[0-9A-Za-z]{1,33}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Sources:
    """What an order starts from."""

    #: Its uploads, each with what it counts by.
    uploads: Mapping[str, str]
    #: The field that named each of them first.
    fields: Mapping[str, str]
    #: Something of it is somewhere else.
    foreign: bool


async def look(counter: Counter, team_id: str, model: Model, canonical: Parameters) -> Sources | None:
    """What canonical parameters start from; none for an order that starts from nothing.

    Raises ``InvalidParameter``, which names the field.
    """
    named = models.references(model, canonical)
    if not named:
        return None
    fields: dict[str, str] = {}
    for field, text in named:
        if _UPLOAD.fullmatch(text):
            fields.setdefault(text, field)
        else:
            _require_url(counter, field, text)
    if fields and not counter.links_reach_upstream:
        raise errors.InvalidParameter(
            f"{next(iter(fields.values()))}: this gateway has no address at which the upstream could fetch an upload "
            "(TORII_PUBLIC_URL); name an https URL instead",
            param=next(iter(fields.values())),
        )
    found: dict[str, Upload] = {}
    if fields:
        async with counter.database.read() as connection:
            found = await uploads.several(connection, team_id, list(fields), counter.clock.now())
    for upload_id, field in fields.items():
        _require(model, found.get(upload_id), field)
    prints = {upload_id: f"sha256:{upload.sha256}" for upload_id, upload in found.items()}
    return Sources(prints, fields, foreign=any(text not in fields for _, text in named))


def said(sources: Sources | None, model: Model, parameters: Parameters) -> Parameters | None:
    """The parameters as two requests for one picture have them alike; none where nobody can know that."""
    if sources is None:
        return parameters
    return None if sources.foreign else models.with_references(model, parameters, sources.uploads)


async def pin(tx: AsyncConnection, sources: Sources | None, team_id: str, now: datetime) -> None:
    """Keep an order's uploads from going until the transaction ends; ``InvalidParameter`` for one that went."""
    if sources is not None:
        for wrong in (await pin_all(tx, [sources], team_id, now)).values():
            raise wrong


async def pin_all(
    tx: AsyncConnection, each: Sequence[Sources | None], team_id: str, now: datetime
) -> Mapping[int, errors.InvalidParameter]:
    """As ``pin`` for many orders at once: what is wrong with which of them."""
    # All by one statement, in the order of their ids, as whoever lets them go locks them.
    wanted = {upload_id for sources in each if sources is not None for upload_id in sources.fields}
    there = await uploads.pin(tx, team_id, sorted(wanted), now) if wanted else frozenset()
    return {
        index: _unknown(field)
        for index, sources in enumerate(each)
        if sources is not None
        for upload_id, field in sources.fields.items()
        if upload_id not in there
    }


async def use(tx: AsyncConnection, *started: tuple[str, Sources | None]) -> None:
    """Write down what unfinished jobs start from, each by its id; it is pinned."""
    uses = [(upload_id, job_id) for job_id, sources in started if sources is not None for upload_id in sources.fields]
    await uploads.use(tx, uses)


def _require_url(counter: Counter, field: str, text: str) -> None:
    if text.startswith(uploads.PREFIX):
        raise _unknown(field)
    if text.lstrip().lower().startswith("data:"):
        raise errors.InvalidParameter(
            f"{field}: no data URLs; send the picture to POST /api/v1/uploads and name the id that it gets", param=field
        )
    urls.check(text, counter.webhook_nets, param=field, use=Use.PICTURES)


def _require(model: Model, upload: Upload | None, field: str) -> None:
    if upload is None:
        raise _unknown(field)
    most = model.reference_megapixels
    if most is not None and upload.width * upload.height > most * MEGAPIXEL:
        raise errors.InvalidParameter(
            f"{field}: the upload has {upload.width} x {upload.height} pixels, "
            f"and {model.api_id} takes at most {most:g} megapixels here",
            param=field,
        )


def _unknown(field: str) -> errors.InvalidParameter:
    return errors.InvalidParameter(
        f"{field}: the team has no such upload, or its time is over; bring it again to POST /api/v1/uploads",
        param=field,
    )
