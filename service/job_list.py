"""A caller's jobs as a list, in PixelDojo's dialect. Translates; the house decides."""

from typing import Any, Final

from litestar import Request, Response, route

from gateway.jobs import desk, roster, view
from gateway.jobs.roster import Status, Wanted
from gateway.tenancy.scopes import Scope
from service import answers, callers, front, query

_PARAMETERS: Final = query.PAGE | {"status", "model", "since"}


@route("/api/v1/jobs", http_method=["GET", "HEAD"], name="listJobs")
async def listing(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Newest first: with ``read`` the team's jobs, with ``generate`` those of the key."""
    house = front.of(request).house
    key = await callers.known(request, Scope.READ, Scope.GENERATE)
    ask = query.asked(request, _PARAMETERS)
    wanted = Wanted(
        key_id=query.owner(key, Scope.READ),
        status=ask.word("status", Status),
        model=ask.text("model"),
        since=ask.moment("since"),
    )
    now, frame = house.clock.now(), house.frame
    async with house.database.read() as connection:
        page = await roster.page(connection, key.team_id, wanted, ask.slice, now, frame.unknown_wait_s)
        remaining = await desk.remaining_micros(connection, callers.caller(key), now)
    jobs = [view.render(job, images, remaining, frame, now) for job, images in page.jobs]
    return answers.json({"jobs": jobs, "nextCursor": page.next_cursor})
