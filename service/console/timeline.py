"""What happened to a job, moment by moment, in words. Pure: made of its row, its attempts and its messages."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gateway.jobs.announce import Delivery, Status
from gateway.jobs.outcomes import Outcome
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.webhooks import urls


@dataclass(frozen=True)
class Moment:
    """One thing that happened; ``tone`` is ``good``, ``bad``, ``warn`` or nothing."""

    at: datetime
    title: str
    text: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Reader:
    """What whoever looks may be told."""

    #: Of the upstream's own ids.
    operator: bool
    #: Of webhooks' whole addresses, which may hold a secret of their receiver's; else of their origins.
    manages: bool


def of(job: Job, attempts: Sequence[sa.Row[Any]], deliveries: Iterable[Delivery], reader: Reader) -> list[Moment]:
    """The moments in order."""
    told = [Moment(job.created_at, "Ordered", "The job was accepted, and its price held.")]
    for attempt in attempts:
        told += _attempt(attempt, len(attempts) > 1, reader.operator)
    if job.finished_upstream_at is not None:
        told.append(Moment(job.finished_upstream_at, "Finished upstream", _polls(job)))
    told += _end(job)
    told += [_delivery(each, reader) for each in deliveries]
    return sorted(told, key=lambda moment: moment.at)


def _attempt(row: sa.Row[Any], several: bool, operator: bool) -> list[Moment]:
    which = f"Attempt {row.number}: s" if several else "S"
    told = [Moment(row.opened_at, f"{which}ent to PixelDojo")]
    if row.answered_at is None:
        if row.outcome == Outcome.UNKNOWN:
            told.append(Moment(row.opened_at, "Its answer was lost", _reason(row), "warn"))
        return told
    if row.outcome == Outcome.ACCEPTED:
        named = f"As {row.upstream_job_id}" if operator and row.upstream_job_id else ""
        proof = f", by {row.evidence.replace('_', ' ')}" if row.evidence else ""
        told.append(Moment(row.answered_at, f"Accepted{proof}", named))
    else:
        tone = "warn" if row.outcome == Outcome.UNKNOWN else "bad"
        told.append(Moment(row.answered_at, row.outcome.replace("_", " ").capitalize(), _reason(row), tone))
    return told


def _reason(row: sa.Row[Any]) -> str:
    return f"Because: {row.reason.replace('_', ' ')}" if row.reason else ""


def _polls(job: Job) -> str:
    return f"Seen after {job.polls} look{'' if job.polls == 1 else 's'}." if job.polls else ""


def _end(job: Job) -> list[Moment]:
    if job.ended_at is None:
        return []
    if job.state is State.COMPLETED:
        said = "Each picture was checked and is ours to keep."
        return [Moment(job.ended_at, "Archived and completed", said, "good")]
    if job.state is State.CANCELLED:
        return [Moment(job.ended_at, "Taken back", "Nothing was charged.")]
    return [Moment(job.ended_at, "Failed", job.error_message or job.error_code or "", "bad")]


def _delivery(found: Delivery, reader: Reader) -> Moment:
    url = found.url if reader.manages else urls.origin(found.url)
    if found.state is Status.DELIVERED and found.ended_at is not None:
        return Moment(found.ended_at, "Webhook delivered", url, "good")
    if found.state is Status.DEAD and found.ended_at is not None:
        return Moment(found.ended_at, "Webhook given up", url, "bad")
    return Moment(found.created_at, f"Webhook {found.state.value}", url)
