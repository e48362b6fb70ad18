"""Booking the answer to a paid POST: written until it is written, whoever's lease has run out meanwhile.

An answer that this process lost before booking it is found by the sweep as an attempt without one.
"""

import stamina
import structlog

from gateway import errors
from gateway.jobs import claims, hooks, queue, schedule, verdicts
from gateway.jobs.parts import Shop
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.upstream import answers

log = structlog.get_logger(__name__)


async def book(
    shop: Shop, job_id: str, number: int, answer: answers.Submission, claim: str | None = None
) -> Job | None:
    """Write the answer, then tell the workers what can be done next. None if another answer was booked before.

    ``claim`` as for ``attempts.lock``.
    """
    job: Job | None = None
    async for attempt in stamina.retry_context(
        on=errors.StoreUnavailable, attempts=None, timeout=None, wait_initial=0.1, wait_max=5.0
    ):
        with attempt:
            job = await _write(shop, job_id, number, answer, claim)
    if job is not None:
        log.info("answer_booked", job_id=job.id, attempt=number, answer=type(answer).__name__, state=job.state)
        await _nudge(shop, job)
    return job


async def _write(shop: Shop, job_id: str, number: int, answer: answers.Submission, claim: str | None) -> Job | None:
    now = shop.clock.now()
    async with shop.database.write() as tx:
        case = await verdicts.lock(tx, job_id, number, now, claim)
        if case is None:
            return None
        match answer:
            case answers.Accepted():
                if await verdicts.known(tx, answer.upstream_job_id):
                    doubt = answers.Ambiguous("job_id_of_another", answer.status_code)
                    return await verdicts.ambiguous(tx, case, doubt)
                job = await verdicts.accepted(tx, case, answer)
                if job is None:
                    return None
                # A call of which another process was told is found by the sweep, should this one not ask for any.
                if shop.hook_base is not None and await hooks.came(tx, job_id, number):
                    # The upstream called before it answered: there may be a picture already.
                    return await schedule.due(tx, job, now)
                return await schedule.first_look(tx, shop, job, now)
            case answers.Rejected():
                return await verdicts.rejected(tx, case, answer)
            case answers.Refused():
                return await verdicts.refused(tx, case, answer)
            case answers.Ambiguous():
                return await verdicts.ambiguous(tx, case, answer)


async def _nudge(shop: Shop, job: Job) -> None:
    if job.state is State.RUNNING:
        await shop.queue.step(queue.Step.POLL, job)
    elif job.state is State.QUEUED:
        await shop.queue.submit(hint=f"{job.id}:{job.attempt}", at=job.due_at)
    elif job.state is State.FAILED:
        await shop.queue.ended(job)
    if job.state is not State.QUEUED:
        # Only so many may wait for an answer at once; who found that many on their way found no turn.
        await claims.call_next(shop, f"{job.id}:answered")
