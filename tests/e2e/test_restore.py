"""A disaster: the record is gone, and a backup of some time ago is all that is left. The emulator's books judge."""

import hashlib
import json
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway import bootstrap
from gateway.jobs import attempts, outcomes
from gateway.jobs.outcomes import Evidence
from gateway.jobs.states import ENDED, State
from gateway.ledger import proof
from gateway.settings import values
from gateway.settings.values import Purpose
from gateway.storage import tables
from gateway.tenancy import keys
from tests.support import command, wait
from tests.support.emulator import EmulatorProcess
from tests.support.postgres import Postgres
from tests.support.process import Process
from tests.support.rig import Rig
from tests.support.valkey import Valkey

CREDIT = 1_000_000
StartWorker = Callable[..., Process]


def torii(environ: dict[str, str], folder: Path, *words: str, status: int = 0) -> Any:
    """Run the command to its end with ``--json``; what it said."""
    done = run(environ, folder, *words, "--json")
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout or done.stderr)


def run(environ: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command as an operator, who has no upstream key."""
    return command.run(words, folder=folder, environment={"PATH": "/usr/bin:/bin", **environ, "PIXELDOJO_API_KEY": ""})


@pytest.fixture
def place(postgres: Postgres, environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Give the settings of the gateway on an empty database of the same kind."""
    if "sqlite" in environ["TORII_DATABASE_URL"]:
        return {**environ, "TORII_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'restored.db'}"}
    return {**environ, "TORII_DATABASE_URL": postgres.url(postgres.create())}


@asynccontextmanager
async def restored(rig: Rig, environ: dict[str, str]) -> AsyncIterator[Rig]:
    """The test's own hands on the restored stores: the same caller with the same key."""
    settings = values.read(Purpose.WORK, environ=environ, env_file=None)
    async with bootstrap.house(settings) as house, bootstrap.shop(house) as shop:
        yield Rig(house, shop, rig.caller, rig.key_text)


async def states(rig: Rig) -> dict[str, State]:
    """Every job of the record with its state."""
    async with rig.house.database.read() as connection:
        rows = await connection.execute(sa.select(tables.jobs.c.id, tables.jobs.c.state))
        return {row.id: State(row.state) for row in rows}


async def all_end(rig: Rig, within_s: float = 90.0) -> dict[str, State]:
    """Wait until every job has ended, evidence being looked for as often as it may; their states."""

    async def ended() -> dict[str, State] | None:
        async with rig.house.database.write() as tx:
            await tx.execute(tables.upstream_account.update().values(evidence_due_at=None))
        found = await states(rig)
        return found if set(found.values()) <= ENDED else None

    found = await wait.until(ended, timeout_s=within_s, what="every job of the backup ended", every_s=0.5)
    assert found is not None
    return found


async def load(rig: Rig, emulator: EmulatorProcess) -> list[str]:
    """Have some jobs done, some upstream, some on their way and some waiting; all their ids."""
    emulator.switch(job_list=True, job_list_prompts=True, time_scale=0.002)
    done = [(await rig.order(prompt=f"before {number}", num_outputs=2)).id for number in range(3)]
    await rig.ended(*done)
    emulator.switch(time_scale=0.08, submit_fault={"kind": "slow", "delay_s": 0.3})
    more = [(await rig.order(prompt=f"under way {number}", seed=number)).id for number in range(24)]
    await wait.until(
        lambda: emulator.books(jobs=False)["totals"]["submitsAccepted"] >= 5, timeout_s=20, what="some are upstream"
    )
    return [*done, *more]


async def as_the_books_have_it(rig: Rig, emulator: EmulatorProcess) -> Counter[str]:
    """Check that the record is what the upstream's books say of its jobs; how each doubt was resolved."""
    upstream: dict[str, list[dict[str, Any]]] = {}
    for row in emulator.books()["jobs"]:
        upstream.setdefault(row["parameters"]["prompt"], []).append(row)
    assert {prompt: len(rows) for prompt, rows in upstream.items() if len(rows) > 1} == {}
    async with rig.house.database.read() as connection:
        assert await proof.differences(connection) == []
        jobs = (await connection.execute(sa.select(tables.jobs))).all()
        images = (await connection.execute(sa.select(tables.images))).all()
        doubts = await connection.execute(
            sa.select(tables.attempts.c.evidence).where(tables.attempts.c.reason == attempts.RESTORED)
        )
        resolved = Counter(str(evidence) for evidence in doubts.scalars())
    took = sum(row["creditCost"] for job in jobs for row in upstream.get(job.parameters["prompt"], []))
    assert await rig.balance() == (0, took * CREDIT)
    assert len(images) == sum(job.parameters["num_outputs"] for job in jobs)
    for image in images:
        assert hashlib.sha256(await rig.house.bucket.get(image.object_key)).hexdigest() == image.sha256
    return resolved


@pytest.mark.timeout(240)
async def test_nothing_is_paid_twice_after_a_restore(
    rig: Rig,
    emulator: EmulatorProcess,
    start_worker: StartWorker,
    valkey: Valkey,
    environ: dict[str, str],
    place: dict[str, str],
    tmp_path: Path,
) -> None:
    """Jobs sent after the backup are found and not sent again, those never sent are sent once, the ledger agrees."""
    worker = start_worker("before", TORII_UPSTREAM_CONCURRENCY="3")
    known = await load(rig, emulator)
    told = torii(environ, tmp_path, "backup", str(tmp_path / "a.backup"))
    assert told["rows"]["jobs"] == len(known)
    # The lost time: some of what was queued is sent, and orders come in of which the backup knows nothing.
    lost = [await rig.order(prompt=f"lost {number}", torii={"priority": 9}) for number in range(3)]
    await rig.ended(*(job.id for job in lost), within_s=60)
    worker.kill()
    sent = {row["parameters"]["prompt"] for row in emulator.books()["jobs"]}
    valkey.flush()
    done = torii(place, tmp_path, "restore", "a.backup", "--verify")
    assert done["pictures"]["missing"] == done["pictures"]["damaged"] == []
    assert done["inDoubt"]["queued"] > 0
    async with restored(rig, place) as after:
        # The moment until which a POST may be under way is let pass.
        await after.hurry(quiet_at=outcomes.QUIET - timedelta(seconds=1))
        emulator.switch(submit_fault=None, time_scale=0.002)
        start_worker("after", **place, TORII_UNKNOWN_WAIT_S="600")
        found = await all_end(after)
        assert set(found) == set(known)
        assert set(found.values()) == {State.COMPLETED}
        resolved = await as_the_books_have_it(after, emulator)
        assert set(resolved) == {Evidence.JOB_LIST, Evidence.NOT_LISTED}
        ring = after.house.keys.api_keys
        assert (await keys.recognise(after.house.database, rig.key_text, ring, after.house.clock.now())).team_id
    # What was sent in the lost time was not sent again, and the lost orders are the upstream's alone.
    assert {f"lost {number}" for number in range(3)} <= sent
    totals = emulator.books(jobs=False)["totals"]
    assert totals["submitsAccepted"] == len(known) + len(lost)


async def test_with_nothing_run_since_the_queue_goes_on(
    rig: Rig,
    emulator: EmulatorProcess,
    start_worker: StartWorker,
    valkey: Valkey,
    environ: dict[str, str],
    place: dict[str, str],
    tmp_path: Path,
) -> None:
    """A move: backed up with no worker running, pictures and all, what is queued goes on in the new place."""
    emulator.switch(time_scale=0.002)
    worker = start_worker("before")
    done = await rig.order(num_outputs=2)
    await rig.ended(done.id)
    worker.terminate()
    waiting = [await rig.order(prompt=f"waiting {number}") for number in range(3)]
    told = torii(environ, tmp_path, "backup", str(tmp_path), "--with-pictures")
    assert (told["pictures"]["copied"], told["pictures"]["lookedAt"]) == (2, 2)
    assert torii(environ, tmp_path, "backup", "again.backup", "--with-pictures")["pictures"]["copied"] == 0
    elsewhere = {**place, "TORII_ARCHIVE_URL": str(tmp_path / "moved")}
    valkey.flush()
    back = torii(elsewhere, tmp_path, "restore", told["file"], "--nothing-ran-since", "--with-pictures", "--verify")
    assert (sum(back["inDoubt"].values()), back["broughtBack"]["copied"], back["pictures"]["lookedAt"]) == (0, 2, 2)
    async with restored(rig, elsewhere) as after:
        start_worker("after", **elsewhere)
        assert set(await after.ended(*(job.id for job in (done, *waiting)))) == {State.COMPLETED}
        held, spent = await after.balance()
    assert (held, spent) == (0, (2 * 2 + 3 * 2) * CREDIT)
    assert emulator.books(jobs=False)["totals"]["submitsReceived"] == 4


def test_a_restore_says_what_it_will_not_do(
    rig: Rig, start_worker: StartWorker, environ: dict[str, str], place: dict[str, str], tmp_path: Path
) -> None:
    """While a worker lives, over a living record or an existing file, with a damaged file: one line, no change."""
    worker = start_worker()
    assert rig.key_text
    torii(environ, tmp_path, "backup", "a.backup")
    for words, status, sign in (
        (("backup", "a.backup"), 1, "overwrites nothing"),
        (("backup", "nowhere/a.backup"), 1, "no folder nowhere"),
        (("restore", "a.backup"), 1, "stop every worker first"),
        (("restore", "--after-failover"), 1, "top every worker first"),
        (("restore",), 1, "name the file"),
        (("restore", "a.backup", "--lost-since", "2026-11-23T16:00:00Z"), 1, "--after-failover"),
        (("restore", "torii.log"), 1, "torii.log"),
    ):
        refused(environ, tmp_path, *words, status=status, sign=sign)
    worker.kill()
    no_pulse = {name: text for name, text in environ.items() if name != "TORII_REDIS_URL"}
    refused(no_pulse, tmp_path, "restore", "a.backup", status=1, sign="database is not empty")
    other = {**place, "TORII_SECRET_KEY": "another secret key of thirty-two characters"}
    other.pop("TORII_REDIS_URL")
    refused(other, tmp_path, "restore", "a.backup", status=2, sign="TORII_SECRET_KEY is not the one")
    (tmp_path / "cut.backup").write_bytes((tmp_path / "a.backup").read_bytes()[:300])
    refused(no_pulse, tmp_path, "restore", "cut.backup", "--check", status=1, sign="cut.backup cannot be used")
    assert "rows" in torii(no_pulse, tmp_path, "restore", "a.backup", "--check")
    # The killed worker's pulse in Redis lives some seconds longer than it; until then a restore is refused.
    wait.until_sync(
        lambda: "may have been paid for" in run({**place}, tmp_path, "restore", "--with-void-keys", "a.backup").stdout,
        timeout_s=40,
        what="a restore after the pulse of the dead worker has ended",
    )


def refused(environ: dict[str, str], folder: Path, *words: str, status: int, sign: str) -> None:
    """See a command fail with one line that says why."""
    done = run(environ, folder, *words)
    assert (done.returncode, done.stdout) == (status, ""), done.stdout + done.stderr
    assert sign in done.stderr
    assert done.stderr.count("\n") == 1
