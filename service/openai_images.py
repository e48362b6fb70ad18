"""OpenAI's image API: the request that orders pictures is the one that brings them. Translates; the house decides.

The official clients send a paid request again by themselves when its connection broke or the answer was an error, so
each is known by ``gateway.jobs.repeats`` and paid for once. An ``Idempotency-Key`` goes before that.
"""

import re
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog
from litestar import Request, Response, post
from litestar.background_tasks import BackgroundTask
from litestar.response import Stream

from gateway import errors
from gateway.bootstrap import House
from gateway.jobs import accept, again, repeats, reusing, traced, view
from gateway.jobs.accept import Accepted
from gateway.jobs.desk import Reading
from gateway.jobs.states import Failure
from gateway.telemetry import tracing
from gateway.tenancy import recognition
from gateway.tenancy.scopes import Scope
from service import (
    answers,
    bodies,
    caching,
    callers,
    connection,
    fields,
    front,
    openai_answers,
    openai_orders,
    problems,
    waiting,
)
from service.connection import Fate
from service.openai_orders import Wanted
from service.renderings import Rendering, half_seconds
from service.waiting import Watcher

#: What the official clients say about how often they have sent this before.
_REPEATED: Final = b"x-stainless-retry-count"
_NUMBER: Final = re.compile(r"[0-9]{1,3}", re.ASCII)
#: What this dialect's idempotency keys count for.
_ROUTE: Final = "v1/images/generations"
#: As which an order for links alone is known again (``gateway.jobs.again``); files are read from the archive each time.
_WAY: Final = "/v1/images/generations#url"
_LINKED: Final = frozenset({openai_orders.URL})
#: An answer after which nothing is heard of its connection for so long has arrived.
_ARRIVED_S: Final = 1.0
#: Each round lost means that another request of the same body came between.
_ROUNDS: Final = 5

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Order:
    """What was ordered or taken over: the job, and the claim on it where repeats are known by one."""

    job_id: str
    claim: repeats.Request | None
    #: What was made at once, or before.
    reading: Reading | None
    headers: dict[str, str]
    #: Of one that was ordered now.
    accepted: Accepted | None = None


@post("/v1/images/generations", name="createImage", status_code=200)
async def generate(request: Request[Any, Any, Any]) -> Response[Any]:
    """Order pictures and wait for them; ``StillRunning`` when that takes too long, and the same again waits on."""
    house = front.of(request).house
    asker = await callers.recognised(request, Scope.GENERATE)
    sent = await bodies.json_bytes(request)
    known = await _known(request, asker, sent)
    if known is not None:
        return known
    body = bodies.parse(sent)
    wanted = openai_orders.read(house.catalogue, body)
    house.waiting_room.require_seat(asker.key.id)
    if house.waiting_room.closed:
        raise errors.Draining
    waiting.apart(request)
    order = await _ordered(request, asker, wanted, body)
    if order.accepted is not None and wanted.forms == _LINKED:
        again.remember(house.counter, asker.team, _WAY, sent, order.accepted)
    structlog.contextvars.bind_contextvars(job_id=order.job_id)
    try:
        reading = order.reading or await _awaited(request, asker, order)
        await _require_claim(house, order)
        answer = await _answer(request, wanted, order, reading)
    except errors.ToriiError:
        await _give_back(house, order)
        raise
    if order.claim is not None:
        answer.background = BackgroundTask(_settle, request, order)
    return answer


async def _known(request: Request[Any, Any, Any], asker: recognition.Caller, sent: bytes) -> Response[Any] | None:
    """The same links for the same bytes once more; none where they have to be read, or are another's repeat."""
    if fields.first(request, b"idempotency-key") is not None or _repeat(request):
        return None
    door = front.of(request)
    house = door.house
    known = await again.again(
        house.counter, callers.caller(asker.key), asker.team, _WAY, sent, caching.wish(request, asker)
    )
    if known is None:
        return None
    structlog.contextvars.bind_contextvars(job_id=known.answer.job_id)
    now, answer = house.clock.now(), known.answer
    name = (answer.team_id, answer.job_id, _WAY)
    made = door.renderings.find(name, answer, None, None, now)
    if made is None:
        reading = Reading(reusing.job(answer, None), list(reusing.images(answer)), None)
        body = openai_answers.linked(reading, house.frame, now)
        made = Rendering(answer, None, None, half_seconds(now), body)
        door.renderings.keep(name, made)
    if house.traces is not tracing.OFF:
        traced.ordered(house.traces, reusing.job(answer, known.details))
    return answers.ready(made.body, 200, caching.hit(house, asker, answer, now))


