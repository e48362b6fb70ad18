"""Teams, keys and completed jobs with pictures, written straight into the store: what the cache can be about."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from pydantic import SecretStr

from gateway import ids
from gateway.jobs.states import State
from gateway.settings import keyring
from gateway.settings.keyring import DerivedKey
from gateway.storage import database, schema, tables
from gateway.storage.database import Database
from gateway.tenancy import keys, scopes, teams
from tests.support.rig import MODEL, SECRET

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Owner:
    """A team and a key of it."""

    team_id: str
    key_id: str


@dataclass(frozen=True)
class Store:
    """A migrated database with one team."""

    database: Database
    ring: tuple[DerivedKey, ...]
    owner: Owner

    async def another(self, name: str) -> Owner:
        """Another team with a key."""
        async with self.database.write() as tx:
            return await _team(tx, name, self.ring)

    async def key(self, team_id: str) -> str:
        """Another key of a team; its id."""
        async with self.database.write() as tx:
            made, _ = await keys.create(tx, team_id, "other", scopes.DEFAULT, self.ring, NOW)
            return made.id

    async def job(
        self, owner: Owner | None = None, state: State = State.COMPLETED, pictures: int = 1, **values: Any
    ) -> str:
        """A job of the team in that state, with its pictures; its id."""
        owner = owner or self.owner
        job_id = ids.job()
        ended_at = NOW if state in (State.COMPLETED, State.FAILED, State.CANCELLED) else None
        async with self.database.write() as tx:
            await tx.execute(
                tables.jobs.insert().values(
                    {
                        "id": job_id,
                        "team_id": owner.team_id,
                        "key_id": owner.key_id,
                        "model": MODEL,
                        "model_version": "1",
                        "parameters": {"prompt": "a torii gate", "seed": 1},
                        "state": state,
                        "hold_micros": 2_000_000,
                        "created_at": NOW,
                        "queue_deadline_at": NOW,
                        "due_at": NOW,
                        "ended_at": ended_at,
                    }
                    | values
                )
            )
            for position in range(pictures if state is State.COMPLETED else 0):
                await tx.execute(tables.images.insert().values(picture(owner.team_id, job_id, position)))
        return job_id

    async def row(self, job_id: str) -> sa.Row[Any]:
        """The job's row."""
        async with self.database.read() as connection:
            return (await connection.execute(sa.select(tables.jobs).where(tables.jobs.c.id == job_id))).one()


def picture(team_id: str, job_id: str, position: int) -> dict[str, Any]:
    """The row of one picture of a job."""
    return {
        "id": ids.image(),
        "job_id": job_id,
        "team_id": team_id,
        "position": position,
        "object_key": f"pictures/{team_id}/{job_id}/{position}.png",
        "content_type": "image/png",
        "extension": "png",
        "width": 1024,
        "height": 1024,
        "size_bytes": 12345,
        "sha256": f"{position:064x}",
        "seed": 1 if position == 0 else None,
        "created_at": NOW,
    }


async def _team(tx: Any, name: str, ring: tuple[DerivedKey, ...]) -> Owner:
    team = await teams.create(tx, name, NOW)
    key, _ = await keys.create(tx, team.id, "test", scopes.DEFAULT, ring, NOW)
    return Owner(team.id, key.id)


@asynccontextmanager
async def store(database_url: str) -> AsyncIterator[Store]:
    """A migrated database with one team, closed at the end."""
    opened = database.open(database_url)
    try:
        await schema.migrate(opened)
        ring = keyring.derive((SecretStr(SECRET),)).api_keys
        async with opened.write() as tx:
            owner = await _team(tx, "keepers", ring)
        yield Store(opened, ring, owner)
    finally:
        await opened.close()
