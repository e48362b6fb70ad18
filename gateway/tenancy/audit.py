"""The audit log: who changed what, before and after. Written in the transaction of the change; never read by a rule.

No secret enters it: the caller gives the members that a person may see.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import ids
from gateway.storage import pages, tables
from gateway.storage.pages import Page, Slice

_audit = tables.audit


@dataclass(frozen=True)
class Filter:
    """Which records are asked for; an empty one asks for all. ``until`` itself is not among them."""

    team_id: str | None = None
    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None


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
        _audit.insert().values(
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


async def page(connection: AsyncConnection, wanted: Filter, asked: Slice) -> Page:
    """A slice of the records, newest first."""
    question = sa.select(_audit)
    for name in ("team_id", "actor", "action", "subject"):
        value = getattr(wanted, name)
        if value is not None:
            question = question.where(_audit.c[name] == value)
    if wanted.since is not None:
        question = question.where(_audit.c.created_at >= wanted.since)
    if wanted.until is not None:
        question = question.where(_audit.c.created_at < wanted.until)
    return await pages.page(connection, question, (_audit.c.created_at, _audit.c.id), asked, newest_first=True)
