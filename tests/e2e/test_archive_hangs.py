"""An archive that takes connections and answers nothing: whoever needs it to be sent waits, and holds up nobody."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.jobs import accept
from gateway.jobs.draft import Caller
from gateway.jobs.outcomes import Outcome
from gateway.jobs.states import State
from gateway.storage import tables
from tests.api.door import Door
from tests.support import crowd, wait
from tests.support import rig as rigs
from tests.support import studio as studios
from tests.support.emulator import EmulatorProcess
from tests.support.process import Process
from tests.support.rig import MODEL, Rig
from tests.support.s3_bucket import Bucket
from tests.support.studio import Studio
from tests.support.wire import Wire

UPLOAD_JOBS = 30
ORDINARY_JOBS = 6
#: Where nothing hangs so few are sent in a part of a second. A look at a silent archive takes 2 s.
SOON_S = 3.0
TURNS = 4


@pytest.fixture
def environ(emulator: EmulatorProcess, database_url: str, redis_url: str, tmp_path: Path, s3: Bucket) -> dict[str, str]:
    """Give the settings of a gateway that keeps its pictures in S3, and sells a model that starts from some."""
    environ = studios.environment(emulator, database_url, redis_url, tmp_path)
    return {**environ, **s3.environment(), "TORII_ARCHIVE_URL": s3.url("torii")}


@pytest.fixture
async def studio(environ: dict[str, str], emulator: EmulatorProcess) -> AsyncIterator[Studio]:
    """Give the test's own hands, and the door at which uploads are fetched; they reach S3 by ways of their own."""
    async with Door(environ), rigs.rig(environ) as built:
        yield Studio(built, emulator)


@pytest.fixture
def wire(s3: Bucket) -> Iterator[Wire]:
    """Give the workers' way to S3."""
    port = urlsplit(s3.endpoint_url).port
    assert port is not None
    with Wire(port) as laid:
        yield laid


async def ordinary(rig: Rig, caller: Caller, number: int) -> str:
    """Order a picture that starts from nothing."""
    return (await accept.accept(rig.house.counter, caller, MODEL, {"prompt": f"a torii gate, {number}"})).job.id


async def not_sent(rig: Rig, job_ids: list[str]) -> set[str]:
    """Those of them that the upstream was not asked for yet."""
    rows = await crowd.rows(rig, tables.jobs)
    return {row.id for row in rows if row.id in job_ids and row.state in (State.QUEUED, State.SUBMITTING)}


@pytest.mark.parametrize("workers", [1, 2])
async def test_one_teams_uploads_keep_nobody_from_being_sent(
    studio: Studio, emulator: EmulatorProcess, wire: Wire, start_worker: Callable[..., Process], workers: int
) -> None:
    """While S3 hangs, other jobs are sent as ever; those with uploads go when it answers, each by one paid POST."""
    rig, other, upload = studio.rig, await studio.other(), await studio.bring()
    emulator.switch(time_scale=0.01)
    waiting = [(await studio.order(upload.id, prompt=f"in snow, {number}")).job.id for number in range(UPLOAD_JOBS)]
    wire.behave(stalled=True)
    for number in range(workers):
        start_worker(f"worker{number}", AWS_ENDPOINT_URL=f"http://{wire.address}")
    await wait.until(lambda: wire.connections, timeout_s=10.0, what="somebody asks S3")
    others: list[str] = []
    for turn in range(TURNS):
        jobs = [await ordinary(rig, other, number) for number in range(ORDINARY_JOBS)]

        async def all_sent(jobs: list[str] = jobs) -> bool:
            return not await not_sent(rig, jobs)

        await wait.until(all_sent, timeout_s=SOON_S, what=f"other jobs are sent, turn {turn}")
        others += jobs
    assert await not_sent(rig, waiting) == set(waiting)
    wire.heal()
    assert set(await rig.ended(*waiting, *others, within_s=60.0)) == {State.COMPLETED}
    for job_id in waiting:
        assert await rig.outcomes(job_id) == [Outcome.ACCEPTED]
    totals = emulator.books()["totals"]
    assert totals["submitsReceived"] == totals["submitsAccepted"] == UPLOAD_JOBS + TURNS * ORDINARY_JOBS
