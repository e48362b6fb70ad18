"""A caller's jobs as a list, in PixelDojo's dialect. Translates; the house decides."""

from typing import Any, Final

from litestar import Request, Response, route

from gateway import errors
from gateway.jobs import desk, roster, view
from gateway.jobs.roster import Status, Wanted
from gateway.tenancy.scopes import Scope
from service import answers, callers, front
from service.admin_deeds import Ask

_PARAMETERS: Final = frozenset({"status", "model", "since", "limit", "cursor"})


@route("/api/v1/jobs", http_method=["GET", "HEAD"], name="listJobs")
async def listing(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Newest first: with ``read`` the team's jobs, with ``generate`` those of the key."""
    house = front.of(request).house
    key = await callers.known(request, Scope.READ, Scope.GENERATE)
    ask = _asked(request)
    wanted = Wanted(
        key_id=None if Scope.READ in key.scopes else key.id,
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


def _asked(request: Request[Any, Any, Any]) -> Ask:
    found: dict[str, str] = {}
    for name, text in request.query_params.multi_items():
        if name not in _PARAMETERS:
            raise errors.UnknownParameter(f"there is no query parameter {name[:40]!r} here", param=name[:40])
        if name in found:
            raise errors.InvalidParameter(f"{name} may be given once", param=name)
        found[name] = text
    return Ask({}, found, {})
