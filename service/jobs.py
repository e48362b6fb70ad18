"""Ordering, reading and taking back jobs, in PixelDojo's dialect. Translates; the house decides."""

import contextlib
import re
from collections.abc import Mapping
from typing import Any, Final

import structlog
from litestar import Request, Response, post, route

from gateway import errors
from gateway.jobs import accept, again, desk, reusing, revisit, snapshots, traced, view
from gateway.jobs.again import Again
from gateway.jobs.desk import Reading
from gateway.telemetry import tracing
from gateway.tenancy import recognition
from gateway.tenancy.scopes import Scope
from service import answers, bodies, caching, callers, fields, freshness, front, query, waiting
from service.renderings import Rendering, half_seconds
from service.waiting import Watcher

_UNFINISHED: Final = frozenset({"pending", "processing"})
#: Anything else is no id of ours, and PostgreSQL refuses texts that hold U+0000.
_JOB_ID: Final = re.compile(r"job_[0-9A-Za-z]{1,36}", re.ASCII)


@post("/api/v1/models/{apiId:str}/run", name="runModel", status_code=202)
async def run(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Order pictures: 202 with the new job, which exists whatever happens to this process from then on.

    200 with what was made before, where there is such a picture.
    """
    house = front.of(request).house
    asker = await callers.recognised(request, Scope.GENERATE)
    body = await bodies.json_bytes(request)
    caller, model_id = callers.caller(asker.key), request.path_params["apiId"]
    wish, idempotency_key = caching.wish(request, asker), fields.first(request, b"idempotency-key")
    if idempotency_key is None:
        known = await again.again(house.counter, caller, asker.team, model_id, body, wish)
        if known is not None:
            return _repeated(request, asker, known)
    with caching.counted(house, asker):
        accepted = await accept.accept(
            house.counter, caller, model_id, bodies.parse(body), idempotency_key, house.gate.of(asker), wish
        )
    again.remember(house.counter, asker.team, model_id, body, accepted)
    structlog.contextvars.bind_contextvars(job_id=accepted.job.id)
    traced.ordered(house.traces, accepted.job)
    if accepted.replayed:
        reading = await desk.read(house.counter, caller, accepted.job.id, whole_team=True)
        headers = {"Idempotent-Replayed": "true"}
    else:
        reading = Reading(accepted.job, list(accepted.images), accepted.remaining_micros)
        headers = callers.rate_headers(accepted.standing)
        headers |= caching.told(house, asker, accepted, house.clock.now())
    watcher = Watcher(asker.key, accepted.job.id, whole_team=True)
    reading = await _waited(request, watcher, reading, headers)
    return await _shown(request, reading, 200 if waiting.done(house, reading) else 202, headers)


def _repeated(request: Request[Any, Any, Any], asker: recognition.Caller, known: Again) -> Response[bytes]:
    """The same picture for the same order, once more."""
    door, answer = front.of(request), known.answer
    house = door.house
    structlog.contextvars.bind_contextvars(job_id=answer.job_id)
    if house.traces is not tracing.OFF:
        traced.ordered(house.traces, reusing.job(answer, known.details))
    now, name = house.clock.now(), (answer.team_id, answer.job_id, "hit")
    made = door.renderings.find(name, answer, known.details, known.remaining_micros, now)
    if made is None:
        shown = reusing.job(answer, known.details), reusing.images(answer)
        body = answers.encoded(view.render(*shown, known.remaining_micros, house.frame, now))
        made = Rendering(answer, known.details, known.remaining_micros, half_seconds(now), body)
        door.renderings.keep(name, made)
    headers = caching.hit(house, asker, answer, now)
    preferred_s = waiting.preferred_s(request)
    if preferred_s is not None:
        headers["Preference-Applied"] = f"wait={preferred_s}"
    return answers.ready(made.body, 200, headers)


@route("/api/v1/jobs/{jobId:str}", http_method=["GET", "HEAD"], name="getJob")
async def read(request: Request[Any, Any, Any]) -> Response[bytes]:
    """A job in any state: with ``read`` any of the team's, with ``generate`` the key's own."""
    house = front.of(request).house
    key = await callers.known(request, Scope.READ, Scope.GENERATE)
    watcher = Watcher(key, named_job(request), whole_team=Scope.READ in key.scopes)
    reading = await desk.read_again(house.counter, callers.caller(key), watcher.job_id, whole_team=watcher.whole_team)
    headers: dict[str, str] = {"Cache-Control": "private, no-cache"}
    reading = await _waited(request, watcher, reading, headers)
    shown = _read_again(request, reading, headers) or await _shown(request, reading, 200, headers, tagged=True)
    held = fields.first(request, b"if-none-match")
    return _unchanged(shown) if held is not None and freshness.lists(held, shown.headers["ETag"]) else shown


def _read_again(
    request: Request[Any, Any, Any], reading: Reading, headers: Mapping[str, str]
) -> Response[bytes] | None:
    """As ``_shown``, of a job that has ended for good: rendered once for all who read it within half a second."""
    if not snapshots.lasting(reading.job):
        return None
    door, job, micros = front.of(request), reading.job, reading.remaining_micros
    now, name = door.house.clock.now(), (job.team_id, job.id, "read")
    made = door.renderings.find(name, job, job.details, micros, now)
    if made is None:
        frame = door.house.frame
        said = view.render(job, reading.images, micros, frame, now)
        tag = freshness.tag(said, now, frame.image_url_ttl_s)
        made = Rendering(job, job.details, micros, half_seconds(now), answers.encoded(said), tag)
        door.renderings.keep(name, made)
    return answers.ready(made.body, 200, {**headers, "ETag": made.tag or ""})


@post("/api/v1/jobs/{jobId:str}/cancel", name="cancelJob", status_code=200)
async def cancel(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Take a queued job back; 409 with the reason once it was sent."""
    house = front.of(request).house
    key = await callers.known(request, Scope.GENERATE)
    caller, job_id, whole_team = callers.caller(key), named_job(request), Scope.READ in key.scopes
    await desk.cancel(house.counter, caller, job_id, whole_team=whole_team)
    return await _shown(request, await desk.read(house.counter, caller, job_id, whole_team=whole_team))


def named_job(request: Request[Any, Any, Any]) -> str:
    """The job id of the path; ``JobNotFound`` for what can be none."""
    job_id = query.named(request, "jobId", _JOB_ID, errors.JobNotFound)
    structlog.contextvars.bind_contextvars(job_id=job_id)
    return job_id


async def _waited(
    request: Request[Any, Any, Any], watcher: Watcher, reading: Reading, headers: dict[str, str]
) -> Reading:
    """The job after as long as the caller prefers to wait for it; ``headers`` say whether that was done."""
    house, preferred_s = front.of(request).house, waiting.preferred_s(request)
    if preferred_s is None:
        return reading
    if preferred_s and not waiting.done(house, reading):
        if house.waiting_room.full(watcher.key.id):
            # Whoever asks too many of us to wait is answered at once.
            return reading
        found = await waiting.until_done(request, watcher, preferred_s)
        if found is None:
            # The job exists whatever the store says now; then it is shown as it was.
            with contextlib.suppress(errors.StoreUnavailable):
                found = await waiting.read(request, watcher)
        reading = found or reading
    headers["Preference-Applied"] = f"wait={preferred_s}"
    return reading


async def _shown(
    request: Request[Any, Any, Any],
    reading: Reading,
    status: int = 200,
    more: Mapping[str, str] | None = None,
    *,
    tagged: bool = False,
) -> Response[bytes]:
    house = front.of(request).house
    now, frame = house.clock.now(), house.frame
    body = view.render(reading.job, reading.images, reading.remaining_micros, frame, now)
    headers = dict(more or {})
    if tagged:
        headers["ETag"] = freshness.tag(body, now, frame.image_url_ttl_s)
    if body["status"] in _UNFINISHED:
        takes_s = None
        if revisit.unsent(reading.job):
            takes_s = await front.of(request).memory.takes_s(house.database, reading.job, house.clock.monotonic())
        headers["Retry-After"] = str(revisit.after_s(reading.job, takes_s, frame.unknown_wait_s, now))
    return answers.json(body, status, headers)


def _unchanged(shown: Response[bytes]) -> Response[bytes]:
    """Instead of that answer, for a caller who has it: when to look again is news all the same."""
    return Response(b"", status_code=304, headers=dict(shown.headers))
