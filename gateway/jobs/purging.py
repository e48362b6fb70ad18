"""Taking answers out of the cache: because somebody says so, or because a picture is not in the archive any more.

First the rows, portion by portion, each in a transaction of its own; after each commit Redis is told. If it cannot be,
its copies are gone within a minute. Erases no job and no picture.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from gateway import errors
from gateway.reuse import entries
from gateway.reuse.entries import Purged
from gateway.reuse.shelf import Shelf
from gateway.storage.database import Database
from gateway.tenancy import audit

#: One call takes no more portions than this, so that it ends in time; the caller calls again.
PORTIONS_MAX: Final = 20
#: What a purge waits for Redis, which nobody's hit waits for.
TELL_WITHIN_S: Final = 0.5

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Which:
    """Which entries: those that are of all that is named; all, if nothing is."""

    team_id: str | None = None
    model: str | None = None
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a purge."""

    purged: int
    #: None of them was left at the end.
    done: bool
    #: Redis was told of all of them: none of their copies is handed out any more.
    told: bool


async def purge(database: Database, shelf: Shelf | None, which: Which, actor: str, now: datetime) -> Result:
    """Take those entries out of the cache, as far as one call goes; the audit log says who wanted it."""
    purged, told = 0, True
    for portion in range(PORTIONS_MAX):
        async with database.write() as tx:
            if portion == 0:
                asked = {"team": which.team_id, "model": which.model, "job": which.job_id}
                await audit.note(
                    tx,
                    actor=actor,
                    action="cache.purge",
                    subject=which.job_id or which.team_id or (which.model or "all")[:40],
                    team_id=which.team_id,
                    after={name: value for name, value in asked.items() if value is not None} or {"all": True},
                    at=now,
                )
            gone = await entries.purge(tx, team_id=which.team_id, model=which.model, job_id=which.job_id)
        purged += len(gone)
        told &= await _tell(shelf, gone)
        if len(gone) < entries.AT_ONCE:
            return Result(purged, done=True, told=told)
    return Result(purged, done=False, told=told)


async def missing(database: Database, shelf: Shelf, object_key: str) -> None:
    """Hand out that object no more: the archive has just said that it is not there.

    Never raises for a store that is silent: whoever reads the picture next comes here again.
    """
    try:
        async with database.write() as tx:
            gone = await entries.purge_object(tx, object_key)
    except errors.StoreUnavailable:
        log.warning("cache_entries_not_purged", object_key=object_key)
        return
    if gone:
        log.warning("cache_entries_purged", object_key=object_key, entries=len(gone))
        await _tell(shelf, gone)


async def _tell(shelf: Shelf | None, gone: list[Purged]) -> bool:
    if not gone:
        return True
    return shelf is not None and await shelf.forget(gone)
