"""The commands that work on the stores, as an operator runs them: real processes, a real database, JSON and text."""

import asyncio
import json
import os
import pwd
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway import bootstrap, errors, ids
from gateway.archive import bucket
from gateway.images import catalogue
from gateway.jobs import accept, queue
from gateway.jobs.errands import Errands
from gateway.jobs.outcomes import Outcome
from gateway.jobs.parts import Counter
from gateway.jobs.record import Job
from gateway.jobs.states import State
from gateway.ledger import proof
from gateway.settings import keyring, values
from gateway.settings.values import Purpose
from gateway.storage import schema, tables, valkey
from gateway.storage import stores as house_stores
from gateway.storage.stores import Stores
from gateway.tenancy import keys, scopes, teams
from tests.support import command
from tests.support.collector import Collector

ACTOR = f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
SECRET = "secret key of these tests; long enough"


@dataclass(frozen=True)
class Desk:
    """Where an operator sits: a directory, settings, and the command."""

    folder: Path
    settings: dict[str, str]

    def run(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        environment = {"PATH": "/usr/bin:/bin", **self.settings, **settings}
        return command.run(words, folder=self.folder, environment=environment)

    def json(self, *words: str, status: int = 0) -> Any:
        """Run it with --json; its stdout, parsed."""
        done = self.run(*words, "--json")
        assert done.returncode == status, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout)

    def refused(self, *words: str, status: int = 1) -> str:
        """Run it, see it fail with one line, and return the line."""
        done = self.run(*words)
        assert done.returncode == status, done.stderr
        assert done.stdout == ""
        assert done.stderr.startswith("torii: ")
        assert done.stderr.count("\n") == 1
        return done.stderr


@pytest.fixture
def desk(tmp_path: Path, sqlite_url: str, redis_url: str) -> Desk:
    """A desk whose database is still empty."""
    settings = {"TORII_DATABASE_URL": sqlite_url, "TORII_REDIS_URL": redis_url, "TORII_SECRET_KEY": SECRET}
    return Desk(tmp_path, settings)


@pytest.fixture
async def stores(desk: Desk) -> AsyncIterator[Stores]:
    """The same stores for the test itself, migrated."""
    async with house_stores.open(values.read(Purpose.STORE, desk.settings, env_file=None)) as opened:
        await schema.migrate(opened.database)
        yield opened


async def ordered(desk: Desk, stores: Stores) -> Job:
    """A job of team drawing, as the front door accepts one."""
    now = stores.clock.now()
    ring = keyring.derive(stores.settings.secret_key).api_keys
    async with stores.database.write() as tx:
        team = await teams.create(tx, "drawing", now)
        key, _ = await keys.create(tx, team.id, "test", scopes.DEFAULT, ring, now)
        await teams.create(tx, "other", now)
    async with valkey.open(stores.settings.reveal("redis_url")) as redis:
        archive = bucket.open(str(desk.folder / "archive"))
        library = await bootstrap.library(stores.database, redis, archive, Errands())
        counter = Counter(stores.database, catalogue.load(), queue.open(redis), stores.clock, library)
        caller = accept.Caller(team.id, key.id)
        return (await accept.accept(counter, caller, "flux-2-max", {"prompt": "a gate"})).job


async def audited(stores: Stores) -> list[tuple[str, str, str]]:
    """The audit log: who did what to whom."""
    async with stores.database.read() as connection:
        rows = await connection.execute(sa.select(tables.audit).order_by(tables.audit.c.created_at))
        return [(row.actor, row.action, row.subject) for row in rows]


async def test_teams_and_keys(desk: Desk, stores: Stores) -> None:
    """A key's text is shown once and is good until it is revoked; each change is audited, without a secret."""
    team = desk.json("team", "create", "drawing")
    made = desk.json("key", "create", "drawing", "--name", "ci", "--scope", "read", "--expires", "30d")
    text = made.pop("key")
    ring = keyring.derive(stores.settings.secret_key).api_keys
    known = await keys.recognise(stores.database, text, ring, datetime.now(UTC))
    assert (known.id, known.team_id, known.scopes) == (made["id"], team["id"], frozenset({scopes.Scope.READ}))

    listed = desk.json("key", "list", team["id"])
    assert [(key["id"], key["state"]) for key in listed] == [(made["id"], "living")]
    assert text not in json.dumps(listed)
    assert desk.json("key", "revoke", text)["revokedAt"] is not None
    with pytest.raises(errors.NotAuthenticated):
        await keys.recognise(stores.database, text, ring, datetime.now(UTC))
    assert desk.json("team", "show", "drawing")["livingKeys"] == 0

    assert await audited(stores) == [
        (ACTOR, "team.create", team["id"]),
        (ACTOR, "key.create", made["id"]),
        (ACTOR, "key.revoke", made["id"]),
    ]
    async with stores.database.read() as connection:
        assert text not in str((await connection.execute(sa.select(tables.audit))).all())


@pytest.mark.usefixtures("stores")
def test_text_for_people(desk: Desk) -> None:
    """Without --json there are tables and sentences, a key stands on a line of its own, and no name is guessed."""
    assert "team drawing made" in desk.run("team", "create", "drawing").stdout
    assert desk.run("key", "create", "drawing").stdout.splitlines()[0].startswith("torii_")
    assert "no team 'nobody'" in desk.refused("key", "create", "nobody")
    table = desk.run("key", "list", "drawing").stdout
    assert "LAST USED" in table
    assert "generate read" in table
    assert "\x1b" not in table


