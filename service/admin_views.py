"""What the admin surface shows of each thing, as plain members; the shapes are in ``admin_shapes``. Pure."""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from gateway import errors, money
from gateway.clock import rfc3339, rfc3339_ms
from gateway.jobs import outcomes
from gateway.jobs.outcomes import Outcome
from gateway.jobs.record import Job
from gateway.jobs.states import ENDED, State
from gateway.ledger.budgets import Standing
from gateway.ledger.entries import Kind
from gateway.tenancy.keys import Key
from gateway.tenancy.teams import Team

_CAMEL = re.compile(r"_([a-z])")


def micros(name: str, credits: float | Decimal) -> int:
    """The micro-credits of a body's number, which may be negative; ``InvalidParameter`` for more than 6 decimals."""
    amount = Decimal(repr(credits)) if isinstance(credits, float) else Decimal(credits)
    exact = amount * money.MICROS_PER_CREDIT
    if exact != exact.to_integral_value():
        raise errors.InvalidParameter(f"{name}: use at most 6 decimals", param=name)
    return int(exact)


def moment(at: datetime | None) -> str | None:
    """A moment in whole seconds."""
    return None if at is None else rfc3339(at)


def moment_ms(at: datetime | None) -> str | None:
    """A moment whose order matters."""
    return None if at is None else rfc3339_ms(at)


def camel(name: str) -> str:
    """A column's name as JSON spells it."""
    return _CAMEL.sub(lambda match: match[1].upper(), name)


def team(found: Team) -> dict[str, Any]:
    """A team."""
    return {
        "id": found.id,
        "name": found.name,
        "createdAt": rfc3339(found.created_at),
        "rpm": found.rpm,
        "concurrency": found.concurrency,
        "queueDepth": found.queue_depth,
        "maxQueueS": found.max_queue_s,
        "policy": None if found.policy is None else dict(found.policy),
        "webhookUrl": found.webhook_url,
        "drainedAt": moment(found.drained_at),
    }


def key(found: Key, now: datetime) -> dict[str, Any]:
    """A key, without its secret."""
    state = "revoked" if found.revoked_at is not None else "living" if found.alive(now) else "expired"
    return {
        "id": found.id,
        "teamId": found.team_id,
        "name": found.name,
        "scopes": sorted(scope.value for scope in found.scopes),
        "state": state,
        "createdAt": rfc3339(found.created_at),
        "expiresAt": moment(found.expires_at),
        "revokedAt": moment(found.revoked_at),
        "lastUsedAt": moment(found.last_used_at),
        "rpm": found.rpm,
        "concurrency": found.concurrency,
        "successor": found.successor,
        "lineage": found.first,
    }


def budget(standing: Standing) -> dict[str, Any]:
    """A budget and where it stands."""
    limit = standing.budget
    return {
        "keyId": limit.key_id or None,
        "window": limit.window.value,
        "period": standing.period,
        "limit": money.credits(limit.limit_micros),
        "soft": None if limit.soft_micros is None else money.credits(limit.soft_micros),
        "spent": money.credits(standing.spent_micros),
        "held": money.credits(standing.held_micros),
        "left": money.credits(standing.left_micros),
        "over": standing.over,
    }


def job_line(job: Job, team_name: str) -> dict[str, Any]:
    """A job in a list."""
    cost_micros = job.hold_micros if job.cost_micros is None and job.state not in ENDED else job.cost_micros or 0
    return {
        "id": job.id,
        "state": job.state.value,
        "team": team_name,
        "teamId": job.team_id,
        "keyId": job.key_id,
        "model": job.model,
        "resolution": job.resolution,
        "createdAt": rfc3339(job.created_at),
        "endedAt": moment_ms(job.ended_at),
        "tookS": round((job.ended_at - job.created_at).total_seconds(), 1) if job.ended_at else None,
        "credits": money.credits(cost_micros),
        "error": job.error_code,
        "settlesAt": moment(_settles_at(job)),
    }


def _settles_at(job: Job) -> datetime | None:
    if job.state is not State.SUBMISSION_UNKNOWN or job.submitted_at is None:
        return None
    return job.submitted_at + outcomes.SETTLED_AFTER


def job_more(job: Job, team_name: str) -> dict[str, Any]:
    """What only an operator sees of a job."""
    return {
        "team": team_name,
        "teamId": job.team_id,
        "keyId": job.key_id,
        "parameters": dict(job.parameters),
        "attempt": job.attempt,
        "version": job.version,
        "upstreamJobId": job.upstream_job_id,
        "polls": job.polls,
        "submittedAt": moment_ms(job.submitted_at),
        "acceptedAt": moment_ms(job.accepted_at),
        "finishedUpstreamAt": moment_ms(job.finished_upstream_at),
        "endedAt": moment_ms(job.ended_at),
    }


def attempt(row: sa.Row[Any], now: datetime) -> dict[str, Any]:
    """One time that a paid POST may have been sent, and what became of it."""
    unknown = row.outcome == Outcome.UNKNOWN
    return {
        "number": row.number,
        "outcome": row.outcome,
        "reason": row.reason,
        "evidence": row.evidence,
        "openedAt": rfc3339_ms(row.opened_at),
        "ageS": round((now - row.opened_at).total_seconds(), 1),
        "answeredAt": moment_ms(row.answered_at),
        "lookedAt": moment_ms(row.looked_at),
        "settlesAt": rfc3339(outcomes.settles_at(row.quiet_at)) if unknown else None,
        "hold": money.credits(row.hold_micros),
        "cost": None if row.cost_micros is None else money.credits(row.cost_micros),
        "upstreamJobId": row.upstream_job_id,
    }


def entry(row: sa.Row[Any], team_name: str) -> dict[str, Any]:
    """An entry of the ledger, with its amount as it was booked: the kind says which way it moved."""
    return {
        "id": row.id,
        "kind": Kind(row.kind).value,
        "credits": money.credits(row.amount_micros),
        "team": team_name,
        "teamId": row.team_id,
        "keyId": row.key_id or None,
        "jobId": row.job_id,
        "attempt": row.attempt,
        "model": row.model or None,
        "day": row.day,
        "reference": row.reference,
        "note": row.note,
        "createdAt": rfc3339_ms(row.created_at),
    }


def record(row: sa.Row[Any]) -> dict[str, Any]:
    """A record of the audit log."""
    return {
        "id": row.id,
        "createdAt": rfc3339_ms(row.created_at),
        "actor": row.actor,
        "action": row.action,
        "teamId": row.team_id,
        "subject": row.subject,
        "before": row.before,
        "after": row.after,
    }


def page(name: str, rows: list[dict[str, Any]], next_cursor: str | None) -> Mapping[str, Any]:
    """A slice of a list under its plural's name."""
    return {name: rows, "nextCursor": next_cursor}
