"""Tells an open page that its job has changed, so that the page need not keep asking. Says that alone.

What there is to see the page asks for, and is shown what its session may see at that moment. A stream ends with its
job, its session and its process; a page that hears nothing asks by itself, as it does where no stream comes through.
"""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

from litestar import Request, Response
from litestar.response import Stream

from gateway import errors
from gateway.jobs.states import ENDED
from gateway.jobs.waiting_room import Seat
from gateway.tenancy.scopes import Scope
from service import events, waiting
from service.console import jobs, progress, visits
from service.console.handlers import shows
from service.console.names import checked_id
from service.console.visits import Visit

#: A job that stays as it is is told of all the same, this often: its page then says anew when it is expected.
STILL_S: Final = 10.0
_COME_BACK: Final = b"retry: 2000\n\n"
_CHANGED: Final = b"data: changed\n\n"
_STILL: Final = b"data: still\n\n"
#: What ends a stream: the session is over, or may not see the job any more.
_ENDS: Final = (errors.NotAuthenticated, errors.NotAllowed, errors.NotFound, errors.RateLimited)


@shows(f"{jobs.PATH}/{{job:str}}/events", "jobEvents", Scope.READ, Scope.GENERATE)
async def stream(request: Request[Any, Any, Any]) -> Response[Any]:
    """A line at each change of the job; 204 once it has ended."""
    visit = await visits.enter(request)
    job = await progress.job(visit, checked_id(request.path_params["job"]))
    if job.state in ENDED:
        return Response(b"", status_code=204)
    headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store", "Vary": "Cookie"}
    if request.method == "HEAD":
        return Response(b"", media_type=events.MEDIA_TYPE, headers=headers)
    visit.house.waiting_room.require_seat(_who(visit))
    waiting.apart(request)
    return Stream(_told(visit, job.id), media_type=events.MEDIA_TYPE, headers=headers)


async def _told(visit: Visit, job_id: str) -> AsyncIterator[bytes]:
    with suppress(*_ENDS), visit.house.waiting_room.seat(job_id, _who(visit)) as seat:
        yield _COME_BACK
        seen = None
        while not seat.over and (seen is None or seen.state not in ENDED):
            if await seat.changed(seen, STILL_S):
                seen = seat.sighting
                yield _CHANGED
            elif not seat.over:
                await _require_session(visit, seat)
                yield _STILL


async def _require_session(visit: Visit, seat: Seat) -> None:
    """Raise once the session is over; a store that does not answer has not said so."""
    with suppress(errors.StoreUnavailable):
        found = await visits.enter(visit.request)
        await progress.job(found, seat.job_id)


def _who(visit: Visit) -> str:
    """Whose seat it is: a key's waiters are counted together, wherever they wait."""
    return f"session {visit.session.id}" if visit.asker is None else visit.asker.key.id
