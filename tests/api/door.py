"""A front door for a test: the real server in a thread of its own, on a free port, and the stores behind it."""

import asyncio
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

import httpx
import sqlalchemy as sa
import uvloop

from gateway import bootstrap, ids
from gateway.archive import aws, bucket
from gateway.images import picture
from gateway.jobs.states import State
from gateway.settings import keyring, values
from gateway.settings.values import Purpose
from gateway.storage import database, tables
from gateway.tenancy import keys, scopes, teams
from gateway.tenancy.keys import Key
from gateway.tenancy.scopes import Scope
from gateway.tenancy.teams import Team
from service import listening, server
from service.readiness import Readiness
from tests.api.contract import TORII
from tests.support import ports, wait
from tests.support.rig import migrated, nobody

SECRET_KEY = "s3cret-" + "k" * 40
ADMIN_TOKEN = "admin-" + "t" * 40
#: On a crowded machine a limit is still asked; the gateway would let the caller in.
PACE_WITHIN_S = 20.0
GOOD = {"prompt": "a torii gate in rain"}


def environment(database_url: str, redis_url: str, archive: str, port: int) -> dict[str, str]:
    """What `torii serve` needs to be told."""
    return {
        "TORII_DATABASE_URL": database_url,
        "TORII_REDIS_URL": redis_url,
        "TORII_ARCHIVE_URL": archive,
        "TORII_SECRET_KEY": SECRET_KEY,
        "TORII_ADMIN_TOKEN": ADMIN_TOKEN,
        "TORII_PORT": str(port),
        # Nobody listens there: the front door asks the upstream for nothing but its public list.
        "PIXELDOJO_API_BASE": f"http://{ports.LOOPBACK}:9/api/v1",
    }


class Door:
    """A running front door, a client for it, and the stores as the test sees them; use it in an `async with`."""

    def __init__(self, environ: Mapping[str, str], pace_within_s: float = PACE_WITHIN_S) -> None:
        self._terms = bootstrap.Terms(trusted=nobody(), pace_within_s=pace_within_s)
        self.settings = values.read(Purpose.SERVE, environ, env_file=None)
        self.port = self.settings.port
        self.base_url = f"http://{ports.LOOPBACK}:{self.port}"
        self.database = database.open(self.settings.reveal("database_url"))
        self.keyring = keyring.derive(self.settings.secret_key)
        self.client = httpx.AsyncClient(
            base_url=self.base_url,
            verify=nobody(),
            timeout=30,
            trust_env=False,
            event_hooks={"response": [_hold_to_contract]},
        )
        self._server: server.Server | None = None
        self._thread = threading.Thread(target=self._run, name="front door")
        self._failure: BaseException | None = None

    async def __aenter__(self) -> Self:
        await migrated(self.database)
        self._thread.start()
        await wait.until(self._started, timeout_s=20, what="the front door is open")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.client.aclose()
        if self._server is not None:
            # Nobody is left to be polite to.
            self._server.should_exit = self._server.force_exit = True
        await asyncio.to_thread(self._thread.join, 30)
        await self.database.close()

    @property
    def readiness(self) -> Readiness:
        """What the server tells its app."""
        if self._server is None:
            raise RuntimeError("the front door is not open")
        return self._server.readiness

    @property
    def waiting(self) -> int:
        """How many requests wait for a job."""
        if self._server is None:
            raise RuntimeError("the front door is not open")
        return self._server.waiting_room.seated

    def _started(self) -> bool:
        if self._failure is not None:
            raise AssertionError(f"the front door did not open: {self._failure!r}")
        return self._server is not None and self._server.started

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001  shown by the test that waits for this thread
            self._failure = error

    async def _serve(self) -> None:
        async with bootstrap.house(self.settings, self._terms) as house:
            self._server = server.build(house)
            with listening.open(ports.LOOPBACK, self.port) as listener:
                await self._server.serve(sockets=[listener])

    async def team(self, name: str) -> Team:
        """Make a team."""
        async with self.database.write() as tx:
            return await teams.create(tx, name, datetime.now(UTC))

    async def key(
        self, team: Team, granted: frozenset[Scope] = scopes.DEFAULT, *, expired: bool = False
    ) -> tuple[Key, dict[str, str]]:
        """Make a key of the team; with it the header that shows it."""
        now = datetime.now(UTC)
        created_at = now - timedelta(hours=2) if expired else now
        expires_at = now - timedelta(hours=1) if expired else None
        async with self.database.write() as tx:
            key, text = await keys.create(tx, team.id, "test", granted, self.keyring.api_keys, created_at, expires_at)
        return key, {"Authorization": f"Bearer {text.reveal()}"}

    async def caller(self, name: str = "caller", *granted: Scope) -> dict[str, str]:
        """Make a team with one key; the header that shows it."""
        return (await self.key(await self.team(name), frozenset(granted) or scopes.DEFAULT))[1]

    async def run(
        self, headers: Mapping[str, str], body: Mapping[str, Any] | None = None, model: str = "flux-2-max"
    ) -> httpx.Response:
        """Order pictures."""
        return await self.client.post(
            f"/api/v1/models/{model}/run", headers=headers, json=GOOD if body is None else body
        )

    async def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        """All rows of a table."""
        async with self.database.read() as connection:
            return [dict(row) for row in (await connection.execute(sa.select(table))).mappings()]

    async def finish(self, job_id: str, data: bytes) -> str:
        """Make a job completed with that picture, as a worker would have; the picture's id."""
        found, now = picture.inspect(data), datetime.now(UTC)
        team_id = next(row["team_id"] for row in await self.rows(tables.jobs) if row["id"] == job_id)
        image_id, key = ids.image(), f"pictures/{team_id}/{job_id}/0.{found.extension}"
        # The object before its row, as the workers have it: who sees the row reads the object at once.
        archive = bucket.open(self.settings.archive_url, aws.access(self.settings))
        try:
            await archive.put(key, data, found.content_type)
        finally:
            archive.close()
        async with self.database.write() as tx:
            await tx.execute(
                tables.images.insert().values(
                    id=image_id,
                    job_id=job_id,
                    team_id=team_id,
                    position=0,
                    object_key=key,
                    content_type=found.content_type,
                    extension=found.extension,
                    width=found.width,
                    height=found.height,
                    size_bytes=found.bytes,
                    sha256=found.sha256,
                    seed=None,
                    created_at=now,
                )
            )
            await tx.execute(
                tables.jobs.update()
                .where(tables.jobs.c.id == job_id)
                .values(state=State.COMPLETED, cost_micros=2_000_000, ended_at=now)
            )
        return image_id


def error(response: httpx.Response) -> tuple[int, str, str | None]:
    """The status, the code and the field of a refusal."""
    said = response.json()["error"]
    return response.status_code, said["code"], said["param"]


async def _hold_to_contract(answer: httpx.Response) -> None:
    await answer.aread()
    TORII.check(answer)
