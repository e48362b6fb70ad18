"""Processes that die at a named step: each leaves behind just what was committed and asked for before that step."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.jobs.states import State
from gateway.storage import tables
from tests.support import mortal
from tests.support.emulator import EmulatorProcess
from tests.support.process import StartProcess
from tests.support.rig import Rig


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """Give PostgreSQL alone: what is committed is the same thing on SQLite."""
    return postgres_url


@pytest.mark.parametrize(
    ("step", "state", "attempts", "submits"),
    [
        ("claims.take_queued:after-commit", State.QUEUED, 0, 0),
        ("attempts.open:before-commit", State.QUEUED, 0, 0),
        ("attempts.open:after-commit", State.SUBMITTING, 1, 0),
        ("submission._post:upstream.submit:before", State.SUBMITTING, 1, 0),
        ("submission._post:upstream.submit:after", State.SUBMITTING, 1, 1),
        ("booking._write:before-commit", State.SUBMITTING, 1, 1),
        ("booking._write:after-commit", State.RUNNING, 1, 1),
    ],
)
async def test_a_process_dies_at_the_step_it_was_told_of(
    step: str,
    state: State,
    attempts: int,
    submits: int,
    rig: Rig,
    emulator: EmulatorProcess,
    environ: dict[str, str],
    start_process: StartProcess,
    tmp_path: Path,
) -> None:
    """A worker told to die at a step kills itself there, says so, and the job is where that step found it."""
    (tmp_path / "doomed.order").write_text(f"{step}\t1")
    own = {**environ, mortal.FOLDER: str(tmp_path), mortal.NAME: "doomed"}
    doomed = start_process([sys.executable, "-m", "tests.support.mortal", "work"], own, name="doomed")
    job = await rig.order()
    assert await asyncio.to_thread(doomed.wait_end, 30) == -signal.SIGKILL, doomed.output()
    assert (tmp_path / "doomed.died").read_text().splitlines() == [step]
    assert step in (tmp_path / "doomed.seen").read_text().splitlines()
    assert (await rig.job(job.id)).state is state
    async with rig.house.database.read() as connection:
        opened = (await connection.execute(sa.select(sa.func.count()).select_from(tables.attempts))).scalar_one()
    assert (opened, emulator.books()["totals"]["submitsReceived"]) == (attempts, submits)
