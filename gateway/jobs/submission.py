"""The submit step: claim, intent, one paid POST, its answer booked. Sends at most one POST for each committed intent.

The claim takes the pacer's token and a slot while the job is still queued. The POST follows the committed intent at
once, or not at all.
"""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial

import structlog

from gateway import errors
from gateway.images import parameters
from gateway.images.model import Model, with_references
from gateway.jobs import account, attempts, booking, claims, endings, hooks, lending, pace, pricing, traced
from gateway.jobs.parts import Shop
from gateway.jobs.record import Job
from gateway.jobs.states import Failure
from gateway.ledger import book
from gateway.telemetry.tracing import Span
from gateway.upstream import answers, client, pacer
from gateway.upstream.answers import Refusal

#: A worker is taken for dead after 8 s; one that was away for longer than this since its claim sends nothing.
SEND_WITHIN_S = 5.0
#: Nudges that wait for the pacer collapse into one for each quarter of a second.
_TICKS_PER_S = 4
#: So many jobs that cannot be sent are ended or put aside with one token of the request budget, for so long at most:
#: a token is worth something for a minute, and a step that goes on for ever cannot be waited for.
_MOST_WITHDRAWN = 100
_WITHDRAW_WITHIN_S = 5.0

log = structlog.get_logger(__name__)


async def submit(shop: Shop) -> None:
    """Take the next queued job, whichever it is, and send it; nothing if none may be sent now."""
    taken = await shop.turnstiles.submit.through(partial(_look, shop))
    until_s, withdrawn = shop.clock.monotonic() + _WITHDRAW_WITHIN_S, 0
    # What cannot be sent ends here or waits, and leaves the token to the next.
    while taken is not None and not await _sent(shop, *taken):
        withdrawn += 1
        if withdrawn >= _MOST_WITHDRAWN or shop.clock.monotonic() >= until_s:
            await shop.queue.submit()
            return
        # Who looked in vain meanwhile may have had no token.
        taken = await shop.turnstiles.submit.through(partial(_claim, shop), regardless=True)


async def _look(shop: Shop) -> tuple[Job, float] | None:
    """Claim the next queued job, if it may be sent now."""
    now = shop.clock.now()
    async with shop.database.read() as connection:
        outlook = await claims.outlook(connection, shop.concurrency, now)
    if not outlook.open:
        return None
    wait_s = await pace.take(shop, pacer.SUBMIT_RESERVE)
    if wait_s:
        at = now + timedelta(seconds=wait_s)
        await shop.queue.submit(hint=f"tick:{int(at.timestamp() * _TICKS_PER_S)}", at=at)
        return None
    if outlook.trial and not await _answers_again(shop):
        return None
    return await _claim(shop)


async def _claim(shop: Shop) -> tuple[Job, float] | None:
    """The job whose turn it is, and the moment from which its sending counts."""
    begun_s = shop.clock.monotonic()
    job = await claims.take_queued(shop, shop.clock.now())
    return None if job is None else (job, begun_s)


async def _sent(shop: Shop, job: Job, begun_s: float) -> bool:
    """Send the claimed job; false if it was ended instead, or put aside."""
    traced.waited(shop, job)
    with traced.step(shop, job, "submit") as span:
        async with claims.held(shop, job):
            model = next((model for model in shop.catalogue if model.api_id == job.model), None)
            if model is None:
                await _withdraw(shop, job, Failure.MODEL_WITHDRAWN, f"the model {job.model} is no longer offered")
                return False
            if objection := await _objection(shop, job, model):
                await _withdraw(shop, job, *objection)
                return False
            lent = await _lent(shop, job, model)
            if lent is None:
                return False
            # There may be more: the next one's claim need not wait for this one's answer.
            await claims.call_next(shop, f"after:{job.claim}")
            await _send(
                shop, job, parameters.upstream_body(model, with_references(model, job.parameters, lent)), begun_s, span
            )
    return True