async def _ordered(
    request: Request[Any, Any, Any], asker: recognition.Caller, wanted: Wanted, body: dict[str, object]
) -> _Order:
    house, clock = front.of(request).house, front.of(request).house.clock
    key = request.headers.get("idempotency-key")
    claim = repeats.request(asker.key.id, body, _repeat(request), clock.now())
    for _ in range(_ROUNDS):
        if key is None and claim.repeat:
            job_id = await repeats.claim(house.database, claim, clock.now())
            if job_id is not None:
                log.info("repeat_known", job_id=job_id, repeat=claim.repeat)
                return _Order(job_id, claim, None, {})
        try:
            return await _accepted(request, asker, wanted, key, claim)
        except repeats.Overtaken:
            if not claim.repeat:
                # Its caller has repeated it already, and waits there.
                raise errors.StillRunning(retry_after_s=1) from None
    raise errors.StoreUnavailable


async def _accepted(
    request: Request[Any, Any, Any],
    asker: recognition.Caller,
    wanted: Wanted,
    key: str | None,
    claim: repeats.Request,
) -> _Order:
    house, beside = front.of(request).house, claim.beside if key is None else repeats.require_motion
    wish = replace(caching.wish(request, asker), beside=beside, route=_ROUTE)
    with caching.counted(house, asker):
        accepted = await accept.accept(
            house.counter,
            callers.caller(asker.key),
            wanted.model.api_id,
            wanted.body,
            key,
            house.gate.of(asker),
            wish,
        )
    traced.ordered(house.traces, accepted.job)
    headers = {"Idempotent-Replayed": "true"} if accepted.replayed else callers.rate_headers(accepted.standing)
    headers |= caching.told(house, asker, accepted, house.clock.now())
    # A hit is found again by whoever asks again, and an idempotency key finds its job: no claim is needed for either.
    claimed = key is None and accepted.answer is None
    return _Order(accepted.job.id, claim if claimed else None, _made(house, accepted), headers, accepted)


def _made(house: House, accepted: Accepted) -> Reading | None:
    reading = Reading(accepted.job, list(accepted.images), accepted.remaining_micros)
    return reading if accepted.images and waiting.done(house, reading) else None


async def _awaited(request: Request[Any, Any, Any], asker: recognition.Caller, order: _Order) -> Reading:
    house = front.of(request).house
    watcher = Watcher(asker.key, order.job_id, whole_team=True)
    reading = await waiting.until_done(request, watcher, house.settings.wait_max_s)
    if reading is not None:
        return reading
    if house.waiting_room.closed:
        raise errors.Draining(retry_after_s=1)
    raise errors.StillRunning(retry_after_s=1)


async def _require_claim(house: House, order: _Order) -> None:
    """Return while the job is still for this request; a repeat that took it over answers for it."""
    if order.claim is None or order.reading is not None:
        return
    async with house.database.read() as reader:
        if not await repeats.held(reader, order.claim, order.job_id):
            raise errors.StillRunning(retry_after_s=1)


async def _answer(request: Request[Any, Any, Any], wanted: Wanted, order: _Order, reading: Reading) -> Response[Any]:
    house, now = front.of(request).house, front.of(request).house.clock.now()
    error = view.render(reading.job, [], None, house.frame, now).get("error")
    if error is not None:
        # As an answer, not as an exception: that it was had is noted like that of any other.
        rejected = error["code"] == Failure.UPSTREAM_REJECTED
        kind = errors.JobRejected if rejected else errors.JobFailed
        return problems.of_house(request, kind(error["message"], error["code"]))
    if wanted.forms == _LINKED:
        return answers.ready(openai_answers.linked(reading, house.frame, now), 200, order.headers)
    body = await openai_answers.body(house.bucket, reading, wanted.forms, house.frame, now)
    headers = {**order.headers, "Content-Length": str(body.length)}
    return Stream(body.pieces, media_type="application/json", headers=headers, status_code=200)


async def _settle(request: Request[Any, Any, Any], order: _Order) -> None:
    """Note whether the answer, which is all written, was had; a repeat may come for it otherwise."""
    if order.claim is None:
        return
    house = front.of(request).house
    asgi: dict[str, Any] = request.scope  # type: ignore[assignment]  # the framework's type knows no members of ours
    fate: Fate | None = asgi.get(connection.FATE)
    try:
        if fate is None or await fate.delivered(_ARRIVED_S):
            await repeats.delivered(house.database, order.claim, order.job_id, house.clock.now())
        else:
            await repeats.give_back(house.database, order.claim, order.job_id)
    except errors.StoreUnavailable:
        # Until it is forgotten, a repeat finds the same pictures.
        log.warning("delivery_not_noted", job_id=order.job_id)


async def _give_back(house: House, order: _Order) -> None:
    if order.claim is None:
        return
    try:
        await repeats.give_back(house.database, order.claim, order.job_id)
    except errors.StoreUnavailable:
        # A repeat takes it over all the same.
        log.warning("claim_not_given_back", job_id=order.job_id)


def _repeat(request: Request[Any, Any, Any]) -> int:
    given = fields.first(request, _REPEATED) or ""
    return int(given) if _NUMBER.fullmatch(given) else 0