async def test_a_job_is_listed_shown_nudged_and_cancelled(desk: Desk, stores: Stores) -> None:
    """An operator sees a job and takes it back while it is queued; an ended one is left alone."""
    job = await ordered(desk, stores)
    rows = desk.json("jobs", "list", "--team", "drawing", "--state", "queued")
    assert [(row["id"], row["team"], row["credits"]) for row in rows] == [(job.id, "drawing", 2)]
    page = desk.json("jobs", "show", job.id)
    assert (page["jobId"], page["team"], page["parameters"]["prompt"]) == (job.id, "drawing", "a gate")
    assert desk.json("jobs", "requeue", job.id)["state"] == "queued"

    assert "has no job" in desk.refused("jobs", "cancel", job.id, "--team", "other")
    assert desk.json("jobs", "cancel", job.id)["state"] == "cancelled"
    assert "nothing left to do" in desk.refused("jobs", "requeue", job.id)
    assert desk.json("jobs", "watch", job.id, status=4)["state"] == "cancelled"
    assert (ACTOR, "job.cancel", job.id) in await audited(stores)


async def test_a_doubt_is_settled(desk: Desk, stores: Stores) -> None:
    """An unknown submission that is quiet can be settled, once, and the ledger stays right."""
    job = await ordered(desk, stores)
    await make_unknown(stores, job)
    assert "never sent again" in desk.refused("jobs", "requeue", job.id)
    settled = desk.json("jobs", "settle", job.id, "--not-charged")
    assert (settled["state"], settled["error"], settled["credits"]) == ("failed", "submission_unknown", 0)
    assert "only a job whose submission is unknown" in desk.refused("jobs", "settle", job.id, "--charged")
    async with stores.database.read() as connection:
        assert await proof.differences(connection) == []


async def make_unknown(stores: Stores, job: Job) -> None:
    """Put the job where a worker leaves it whose POST's answer was lost an hour ago."""
    then = datetime.now(UTC) - timedelta(hours=1)
    async with stores.database.write() as tx:
        await tx.execute(
            tables.attempts.insert().values(
                job_id=job.id,
                number=job.attempt,
                claim=ids.claim(),
                worker_id=ids.worker(),
                opened_at=then,
                quiet_at=then,
                outcome=Outcome.UNKNOWN,
                hold_micros=job.hold_micros,
            )
        )
        await tx.execute(
            tables.jobs.update()
            .where(tables.jobs.c.id == job.id)
            .values(state=State.SUBMISSION_UNKNOWN, submitted_at=then)
        )


@pytest.mark.usefixtures("stores")
def test_doctor_names_each_part(desk: Desk) -> None:
    """Doctor says part by part what is well; without a worker something is broken, and the exit status says so."""
    done = desk.run("doctor")
    assert done.returncode == 1
    words = dict(line.split(maxsplit=2)[:2] for line in done.stdout.splitlines())
    well = ("settings", "database", "ledger", "keys", "webhooks", "redis", "archive", "upstream", "traces")
    assert words == {**dict.fromkeys(well, "ok"), "workers": "BROKEN"}


@pytest.mark.usefixtures("stores")
async def test_doctor_says_where_traces_go(desk: Desk) -> None:
    """Doctor says that traces are off, where they are sent, or that nobody listens there; it never shows their key."""

    def traces(**settings: str) -> tuple[str, str]:
        done = desk.run("doctor", "--json", OTEL_EXPORTER_OTLP_HEADERS="x-key=planted-collector-key", **settings)
        assert "planted-collector-key" not in done.stdout + done.stderr
        (found,) = (part for part in json.loads(done.stdout)["parts"] if part["part"] == "traces")
        return found["health"], found["says"]

    assert traces() == ("ok", "off; OTEL_EXPORTER_OTLP_ENDPOINT turns them on")
    async with Collector().listening() as collector:
        there = await asyncio.to_thread(traces, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        assert there == ("ok", f"on: sent to {collector.url}/v1/traces")
    health, says = traces(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    assert health == "warning"
    assert "nobody listens" in says


async def test_doctor_finds_what_is_wrong(desk: Desk, stores: Stores) -> None:
    """Each part that is wrong is found, though others are wrong too."""
    job = await ordered(desk, stores)
    async with stores.database.write() as tx:
        await tx.execute(tables.balances.update().values(held_micros=tables.balances.c.held_micros + 1))
    wrong = {
        "TORII_SECRET_KEY": "another secret; none of the older ones is here",
        "TORII_REDIS_URL": "redis://127.0.0.1:1/0",
        "TORII_ARCHIVE_URL": "/dev/null/archive",
        "TORII_PROT": "8701",
    }
    done = desk.run("doctor", "--json", **wrong)
    assert done.returncode == 1
    parts = {part["part"]: part for part in json.loads(done.stdout)["parts"]}
    assert parts["settings"]["says"] == "TORII_PROT is not a setting, TORII_PORT is"
    assert parts["keys"]["health"] == "warning"
    assert job.team_id in parts["ledger"]["says"]
    assert [parts[name]["health"] for name in ("redis", "archive", "ledger")] == ["broken"] * 3


def test_migrate_twice(desk: Desk) -> None:
    """Migrate makes the schema; a second one changes nothing and is no mistake."""
    assert desk.json("migrate") == {"changed": True, "release": schema.RELEASE}
    assert "already" in desk.run("migrate").stdout
