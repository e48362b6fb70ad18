"""Ordering, reading and taking back jobs, in PixelDojo's dialect. Translates; the house decides."""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import structlog
from litestar import Request, Response, post, route

from gateway import errors
from gateway.bootstrap import House
from gateway.jobs import accept, desk, view
from gateway.jobs.desk import Reading
from gateway.jobs.record import Job
from gateway.jobs.states import ENDED, State
from gateway.tenancy.scopes import Scope
from service import answers, bodies, callers, front

#: Looking again sooner than this tells nobody anything new.
LOOK_AGAIN_S: Final = 2
LOOK_AGAIN_MAX_S: Final = 60

_UNFINISHED: Final = frozenset({"pending", "processing"})
#: Anything else is no id of ours, and PostgreSQL refuses texts that hold U+0000.
_JOB_ID: Final = re.compile(r"job_[0-9A-Za-z]{1,36}", re.ASCII)


@post("/api/v1/models/{apiId:str}/run", name="runModel", status_code=202)
async def run(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Order pictures: 202 with the new job, which exists whatever happens to this process from then on."""
    house = front.of(request).house
    asker = await callers.recognised(request, Scope.GENERATE)
    body = await bodies.json_object(request)
    caller = callers.caller(asker.key)
    accepted = await accept.accept(
        house.counter,
        caller,
        request.path_params["apiId"],
        body,
        request.headers.get("idempotency-key"),
        house.gate.of(asker),
    )
    structlog.contextvars.bind_contextvars(job_id=accepted.job.id)
    if accepted.replayed:
        reading = await desk.read(house.counter, caller, accepted.job.id, whole_team=True)
        status = 200 if reading.job.state in ENDED else 202
        return _shown(house, reading, status, {"Idempotent-Replayed": "true"})
    reading = Reading(accepted.job, [], accepted.remaining_micros)
    return _shown(house, reading, 202, callers.rate_headers(accepted.standing))


@route("/api/v1/jobs/{jobId:str}", http_method=["GET", "HEAD"], name="getJob")
async def read(request: Request[Any, Any, Any]) -> Response[bytes]:
    """A job in any state: with ``read`` any of the team's, with ``generate`` the key's own."""
    house = front.of(request).house
    key = await callers.known(request, Scope.READ, Scope.GENERATE)
    whole_team = Scope.READ in key.scopes
    return _shown(house, await desk.read(house.counter, callers.caller(key), named_job(request), whole_team=whole_team))


@post("/api/v1/jobs/{jobId:str}/cancel", name="cancelJob", status_code=200)
async def cancel(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Take a queued job back; 409 with the reason once it was sent."""
    house = front.of(request).house
    key = await callers.known(request, Scope.GENERATE)
    caller, job_id, whole_team = callers.caller(key), named_job(request), Scope.READ in key.scopes
    await desk.cancel(house.counter, caller, job_id, whole_team=whole_team)
    return _shown(house, await desk.read(house.counter, caller, job_id, whole_team=whole_team))


def named_job(request: Request[Any, Any, Any]) -> str:
    """The job id of the path; ``JobNotFound`` for what can be none."""
    job_id: str = request.path_params["jobId"]
    if not _JOB_ID.fullmatch(job_id):
        raise errors.JobNotFound(param="jobId")
    structlog.contextvars.bind_contextvars(job_id=job_id)
    return job_id


def _shown(house: House, reading: Reading, status: int = 200, more: Mapping[str, str] | None = None) -> Response[bytes]:
    now = house.clock.now()
    body = view.render(reading.job, reading.images, reading.remaining_micros, house.frame, now)
    headers = dict(more or {})
    if body["status"] in _UNFINISHED:
        headers["Retry-After"] = str(_look_again_s(reading.job, now))
    return answers.json(body, status, headers)


def _look_again_s(job: Job, now: datetime) -> int:
    """Seconds until the job may have moved: a running one is looked at when it is due."""
    if job.state is not State.RUNNING:
        return LOOK_AGAIN_S
    return min(max(math.ceil((job.due_at - now).total_seconds()), 1), LOOK_AGAIN_MAX_S)
