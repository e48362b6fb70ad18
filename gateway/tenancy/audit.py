"""The audit log: who changed what, before and after. Written in the transaction of the change; never read by a rule.

No secret enters it: the caller gives the members that a person may see.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import ids
from gateway.storage import tables


async def note(
    tx: AsyncConnection,
    *,
    actor: str,
    action: str,
    subject: str,
    at: datetime,
    team_id: str | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Add one record: ``actor`` did ``action`` (such as ``key.create``) to ``subject``, an id."""
    await tx.execute(
        tables.audit.insert().values(
            id=ids.audit(),
            created_at=at,
            actor=actor,
            action=action,
            team_id=team_id,
            subject=subject,
            before=None if before is None else dict(before),
            after=None if after is None else dict(after),
        )
    )
