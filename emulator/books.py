"""The emulator's books: what it counted and each job it remembers, for a test to compare with Torii's. Read-only."""

import math
from typing import Any

from emulator import clock, job, money
from emulator.world import World


def read(world: World, *, jobs: bool) -> dict[str, Any]:
    """Totals, and with `jobs` a row a job, oldest first. Credits are numbers, times RFC 3339 with milliseconds."""
    account = world.account
    in_flight = account.in_flight()
    totals = {
        **world.tally.shown(),
        "submitsAccepted": account.accepted,
        "inFlight": in_flight,
        "peakInFlight": account.peak_in_flight,
        "openingBalance": money.wire(account.opening_micro),
        "adjusted": money.wire(account.adjusted_micro),
        "debited": money.wire(account.debited_micro),
        "refunded": money.wire(account.refunded_micro),
        "creditsRemaining": money.wire(account.balance_micro),
    }
    if not jobs:
        return {"totals": totals}
    return {"totals": totals, "jobs": [_row(found, world) for found in reversed(list(account.newest()))]}


def _row(found: job.Job, world: World) -> dict[str, Any]:
    now = world.now()
    width, height = found.size
    return {
        "jobId": found.id,
        "model": found.order.model.apiId,
        "parameters": found.order.parameters,
        "references": list(found.order.references),
        "webhookUrl": found.order.webhook_url,
        "seed": found.seed,
        "width": width,
        "height": height,
        "outcome": found.outcome.kind,
        "status": job.status(found, now, processing=world.board.now.processing),
        "createdAt": clock.milliseconds(found.created_at),
        "finishesAt": clock.milliseconds(found.finished_at) if math.isfinite(found.finished_at) else None,
        "finishedAt": clock.milliseconds(found.finished_at) if job.terminal(found, now) else None,
        "seenAt": None if found.seen_at is None else clock.milliseconds(found.seen_at),
        "creditCost": money.wire(found.cost_micro),
        "refunded": money.wire(found.refunded_micro),
        "polls": found.polls,
        "downloads": found.downloads,
        "files": list(job.delivered(found)),
        "filesGone": job.terminal(found, now) and not job.stored(found, now),
        "webhooks": found.webhooks,
    }
