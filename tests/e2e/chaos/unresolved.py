"""What has not ended yet, asked of the record directly."""

import sqlalchemy as sa

from gateway import errors
from gateway.jobs import states
from gateway.storage import outbox, tables
from gateway.storage.database import Database

_job = tables.jobs


async def jobs(database: Database) -> dict[str, str]:
    """The jobs that have not ended, by id with their state."""
    async with database.read() as connection:
        rows = await connection.execute(
            sa.select(_job.c.id, _job.c.state).where(_job.c.state.not_in(list(states.ENDED)))
        )
        return {row.id: row.state for row in rows}


async def deliveries(database: Database) -> list[str]:
    """The webhooks that were not delivered yet, by id."""
    delivery = outbox.deliveries
    async with database.read() as connection:
        rows = await connection.execute(sa.select(delivery.c.id).where(delivery.c.state.in_(["pending", "retrying"])))
        return list(rows.scalars())


async def crowd(database: Database) -> int:
    """How many jobs wait; none while the store cannot say."""
    try:
        return len(await jobs(database))
    except errors.StoreUnavailable:
        return 0
