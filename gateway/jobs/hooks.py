"""The upstream's own calls about a job: hints, each under a token of one attempt. Believes nothing that they say.

A call makes the job's next look due, or leaves the id of an upstream job to be verified by reading it. A token is
known here by its digest alone. A flood of calls for one attempt costs at most one look in ``PAUSE``.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.jobs import record
from gateway.jobs.queue import Queue, Step
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.storage import tables
from gateway.storage.database import Database
from gateway.upstream import answers, joblist
from gateway.upstream.answers import Refusal

#: Between two looks that one attempt's calls can cause.
PAUSE = timedelta(seconds=3)
#: What the upstream calls the address to be called back at (pixeldojo.md 1.1).
PARAMETER = "webhook_url"
#: One that refused it is not asked for calls again so soon.
LEFT_OUT_FOR = timedelta(hours=1)
_TOKEN_BYTES = 32

_job = tables.jobs
_attempt = tables.attempts

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Token:
    """A new attempt's token: its text goes upstream and nowhere else, its digest into the attempt's row."""

    text: str
    digest: str


def token() -> Token:
    """An unguessable token."""
    text = secrets.token_urlsafe(_TOKEN_BYTES)
    return Token(text, digest(text))


def digest(text: str) -> str:
    """What the row keeps of a token; 256 random bits need no salt."""
    return hashlib.sha256(text.encode()).hexdigest()


def answered(answer: answers.Submission, sent: Token | None) -> answers.Submission:
    """The answer to a POST that carried a token: what it says of the token is not the caller's fault, nor for its eyes.

    An upstream that rejects ``webhook_url`` surely did not take the job.
    """
    if sent is None or not isinstance(answer, answers.Rejected):
        return answer
    if PARAMETER in answer.message:
        return answers.Refused(Refusal.HOOK_REFUSED, answer.status_code)
    return replace(answer, message=answer.message.replace(sent.text, "…"))


async def understood(connection: AsyncConnection, now: datetime) -> bool:
    """Whether the upstream, as far as is known, takes ``webhook_url``."""
    off_until = (await connection.execute(sa.select(tables.upstream_account.c.hooks_off_until))).scalar_one()
    return off_until is None or off_until <= now


async def leave_out(tx: AsyncConnection, now: datetime) -> None:
    """Send no ``webhook_url`` for a while: the upstream has refused it."""
    log.error("webhook_url_refused", hint="the upstream does not take webhook_url; jobs go on without it")
    await tx.execute(tables.upstream_account.update().values(hooks_off_until=now + LEFT_OUT_FOR))


async def known(database: Database, text: str) -> bool:
    """Whether an attempt of ours has this token."""
    async with database.read() as connection:
        asked = sa.select(_attempt.c.job_id).where(_attempt.c.hook_digest == digest(text))
        return (await connection.execute(asked)).first() is not None


def named(said: Mapping[str, object]) -> str | None:
    """The upstream job that a call is about, wherever its body names it (pixeldojo.md 1.7 knows no shape)."""
    for place in (said, said.get("job"), said.get("data")):
        found = joblist.identifier(place) if isinstance(place, dict) else None
        if found is not None:
            return found
    return None


async def take(database: Database, queue: Queue, text: str, upstream_job_id: str | None, now: datetime) -> None:
    """Heed a call under a known token: write that something is to be done, and do it if it is a look at a job."""
    async with database.write() as tx:
        row = (
            await tx.execute(
                sa.select(_attempt.c.job_id, _attempt.c.number, _attempt.c.hinted_at, _attempt.c.hint_due_at)
                .where(_attempt.c.hook_digest == digest(text))
                .with_for_update()
            )
        ).first()
        if row is None or row.hint_due_at is not None:
            return
        due_at = now if row.hinted_at is None else max(now, row.hinted_at + PAUSE)
        values: dict[str, object] = {"hinted_at": due_at, "hint_due_at": due_at}
        if upstream_job_id is not None:
            values["hinted_upstream_job_id"] = upstream_job_id
        await _note(tx, row.job_id, row.number, **values)
    if due_at <= now:
        await look(database, queue, row.job_id, row.number, now)


async def look(database: Database, queue: Queue, job_id: str, number: int, now: datetime) -> bool:
    """Let a running job be looked at now, as a hint asks; false if the hint is about something else, or must wait."""
    async with database.write() as tx:
        job = await _hurried(tx, job_id, number, now)
    if job is None:
        return False
    await queue.step(Step.POLL, job)
    return True


async def came(tx: AsyncConnection, job_id: str, number: int) -> bool:
    """Whether a call waits to be heeded, which it then is: the caller looks at the job now."""
    heeded = await tx.execute(
        _attempt.update()
        .where(_attempt.c.job_id == job_id, _attempt.c.number == number, _attempt.c.hint_due_at.is_not(None))
        .values(hint_due_at=None)
    )
    return heeded.rowcount > 0


async def _hurried(tx: AsyncConnection, job_id: str, number: int, now: datetime) -> Job | None:
    row = (
        await tx.execute(
            _job.update()
            # A look that is under way may have been too early; its end is waited for.
            .where(_job.c.id == job_id, _job.c.state == State.RUNNING, _job.c.claim.is_(None))
            .values(due_at=now, nudges=_job.c.nudges + 1)
            .returning(_job)
        )
    ).first()
    if row is not None:
        await _note(tx, job_id, number, hint_due_at=None)
    return None if row is None else record.job(row)


async def _note(tx: AsyncConnection, job_id: str, number: int, **values: object) -> None:
    await tx.execute(_attempt.update().where(_attempt.c.job_id == job_id, _attempt.c.number == number).values(**values))
