"""The submit step: claim, intent, one paid POST, its answer booked. Sends at most one POST for each committed intent.

The claim takes the pacer's token and a slot while the job is still queued. The POST follows the committed intent at
once, or not at all.
"""

from datetime import timedelta

import structlog

from gateway import errors
from gateway.images import parameters
from gateway.images.model import Model
from gateway.jobs import account, attempts, booking, claims, endings, pace
from gateway.jobs.parts import Shop
from gateway.jobs.record import Job
from gateway.jobs.states import Failure, State
from gateway.ledger import book
from gateway.upstream import answers, pacer
from gateway.upstream.answers import Refusal

#: A worker is taken for dead after 8 s; one that was away for longer than this since its claim sends nothing.
SEND_WITHIN_S = 5.0
#: Nudges that wait for the pacer collapse into one for each quarter of a second.
_TICKS_PER_S = 4

log = structlog.get_logger(__name__)


async def submit(shop: Shop) -> None:
    """Take the next queued job, whichever it is, and send it; nothing if none may be sent now."""
    now = shop.clock.now()
    async with shop.database.read() as connection:
        outlook = await claims.outlook(connection, now)
    if not outlook.open:
        return
    wait_s = await pace.take(shop, pacer.SUBMIT_RESERVE)
    if wait_s:
        at = now + timedelta(seconds=wait_s)
        await shop.queue.submit(hint=f"tick:{int(at.timestamp() * _TICKS_PER_S)}", at=at)
        return
    if outlook.trial and not await _answers_again(shop):
        return
    begun_s = shop.clock.monotonic()
    job = await claims.take_queued(shop, shop.clock.now())
    if job is None:
        return
    # There may be more: the next one's claim need not wait for this one's answer.
    await shop.queue.submit(hint=f"after:{job.claim}")
    model = next((model for model in shop.catalogue if model.api_id == job.model), None)
    async with claims.held(shop, job):
        if model is None:
            await _withdraw(shop, job)
        else:
            await _send(shop, job, model, begun_s)


async def _answers_again(shop: Shop) -> bool:
    """The breaker's free trial: one GET, before a paid POST is risked."""
    if await shop.upstream.reachable():
        return True
    async with shop.database.write() as tx:
        await account.open_breaker(tx, shop.clock.now())
    return False


async def _send(shop: Shop, job: Job, model: Model, begun_s: float) -> None:
    body = parameters.upstream_body(model, job.parameters)
    answer: answers.Submission
    try:
        opened = await attempts.open(shop, job, shop.clock.now())
    except errors.StoreUnavailable:
        # The commit may have taken place. Nothing was sent, and nothing will be: this is booked if it did.
        answer = answers.Refused(Refusal.NOT_SENT)
    else:
        if opened is None:
            return
        if shop.clock.monotonic() - begun_s > SEND_WITHIN_S:
            answer = answers.Refused(Refusal.NOT_SENT)
        else:
            answer = await _post(shop, opened, model, body)
    if await booking.book(shop, job.id, job.attempt, answer) is None:
        await claims.give_back(shop, job)


async def _post(shop: Shop, job: Job, model: Model, body: dict[str, object]) -> answers.Submission:
    sent_s = shop.clock.monotonic()
    stage = shop.metrics.job_stage_duration
    stage.labels("queue").observe((shop.clock.now() - job.created_at).total_seconds())
    answer = await shop.upstream.submit(model.api_id, body)
    stage.labels("submit").observe(shop.clock.monotonic() - sent_s)
    return answer


async def _withdraw(shop: Shop, job: Job) -> None:
    """End a job whose model an operator took out of the catalogue; nothing was sent, its hold goes back."""
    now = shop.clock.now()
    async with shop.database.write() as tx:
        ended = await endings.fail(tx, job, Failure.MODEL_WITHDRAWN, f"the model {job.model} is no longer offered", now)
        if ended is not None and ended.state is State.FAILED:
            await book.release(tx, await book.find(tx, job.id, job.attempt), now)
    log.info("model_withdrawn", job_id=job.id, model=job.model)
