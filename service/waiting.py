"""How a request waits for its job: ``Prefer: wait`` (RFC 7240), callers who leave, keys that are revoked meanwhile.

A caller who disconnects cancels nothing: only the waiting ends. Decides no status.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from litestar import Request

from gateway import errors
from gateway.bootstrap import House
from gateway.jobs import desk, view
from gateway.jobs.desk import Reading
from gateway.jobs.waiting_room import Seat
from gateway.tenancy.keys import Key
from service import callers, envelope, fields, front

#: The longest that ``Prefer`` is followed.
PREFER_MAX_S: Final = 120
#: After a store that did not answer.
AGAIN_S: Final = 0.5

_DONE: Final = frozenset({"completed", "failed"})
#: A preference: its name, its value, and parameters that no preference of ours has.
_PREFERENCE: Final = re.compile(
    r"""\s*([!#$%&'*+.^_`|~0-9a-z-]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s,;"]*))?\s*((?:;[^,"]*(?:"(?:[^"\\]|\\.)*")?)*),?""",
    re.IGNORECASE | re.ASCII,
)
_SECONDS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True)
class Watcher:
    """Who waits for which job: a key, and whether it may read the whole team's."""

    key: Key
    job_id: str
    whole_team: bool


def preferred_s(request: Request[Any, Any, Any]) -> int | None:
    """The seconds of ``Prefer: wait=N``, at most ``PREFER_MAX_S``; none where nothing is preferred that makes sense.

    Of several the first counts (RFC 7240 section 2); a value that is no number is ignored, as that section asks.
    """
    given = fields.joined(request, b"prefer")
    at = 0
    while at < len(given):
        found = _PREFERENCE.match(given, at)
        if found is None:
            return None
        if found[1].lower() == "wait":
            text = (found[2] or "").strip('"')
            return min(int(text), PREFER_MAX_S) if _SECONDS.fullmatch(text) else None
        at = found.end()
    return None


def apart(request: Request[Any, Any, Any]) -> None:
    """Have the request's time counted apart: it is asked to wait."""
    asgi: dict[str, Any] = request.scope  # type: ignore[assignment]  # the framework's type knows no members of ours
    asgi[envelope.WAITED] = True


def done(house: House, reading: Reading) -> bool:
    """Whether there is nothing more to wait for, as its caller is told."""
    return view.status(reading.job, house.frame, house.clock.now()) in _DONE


async def until_done(request: Request[Any, Any, Any], watcher: Watcher, within_s: float) -> Reading | None:
    """The job once it is done; none after that time, when the caller has left, and when the process is to end.

    Raises ``RateLimited`` when too many of the key wait, ``NotAuthenticated`` when the key is revoked meanwhile.
    """
    house, clock = front.of(request).house, front.of(request).house.clock
    apart(request)
    deadline_s = clock.monotonic() + within_s
    seen = None
    with house.waiting_room.seat(watcher.job_id, watcher.key.id) as seat:
        async with _heeded(request, seat):
            while await seat.changed(seen, deadline_s - clock.monotonic()):
                seen = seat.sighting
                if seen is None or not seen.done:
                    continue
                try:
                    reading = await read(request, watcher)
                except errors.StoreUnavailable:
                    await asyncio.sleep(AGAIN_S)
                    seen = None
                    continue
                if done(house, reading):
                    return reading
    return None


async def read(request: Request[Any, Any, Any], watcher: Watcher) -> Reading:
    """The watcher's job as it is now, if its key is still good; in line with all others who were rung."""
    house = front.of(request).house
    async with house.waiting_room.turn():
        await callers.known(request, *watcher.key.scopes)
        return await desk.read(
            house.counter, callers.caller(watcher.key), watcher.job_id, whole_team=watcher.whole_team
        )


@asynccontextmanager
async def _heeded(request: Request[Any, Any, Any], seat: Seat) -> AsyncIterator[None]:
    """Have the seat left when the caller goes away."""
    going = asyncio.create_task(_leave(request, seat))
    try:
        yield
    finally:
        going.cancel()


async def _leave(request: Request[Any, Any, Any], seat: Seat) -> None:
    # The body was read before, or there is none.
    while (await request.receive())["type"] != "http.disconnect":
        pass
    seat.leave()
