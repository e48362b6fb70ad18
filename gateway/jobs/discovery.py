"""An unknown attempt's upstream job has turned up: written, and the workers told. Looks for nothing itself."""

from gateway.jobs import settlement, traced, verdicts
from gateway.jobs.outcomes import Evidence, Outcome
from gateway.jobs.parts import Shop
from gateway.jobs.queue import Step
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.upstream import answers
from gateway.upstream.joblist import Listed


async def discover(shop: Shop, job_id: str, number: int, found: Listed, evidence: Evidence) -> bool:
    """Let an attempt have the upstream job that turned up; false if it has had its answer, or the job is another's."""
    async with shop.database.write() as tx:
        case = await verdicts.lock(tx, job_id, number, shop.clock.now())
        if case is None or case.outcome is Outcome.OPEN or await verdicts.known(tx, found.upstream_job_id):
            return False
        answer = answers.Accepted(found.upstream_job_id, 0, found.cost_micros, None, found.created_at)
        job = await settlement.discovered(tx, case, answer, evidence)
    traced.settled(shop, job, number, case.opened_at, evidence)
    await nudge(shop, job)
    return True


async def nudge(shop: Shop, job: Job) -> None:
    """Tell the workers what can be done next."""
    if job.state is State.RUNNING:
        await shop.queue.step(Step.POLL, job)
    else:
        if job.state is State.FAILED:
            await shop.queue.ended(job)
        await shop.queue.submit(hint=f"{job.id}:{job.attempt}:evidence")