async def _lent(shop: Shop, job: Job, model: Model) -> Mapping[str, str] | None:
    """Links to the uploads that the job starts from; none if it was ended, or put aside until the archive answers."""
    lent = await lending.links(shop, job, model)
    if isinstance(lent, lending.Lost):
        await _withdraw(shop, job, Failure.REFERENCE_LOST, lent.reason)
        return None
    if isinstance(lent, lending.Later):
        await lending.put_aside(shop, job, lent)
        return None
    return lent


async def _objection(shop: Shop, job: Job, model: Model) -> tuple[Failure, str] | None:
    """The last look at model and price: what speaks against sending the job, as its failure and its words."""
    what = f"{job.model} at {job.resolution}"
    if strangers := [name for name in job.parameters if model.parameter(name) is None]:
        # Without it the upstream would make, and charge, something else than was ordered, and the cache would keep it.
        return Failure.MODEL_WITHDRAWN, f"{job.model} does not take {strangers[0]} any more"
    try:
        async with shop.database.read() as connection:
            price_micros = await pricing.hold_micros(connection, model, job.parameters)
    except errors.PriceBlocked:
        return Failure.PRICE_BLOCKED, f"the upstream charged more than was expected for {what}; it waits for its price"
    except errors.InvalidParameter:
        return Failure.MODEL_WITHDRAWN, f"{what} is no longer offered"
    if price_micros > job.hold_micros:
        return Failure.PRICE_BLOCKED, f"the price of {what} rose above what was set aside"
    return None


async def _answers_again(shop: Shop) -> bool:
    """The breaker's free trial: one GET, before a paid POST is risked."""
    if await shop.upstream.reachable():
        return True
    async with shop.database.write() as tx:
        await account.open_breaker(tx, shop.clock.now())
    return False


async def _send(shop: Shop, job: Job, body: dict[str, object], begun_s: float, span: Span) -> None:
    token = await _hook(shop, body)
    answer: answers.Submission
    try:
        opened = await attempts.open(shop, job, shop.clock.now(), None if token is None else token.digest)
    except errors.StoreUnavailable:
        # The commit may have taken place. Nothing was sent, and nothing will be: this is booked if it did.
        answer = answers.Refused(Refusal.NOT_SENT)
    else:
        if opened is None:
            return
        until_s = begun_s + SEND_WITHIN_S
        if shop.clock.monotonic() > until_s:
            answer = answers.Refused(Refusal.NOT_SENT)
        else:
            answer = hooks.answered(await _post(shop, opened, body, until_s), token)
    booked = await booking.book(shop, job.id, job.attempt, answer, job.claim)
    if booked is None:
        await claims.give_back(shop, job)
    traced.answered(span, answer, booked)


async def _hook(shop: Shop, body: dict[str, object]) -> hooks.Token | None:
    """Ask in the body to be called about this attempt, where that is wanted; its token then."""
    if shop.hook_base is None:
        return None
    async with shop.database.read() as connection:
        if not await hooks.understood(connection, shop.clock.now()):
            return None
    token = hooks.token()
    body[hooks.PARAMETER] = f"{shop.hook_base}/{token.text}"
    return token


async def _post(shop: Shop, job: Job, body: dict[str, object], until_s: float) -> answers.Submission:
    sent_s = shop.clock.monotonic()
    stage = shop.metrics.job_stage_duration
    stage.labels("queue").observe((shop.clock.now() - job.created_at).total_seconds())
    # Looking a name up, connecting and agreeing on TLS take their time; a worker may sleep in the middle of them.
    answer = await shop.upstream.submit(job.model, body, until_s + client.CONNECT_TIMEOUT_S)
    stage.labels("submit").observe(shop.clock.monotonic() - sent_s)
    return answer


async def _withdraw(shop: Shop, job: Job, failure: Failure, message: str) -> None:
    """End a claimed job that can no longer be sent as it was accepted; its hold goes back, and its team's turn."""
    now = shop.clock.now()
    async with shop.database.write() as tx:
        ended = await endings.fail(tx, job, failure, f"{message}; nothing was charged", now, held=True)
        if ended is not None:
            await claims.give_turn_back(tx, job)
            await book.release(tx, await book.find(tx, job.id, job.attempt), now)
    shop.traces.note(traced.ANSWER, "withdrawn")
    log.info("withdrawn", job_id=job.id, model=job.model, reason=failure)
