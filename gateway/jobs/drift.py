"""Keeping what the ledger expects of the upstream's balance right when the truth about an attempt comes late.

``account`` compares at each answer; these are the corrections between answers. Each in the caller's transaction.
"""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage import schema, tables

_account = tables.upstream_account


async def spent(tx: AsyncConnection, micros: int) -> None:
    """Expect so much less of the balance, which no answer told; negative for what was not spent after all."""
    account = await schema.lock_account(tx)
    if account.expected_micros is None:
        return
    await tx.execute(_account.update().values(expected_micros=account.expected_micros - micros))
    await explain(tx, micros)


async def explain(tx: AsyncConnection, micros: int, since: datetime | None = None) -> None:
    """Take out of the drift what turned out to be our own spending.

    The last comparison saw the upstream's debit if it was made after it, and called it drift; left there, the next
    comparison would take its going for a topup.
    """
    account = await schema.lock_account(tx)
    if since is not None and (account.remaining_seen_at is None or account.remaining_seen_at < since):
        return
    if 0 < micros <= -account.drift_micros:
        await tx.execute(_account.update().values(drift_micros=account.drift_micros + micros))
