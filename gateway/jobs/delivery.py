"""The deliver step: the next message that is due, sent once, and what came of it written. At least once, never lost.

A nudge says that there may be something to send; which message is next is decided in SQL. No transaction is open while
a receiver is called, and no receiver takes more than its team's share of the calls at once.
"""

import random
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

import msgspec
import sqlalchemy as sa
import stamina
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors, ids
from gateway.clock import rfc3339_ms
from gateway.jobs import announce, batches, desk, lookup, traced, view
from gateway.jobs.accept import Caller
from gateway.jobs.announce import Delivery, Status
from gateway.jobs.parts import Shop
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.jobs.tries import DEAD, Outcome
from gateway.jobs.view import Frame
from gateway.storage import outbox, tables
from gateway.webhooks import backoff, signature, team_secrets
from gateway.webhooks.outbound import Answer, Fault

#: From the look-up of the name to the end of the answer's head.
TRY_S: Final = 10.0
#: Calls at once to one team's URLs, over all workers, and in one worker to all of them.
TEAM_AT_ONCE: Final = 8
WORKER_AT_ONCE: Final = 64
#: One step goes on to the next message for this long; then a nudge has to come again.
TURN_S: Final = 5.0
#: No living worker holds a claim for this long.
LEASE: Final = timedelta(minutes=2)
_BOOKED_WITHIN_S: Final = 60.0

_delivery = outbox.deliveries
_try = outbox.delivery_tries
_team = tables.teams
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")

log = structlog.get_logger(__name__)


_FAULTS: Final = MappingProxyType(
    {
        Fault.BAD_URL: Outcome.BAD_URL,
        Fault.FORBIDDEN: Outcome.FORBIDDEN,
        Fault.UNRESOLVED: Outcome.UNRESOLVED,
        Fault.TIMEOUT: Outcome.TIMEOUT,
        Fault.CONNECT: Outcome.CONNECT,
        Fault.CUT: Outcome.CUT,
    }
)
#: After these nothing is tried again.
_FINAL: Final = MappingProxyType(
    {
        Outcome.DELIVERED: Status.DELIVERED,
        Outcome.SUPERSEDED: Status.SUPERSEDED,
        Outcome.GONE: Status.DEAD,
        Outcome.NO_URL: Status.DEAD,
    }
)


@dataclass(frozen=True)
class Result:
    """What a try came to; ``told_s`` is the receiver's ``Retry-After``, in seconds."""

    outcome: Outcome
    url: str | None = None
    status_code: int | None = None
    told_s: float | None = None
    #: For the log.
    trace_id: str | None = None


@dataclass(frozen=True)
class _Letter:
    """A message as it goes out now."""

    url: str
    body: bytes
    #: Whose trace the call belongs to; a batch has none.
    about: Job | None


async def deliver(shop: Shop) -> None:
    """Send what is due, one message after the other, for a while; nothing if this worker has its hands full."""
    courier = shop.courier
    if courier.slots.locked():
        return
    async with courier.slots:
        until_s = shop.clock.monotonic() + TURN_S
        while shop.clock.monotonic() < until_s:
            # One claim after the other, or all of them would be of the same team.
            async with courier.claiming:
                taken = await claim(shop)
            if taken is None:
                return
            await carry(shop, taken)


async def due_teams(connection: AsyncConnection, now: datetime) -> list[str]:
    """The teams that have messages due and calls left, those with the fewest calls under way first."""
    # Few, and counted here: to have them in groups SQLite would walk through all deliveries of all teams.
    claimed = sa.select(_delivery.c.team_id).where(_delivery.c.claimed_by > "")
    calls = Counter((await connection.execute(claimed)).scalars())
    # By two looks into the index for each team, however many messages lie there.
    waiting = sa.or_(*(_next(_team.c.id, status, now).correlate(_team).exists() for status in announce.OPEN))
    found = (await connection.execute(sa.select(_team.c.id).where(waiting))).scalars().all()
    ready = [team for team in found if calls[team] < TEAM_AT_ONCE]
    # Among those with as few: chance, so that no team is always the first.
    random.shuffle(ready)
    return sorted(ready, key=lambda team: calls[team])


async def claim(shop: Shop) -> Delivery | None:
    """Claim the next message: of the team with the fewest calls under way, those never tried before the others."""
    async with shop.database.read() as connection:
        ready = await due_teams(connection, shop.clock.now())
    if not ready:
        return None
    async with shop.database.write() as tx:
        for team_id in ready:
            for status in announce.OPEN:
                taken = await _mark(tx, shop, team_id, status)
                if taken is not None:
                    return taken
    return None


