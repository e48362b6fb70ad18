"""What the trace of a job tells: one span for each step, under the request that ordered it. Knows no collector.

A job whose order nobody traced has none: its row keeps no parent, and a step alone makes no trace.
"""

from datetime import datetime
from typing import Final

from gateway.jobs.announce import Delivery
from gateway.jobs.outcomes import Evidence
from gateway.jobs.parts import Shop
from gateway.jobs.record import Job
from gateway.jobs.tries import Outcome
from gateway.telemetry.tracing import About, Span, Traces, Value

JOB: Final = "torii.job.id"
TEAM: Final = "torii.team.id"
ANSWER: Final = "torii.answer"
STATE: Final = "torii.job.state"
_MODEL: Final = "torii.model"
_ATTEMPT: Final = "torii.attempt"
_WORKER: Final = "torii.worker.id"


def ordered(traces: Traces, job: Job) -> None:
    """Say in a request's span which job it came to; one that an earlier request made is pointed at."""
    others = {"torii.follows": job.follows, "torii.reused_from": job.reused_from}
    for name, value in {**_of(job), **others}.items():
        traces.note(name, value)
    traces.link(job.trace_parent)


def step(shop: Shop, job: Job, name: str) -> Span:
    """The span of a worker's step."""
    return shop.traces.step(job.trace_parent, name, {**_of(job), _WORKER: shop.worker_id})


def message(shop: Shop, about: Job | None) -> Span:
    """The span of a webhook's call; one about a batch belongs to no trace."""
    if about is None:
        return shop.traces.step(None, "webhook", {_WORKER: shop.worker_id})
    return step(shop, about, "webhook")


def waited(shop: Shop, job: Job) -> None:
    """Tell how long a job that was just claimed has waited, since it was ordered or last sent."""
    since = job.created_at if job.submitted_at is None else job.submitted_at
    shop.traces.over(job.trace_parent, "queue", since, shop.clock.now(), _of(job))


def settled(shop: Shop, job: Job, number: int, since: datetime, evidence: Evidence | str) -> None:
    """Tell that the doubt about an attempt is over, how long it lasted, and by what it ended."""
    about = {**_of(job), _ATTEMPT: number, "torii.evidence": str(evidence), STATE: job.state.value}
    shop.traces.over(job.trace_parent, "evidence", since, shop.clock.now(), about)


def answered(span: Span, answer: object, after: Job | None) -> None:
    """Say in a step's span what the upstream's answer meant, and what became of the job."""
    span.note(ANSWER, type(answer).__name__.lower())
    stands(span, after)


def stands(span: Span, after: Job | None) -> None:
    """Say in a step's span what became of the job."""
    if after is not None:
        span.note(STATE, after.state.value)
        if after.error_code is not None:
            span.failed(after.error_code)


def told(span: Span, message: Delivery, outcome: Outcome) -> None:
    """Say in a webhook's span which message it was, which try, and what came of it."""
    span.note("torii.delivery.id", message.id)
    span.note("torii.event", message.type.value)
    span.note("torii.try", message.tries)
    span.note("torii.outcome", outcome.value)
    if outcome is not Outcome.DELIVERED:
        span.failed(outcome.value)


def _of(job: Job) -> About:
    about: dict[str, Value] = {JOB: job.id, TEAM: job.team_id, _MODEL: job.model, _ATTEMPT: job.attempt}
    return about
