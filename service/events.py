"""A job's changes as they come: server-sent events, for whoever would rather listen than ask again.

Each change that a caller can see is one event with the whole job as ``GET`` shows it; a state that lasted for less than
a look may be passed over. Nothing is kept for a slow reader: it is sent what is so when it can take it.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

from litestar import Request, Response, route
from litestar.response import Stream

from gateway import errors
from gateway.bootstrap import House
from gateway.jobs import desk, view
from gateway.jobs.desk import Reading
from gateway.jobs.states import ENDED
from gateway.jobs.waiting_room import Seat
from gateway.tenancy.scopes import Scope
from service import callers, front, jobs, waiting, wire
from service.waiting import Watcher

MEDIA_TYPE: Final = "text/event-stream"
#: A silent stream says that it lives, and whether its key does, this often.
COMMENT_S: Final = 15.0
#: How long a browser waits before it comes back, in milliseconds.
_COME_BACK: Final = b"retry: 2000\n\n"
_COMMENT: Final = b": waiting\n\n"
#: What an event's id may be: the job's version, and ``.1`` behind it where the same version is told to be in doubt.
_MARK: Final = re.compile(r"[0-9]{1,9}(\.1)?", re.ASCII)
#: What ends a stream: the key is no longer good, or the job is gone.
_ENDS: Final = (errors.NotAuthenticated, errors.NotAllowed, errors.NotFound, errors.RateLimited)


@route("/api/v1/jobs/{jobId:str}/events", http_method=["GET", "HEAD"], name="watchJob")
async def watch(request: Request[Any, Any, Any]) -> Response[Any]:
    """The job's events from now on; 204 for a caller who has the last one already."""
    house = front.of(request).house
    key = await callers.known(request, Scope.READ, Scope.GENERATE)
    watcher = Watcher(key, jobs.named_job(request), whole_team=Scope.READ in key.scopes)
    reading = await desk.read(house.counter, callers.caller(key), watcher.job_id, whole_team=watcher.whole_team)
    last = _last_told(request)
    if reading.job.state in ENDED and last == _mark(house, reading):
        return Response(b"", status_code=204)
    headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
    if request.method == "HEAD":
        return Response(b"", status_code=200, media_type=MEDIA_TYPE, headers=headers)
    house.waiting_room.require_seat(key.id)
    waiting.apart(request)
    return Stream(_events(request, watcher, last), media_type=MEDIA_TYPE, headers=headers)


async def _events(request: Request[Any, Any, Any], watcher: Watcher, told: str | None) -> AsyncIterator[bytes]:
    house, seen = front.of(request).house, None
    try:
        with house.waiting_room.seat(watcher.job_id, watcher.key.id) as seat:
            yield _COME_BACK
            while not seat.over:
                if not await seat.changed(seen, COMMENT_S):
                    if not seat.over:
                        # A store that does not answer has not said that the key is no longer good.
                        with suppress(errors.StoreUnavailable):
                            await callers.known(request, *watcher.key.scopes)
                        yield _COMMENT
                    continue
                seen = seat.sighting
                reading = await _read(request, watcher, seat)
                if reading is None:
                    return
                mark = _mark(house, reading)
                if mark != told:
                    yield _event(house, reading, mark)
                    if waiting.done(house, reading):
                        return
                    told = mark
                elif reading.job.state in ENDED:
                    return
    except _ENDS:
        return


async def _read(request: Request[Any, Any, Any], watcher: Watcher, seat: Seat) -> Reading | None:
    """The job, as soon as the store answers; none once there is nobody to tell."""
    while not seat.over:
        try:
            return await waiting.read(request, watcher)
        except errors.StoreUnavailable:
            await asyncio.sleep(waiting.AGAIN_S)
    return None


def _event(house: House, reading: Reading, mark: str) -> bytes:
    body = view.render(reading.job, reading.images, reading.remaining_micros, house.frame, house.clock.now())
    name = b"result" if waiting.done(house, reading) else b"state"
    return b"event: %s\nid: %s\ndata: %s\n\n" % (name, mark.encode(), wire.encode(body))


def _mark(house: House, reading: Reading) -> str:
    """An event's id: the job's version; a submission that is told to be unknown is one more event of the same."""
    told = reading.job.state not in ENDED and waiting.done(house, reading)
    return f"{reading.job.version}.1" if told else str(reading.job.version)


def _last_told(request: Request[Any, Any, Any]) -> str | None:
    given: str = request.headers.get("last-event-id", "")
    return given if _MARK.fullmatch(given) else None
