"""Whether an order made now would stand still: an operator's pause, or an account that the upstream refuses.

For callers who wait for the picture in the same request and would rather be told to come again. Stops nothing itself.
"""

from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import errors
from gateway.jobs import pauses
from gateway.jobs.record import Job
from gateway.storage import tables

_RETRY_AFTER_S: Final = 60

_account = tables.upstream_account


async def require_motion(connection: AsyncConnection, job: Job, now: datetime) -> None:
    """Return if the job can be sent as far as pauses go; else raise ``UpstreamPaused``."""
    standing = await pauses.standing(connection)
    if standing.everything or job.team_id in standing.teams or job.model in standing.models:
        raise errors.UpstreamPaused("an operator has paused this; try again later", retry_after_s=_RETRY_AFTER_S)
    until = (await connection.execute(sa.select(_account.c.paused_until))).scalar_one_or_none()
    if until is not None and until > now:
        raise errors.UpstreamPaused(retry_after_s=_RETRY_AFTER_S)