def _next(team_id: object, status: Status, now: datetime) -> sa.Select[tuple[str]]:
    return (
        sa.select(_delivery.c.id)
        .where(
            _delivery.c.state == status,
            _delivery.c.team_id == team_id,
            _delivery.c.due_at <= now,
            _delivery.c.claim.is_(None),
        )
        .order_by(_delivery.c.due_at)
        .limit(1)
    )


async def _mark(tx: AsyncConnection, shop: Shop, team_id: str, status: Status) -> Delivery | None:
    now = shop.clock.now()
    free = _next(team_id, status, now).with_for_update(skip_locked=True)
    row = (
        await tx.execute(
            _delivery.update()
            .where(_delivery.c.id.in_(free))
            .values(
                claim=ids.claim(),
                claimed_by=shop.worker_id,
                claimed_at=now,
                tries=_delivery.c.tries + 1,
                round_tries=_delivery.c.round_tries + 1,
            )
            .returning(_delivery)
        )
    ).first()
    if row is None:
        return None
    taken = announce.read(row)
    await tx.execute(_try.insert().values(delivery_id=taken.id, number=taken.tries, at=now))
    return taken


async def carry(shop: Shop, taken: Delivery) -> None:
    """Send a claimed message once and write what came of it."""
    began_s = shop.clock.monotonic()
    try:
        result = await _send(shop, taken)
    except errors.StoreUnavailable:
        result = Result(Outcome.INTERNAL)
    except Exception:
        # Tried again like any other, and never at once: a bug must neither spin nor stay silent.
        log.exception("webhook_failed", delivery_id=taken.id)
        result = Result(Outcome.INTERNAL)
    took_ms = round((shop.clock.monotonic() - began_s) * 1000)
    status: Status | None = None
    async for attempt in stamina.retry_context(
        on=errors.StoreUnavailable, attempts=None, timeout=_BOOKED_WITHIN_S, wait_initial=0.1, wait_max=5.0
    ):
        with attempt:
            status = await book(shop, taken, result, took_ms)
    _tell(shop, taken, result, status)


async def _send(shop: Shop, taken: Delivery) -> Result:
    courier = shop.courier
    async with shop.database.read() as connection:
        letter = await _write(connection, shop, taken)
    if isinstance(letter, Result):
        return letter
    secrets = await team_secrets.opened(shop.database, courier.seals, taken.team_id, shop.clock.now())
    if not secrets:
        return Result(Outcome.NO_SECRET, letter.url)
    headers = signature.headers(secrets, taken.id, shop.clock.now(), letter.body)
    with traced.message(shop, letter.about) as span:
        answer = await courier.outbound.post(
            letter.url, letter.body, headers, timeout_s=TRY_S, limit_bytes=0, encrypted=True
        )
        result = _meaning(answer, letter.url, shop.clock.now())
        traced.told(span, taken, result.outcome)
        return replace(result, trace_id=span.trace_id)


def _meaning(answer: Answer | Fault, url: str, now: datetime) -> Result:
    if isinstance(answer, Fault):
        return Result(_FAULTS[answer], url)
    told_s = backoff.told_s(answer.headers, now)
    match answer.status // 100:
        case 2:
            return Result(Outcome.DELIVERED, url, answer.status)
        case 3:
            return Result(Outcome.REDIRECT, url, answer.status, told_s)
        case _:
            outcome = Outcome.GONE if answer.status == 410 else Outcome.REFUSED
            return Result(outcome, url, answer.status, told_s)


async def _write(connection: AsyncConnection, shop: Shop, taken: Delivery) -> _Letter | Result:
    """The message as it is now: links are signed anew, and the address is the one in force."""
    if taken.batch_id is not None:
        return await _write_batch(connection, shop, taken, taken.batch_id)
    job = None if taken.job_id is None else await lookup.any_team(connection, taken.job_id)
    if job is None or not announce.holds(taken, job):
        return Result(Outcome.SUPERSEDED)
    default = await connection.execute(sa.select(_team.c.webhook_url).where(_team.c.id == taken.team_id))
    # What was erased of the job is its own URL too; the message has it still.
    url = taken.url if job.prompt_erased_at else job.webhook_url or default.scalar_one_or_none()
    if url is None:
        return Result(Outcome.NO_URL)
    now = shop.clock.now()
    images = await lookup.images(connection, job.team_id, job.id) if job.state is State.COMPLETED else []
    left = await desk.remaining_micros(connection, Caller(job.team_id, job.key_id), now)
    body: dict[str, Any] = {
        "type": taken.type.value,
        "timestamp": rfc3339_ms(taken.created_at),
        "data": view.render(job, images, left, _frame(shop), now),
    }
    return _Letter(url, _ENCODER.encode(body), job)


