"""The log of webhooks as people read it, and sending one again. The team comes first in what a caller can ask.

Sends nothing: whoever has a message sent again nudges, once the transaction is committed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.jobs import announce, lookup
from gateway.jobs.announce import Delivery, Status
from gateway.jobs.parts import Counter
from gateway.jobs.states import ENDED
from gateway.jobs.tries import Outcome
from gateway.storage import outbox, pages
from gateway.storage.pages import Slice
from gateway.tenancy import audit

_delivery = outbox.deliveries
_try = outbox.delivery_tries


@dataclass(frozen=True)
class Filter:
    """Which deliveries are asked for; an empty one asks for all."""

    team_id: str | None = None
    job_id: str | None = None
    state: Status | None = None
    outcome: Outcome | None = None


async def page(connection: AsyncConnection, wanted: Filter, asked: Slice) -> tuple[list[Delivery], str | None]:
    """A slice of the deliveries, newest first, and the cursor of the next."""
    question = sa.select(_delivery)
    for name in ("team_id", "job_id", "state", "outcome"):
        value = getattr(wanted, name)
        if value is not None:
            question = question.where(_delivery.c[name] == value)
    order = (_delivery.c.created_at, _delivery.c.id)
    found = await pages.page(connection, question, order, asked, newest_first=True)
    return [announce.read(row) for row in found.rows], found.next_cursor


async def find(connection: AsyncConnection, delivery_id: str, team_id: str | None) -> Delivery:
    """The delivery, if it is the team's, or any one without a team; ``DeliveryNotFound``."""
    question = sa.select(_delivery).where(_delivery.c.id == delivery_id)
    if team_id is not None:
        question = question.where(_delivery.c.team_id == team_id)
    row = (await connection.execute(question)).first() if delivery_id.isprintable() else None
    if row is None:
        raise errors.DeliveryNotFound(f"there is no delivery {delivery_id[:80]!r}", param="delivery")
    return announce.read(row)


async def tries(connection: AsyncConnection, delivery_id: str) -> Sequence[sa.Row[Any]]:
    """Each time that it was tried, the first one first."""
    question = sa.select(_try).where(_try.c.delivery_id == delivery_id).order_by(_try.c.number)
    return (await connection.execute(question)).all()


async def replay(tx: AsyncConnection, actor: str, before: Delivery, now: datetime) -> Delivery:
    """Have it sent once more, and note who wanted that.

    ``Conflict`` if a later event took its place, or there is nothing left to tell of its job.
    """
    job = None if before.job_id is None else await lookup.any_team(tx, before.job_id)
    if job is not None and job.prompt_erased_at is not None:
        raise errors.Conflict("the job is erased; there is nothing left to tell of it", param="delivery")
    after = await announce.again(tx, before.id, now)
    await audit.note(
        tx,
        actor=actor,
        action="webhook.replay",
        subject=after.id,
        team_id=after.team_id,
        before={"state": before.state.value, "tries": before.tries},
        after={"state": after.state.value, "jobId": after.job_id},
        at=now,
    )
    return after


async def replay_job(counter: Counter, actor: str, team_id: str, job_id: str, key_id: str | None) -> Delivery:
    """Have the webhook about a job's end sent once more, or for the first time if there was no URL then.

    With ``key_id`` only for a job of that key's chain. ``JobNotFound``, or ``Conflict`` for a job that has not ended
    and for one that has no URL, nor its team.
    """
    now = counter.clock.now()
    async with counter.database.write() as tx:
        job = await lookup.find(tx, team_id, job_id, key_id)
        if job.state not in ENDED:
            raise errors.Conflict(
                f"the job is {job.state}; there is a webhook to send once it has ended", param="jobId"
            )
        question = sa.select(_delivery).where(_delivery.c.job_id == job.id, _delivery.c.version == job.version)
        row = (await tx.execute(question)).first()
        if row is None:
            if await announce.ended(tx, job, now) is None:
                raise errors.Conflict("neither the job nor its team has a webhook URL", param="jobId")
            row = (await tx.execute(question)).one()
        after = await replay(tx, actor, announce.read(row), now)
    await counter.queue.deliver(hint=f"{after.id}:{after.replays}")
    return after
