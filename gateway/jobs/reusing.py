"""Looking for what was made before: on the shelf first, then in SQL, and never handing out what the archive lacks.

A hit of the team's own costs one round trip to Redis. What SQL finds is looked for in the archive unless that was done
within the last minute; a picture that is not there is purged, and one whose archive does not answer is a 503: it is
there, and nobody pays for it again.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from gateway import errors
from gateway.jobs import purging
from gateway.jobs.draft import Draft
from gateway.jobs.parts import Counter
from gateway.jobs.record import Image, Job
from gateway.jobs.states import State
from gateway.reuse import entries, flights, hits
from gateway.reuse.answer import Answer
from gateway.reuse.directives import Handling
from gateway.reuse.places import Place, Places
from gateway.reuse.shelf import Look

#: An object that was seen this long ago is looked for again.
CHECKED_FOR: Final = timedelta(seconds=60)
#: What a look into the archive may take of a caller's time.
CHECK_WITHIN_S: Final = 2.0
#: A copy with less life left than this is made anew, behind the caller's back.
REFRESH_MS: Final = 20_000
#: Each time an object was missing, and the entries with it were purged.
_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Hit:
    """An answer that is there, and where it was found."""

    answer: Answer
    place: Place
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look gave: an answer, or whether somebody makes it at this moment, and how the request is handled."""

    hit: Hit | None
    led: bool = False
    handling: Handling = Handling.MISS


async def on_shelf(counter: Counter, draft: Draft, places: Places, now: datetime) -> Hit | Look | None:
    """The team's own answer in Redis; else the look, which a later ``put`` names, or none if Redis is silent."""
    count = hits.field(draft.caller.team_id, draft.model.api_id, now) if draft.counts_at_once else ""
    look = await counter.library.shelf.look(places.own, hit=count)
    if look is None or look.answer is None:
        return look
    refresh(counter, places.own, look)
    if not draft.takes(look.answer, now):
        return look
    return Hit(look.answer, places.own, counted=bool(count))


def refresh(counter: Counter, place: Place, look: Look) -> None:
    """Have the copy made anew in time, so that no caller waits for that."""
    if look.left_ms < REFRESH_MS:
        counter.library.errands.run(place, lambda: _refresh(counter, place))


async def in_store(counter: Counter, draft: Draft, places: Places, look: Look | None) -> Seen:
    """What SQL has: the team's own answer, then the pool's, then whoever leads the flight."""
    for _ in range(_TRIES):
        now, place = counter.clock.now(), places.own
        async with counter.database.read() as connection:
            found = await entries.find(connection, place, now)
            handling = Handling.MISS if found is None or draft.takes(found, now) else Handling.REQUEST
            if found is None and places.pool is not None:
                place = places.pool
                found = await entries.find(connection, place, now)
                handling = Handling.MISS if found is None or draft.takes(found, now) else Handling.REQUEST
            if found is None or handling is Handling.REQUEST:
                return Seen(None, await flights.peek(connection, places.flight) is not None, handling)
        if await _is_there(counter, place, found, look, now):
            return Seen(Hit(found, place))
    raise errors.StoreUnavailable


async def _is_there(counter: Counter, place: Place, found: Answer, look: Look | None, now: datetime) -> bool:
    """Whether its pictures are in the archive; then the shelf has it, too, else it is purged."""
    ago = now - found.checked_at
    check = ago > CHECKED_FOR
    if check and not await _checked(counter, found):
        return False
    if place.scope != found.team_id:
        return True
    if look is not None:
        await counter.library.shelf.put(place, found, look, 0.0 if check else ago.total_seconds())
    elif check:
        # Redis does not remember it, so SQL does, for the next minute.
        async with counter.database.write() as tx:
            await entries.checked(tx, place, found.version, now)
    return True


async def _checked(counter: Counter, found: Answer) -> bool:
    """Look for each picture; ``ArchiveUnavailable`` when the archive does not say."""
    library = counter.library
    try:
        async with asyncio.timeout(CHECK_WITHIN_S):
            there = await asyncio.gather(*(library.bucket.exists(each.object_key) for each in found.pictures))
    except TimeoutError:
        raise errors.ArchiveUnavailable from None
    for picture, exists in zip(found.pictures, there, strict=True):
        if not exists:
            await purging.missing(counter.database, library.shelf, picture.object_key)
    return all(there)


async def _refresh(counter: Counter, place: Place) -> None:
    """Make the copy on the shelf anew."""
    library = counter.library
    look = await library.shelf.look(place)
    if look is None or look.left_ms >= REFRESH_MS:
        return
    async with counter.database.read() as connection:
        found = await entries.find(connection, place, counter.clock.now())
    if found is not None and await _checked(counter, found):
        await library.shelf.put(place, found, look)


def job(answer: Answer, details: Mapping[str, object] | None) -> Job:
    """The completed job that a hit shows: the original's id and times, at no cost, with the request's own metadata.

    What it was made with is not part of an answer, nor of what is shown of one.
    """
    return Job(
        id=answer.job_id,
        team_id=answer.team_id,
        key_id=answer.key_id,
        model=answer.model,
        model_version="",
        resolution="",
        parameters=MappingProxyType({}),
        details=details,
        priority=0,
        state=State.COMPLETED,
        version=1,
        attempt=1,
        hold_micros=0,
        cost_micros=0,
        created_at=answer.ordered_at,
        queue_deadline_at=answer.completed_at,
        submitted_at=None,
        accepted_at=None,
        finished_upstream_at=None,
        ended_at=answer.completed_at,
        due_at=answer.completed_at,
        nudges=0,
        claim=None,
        claimed_by=None,
        upstream_job_id=None,
        polls=0,
        poll_failures=0,
        last_unfinished_at=None,
        missing_since_at=None,
        results=None,
        results_expire_at=None,
        empty_results=0,
        archive_failures=0,
        bad_downloads=0,
        gone_since_at=None,
        partial=False,
        error_code=None,
        error_message=None,
        reused_from=answer.job_id,
    )


def images(answer: Answer) -> tuple[Image, ...]:
    """The answer's pictures as a view shows them."""
    return tuple(
        Image(
            id=each.id,
            job_id=answer.job_id,
            team_id=answer.team_id,
            position=position,
            object_key=each.object_key,
            content_type=each.content_type,
            extension=each.extension,
            width=each.width,
            height=each.height,
            size_bytes=each.size_bytes,
            sha256=each.sha256,
            seed=each.seed,
        )
        for position, each in enumerate(answer.pictures)
    )