async def _write_batch(connection: AsyncConnection, shop: Shop, taken: Delivery, batch_id: str) -> _Letter | Result:
    """The message about a batch as it is now, without its items: they are read in pages."""
    batch = await batches.any_team(connection, batch_id)
    default = await connection.execute(sa.select(_team.c.webhook_url).where(_team.c.id == taken.team_id))
    url = batch.webhook_url or default.scalar_one_or_none()
    if url is None:
        return Result(Outcome.NO_URL)
    left = await desk.remaining_micros(connection, Caller(batch.team_id, batch.key_id), shop.clock.now())
    counted = await batches.count(connection, [batch.id])
    body: dict[str, Any] = {
        "type": taken.type.value,
        "timestamp": rfc3339_ms(taken.created_at),
        "data": batches.render(batch, counted[batch.id], left, shop.courier.public_url),
    }
    return _Letter(url, _ENCODER.encode(body), None)


def _frame(shop: Shop) -> Frame:
    courier = shop.courier
    return Frame(courier.public_url, courier.link_key, courier.image_url_ttl_s, shop.unknown_wait_s)


async def book(shop: Shop, taken: Delivery, result: Result, took_ms: int) -> Status | None:
    """Write what a try came to; how the delivery stands, or none if another try has decided that meanwhile."""
    now = shop.clock.now()
    values = _after(taken, result, now)
    mine = _delivery.c.claim == taken.claim
    if result.outcome is Outcome.DELIVERED:
        # True whoever holds the claim by now.
        mine = sa.or_(mine, _delivery.c.state.in_(list(announce.OPEN)))
    async with shop.database.write() as tx:
        row = (
            await tx.execute(
                _delivery.update()
                .where(_delivery.c.id == taken.id, mine)
                .values(
                    **values,
                    url=result.url or taken.url,
                    outcome=result.outcome,
                    claim=None,
                    claimed_by=None,
                    claimed_at=None,
                )
                .returning(_delivery.c.state)
            )
        ).first()
        await tx.execute(
            _try.update()
            .where(_try.c.delivery_id == taken.id, _try.c.number == taken.tries)
            .values(outcome=result.outcome, status_code=result.status_code, duration_ms=took_ms)
        )
    return None if row is None else Status(row.state)


def _after(taken: Delivery, result: Result, now: datetime) -> dict[str, object]:
    """What the row says after the try: the end, or the next one."""
    final = _FINAL.get(result.outcome)
    if final is not None:
        return {"state": final, "ended_at": now}
    chance = random.random()  # noqa: S311  spreads the tries; keeps no secret
    at = backoff.next_try(taken.round_at, taken.round_tries, now, chance=chance, told_s=result.told_s)
    if at is None:
        return {"state": Status.DEAD, "ended_at": now}
    return {"state": Status.RETRYING, "due_at": at}


def _tell(shop: Shop, taken: Delivery, result: Result, status: Status | None) -> None:
    counted = shop.metrics.webhook_deliveries
    counted.labels(result.outcome.value).inc()
    # Never the URL: its path may be a secret of the receiver's.
    about = {
        "delivery_id": taken.id,
        "job_id": taken.job_id,
        "team_id": taken.team_id,
        "outcome": result.outcome.value,
        "status_code": result.status_code,
        "try_number": taken.tries,
    }
    if result.trace_id is not None:
        about["trace_id"] = result.trace_id
    if status is Status.DEAD:
        counted.labels(DEAD).inc()
        log.error("webhook_given_up", **about)
    elif status is Status.RETRYING:
        log.warning("webhook_not_taken", **about)
    else:
        log.info("webhook_tried", **about)
    if status is Status.DELIVERED and not taken.replays:
        told_s = (shop.clock.now() - taken.created_at).total_seconds()
        shop.metrics.job_stage_duration.labels("announce").observe(max(told_s, 0.0))
