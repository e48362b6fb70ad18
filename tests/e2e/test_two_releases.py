"""A deploy: the release before and this one side by side on one database, forwards and backwards, losing nothing."""

import itertools
import sys
from pathlib import Path

import httpx
import pytest

from gateway.jobs.states import State
from tests.support import earlier, ports
from tests.support.emulator import EmulatorProcess
from tests.support.process import StartProcess
from tests.support.report import UnavailableError
from tests.support.rig import MODEL, TORII, Rig
from tests.support.tree import ROOT

ORDERS = 12
#: The step that takes time here is starting processes, not the database; PostgreSQL is where deploys happen.
pytestmark = pytest.mark.parametrize(
    "database_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the tree of the last commit before this release's schema, as it was deployed then."""
    try:
        return earlier.unpack(tmp_path_factory.mktemp("before"))
    except UnavailableError as reason:
        pytest.skip(str(reason))


class Deployed:
    """Doors and workers of both releases, started as a deploy would."""

    def __init__(self, rig: Rig, start: StartProcess, environ: dict[str, str], before: Path) -> None:
        self.rig = rig
        self._start = start
        # The code of each comes from its own folder; what it stands on is the same.
        self._of = {"old": {**environ, "PYTHONPATH": str(before)}, "new": {**environ, "PYTHONPATH": str(ROOT)}}
        self.workers = {
            name: start([sys.executable, "-m", "workers"], of, name=f"work-{name}") for name, of in self._of.items()
        }
        self.doors = {name: self._serve(name, port) for name, port in zip(self._of, ports.free(2), strict=True)}
        for worker in self.workers.values():
            worker.wait_ready("worker_ready")

    def _serve(self, name: str, port: int) -> str:
        address = f"http://127.0.0.1:{port}"
        more = {**self._of[name], "TORII_PORT": str(port)}
        self._start([str(TORII), "serve"], more, name=f"serve-{name}").wait_ready(f"{address}/health/ready")
        return address

    async def order(self, client: httpx.AsyncClient, door: str, number: int) -> str:
        """Order at that door, and read the job at both."""
        headers = {"Authorization": f"Bearer {self.rig.key_text}"}
        body = {"prompt": f"a torii gate, the {number}th"}
        answer = await client.post(f"{self.doors[door]}/api/v1/models/{MODEL}/run", headers=headers, json=body)
        assert answer.status_code == 202, answer.text
        job_id = str(answer.json()["jobId"])
        for address in self.doors.values():
            assert (await client.get(f"{address}/api/v1/jobs/{job_id}", headers=headers)).status_code == 200
        return job_id


async def test_two_releases_work_side_by_side(
    rig: Rig, start_process: StartProcess, environ: dict[str, str], before: Path, emulator: EmulatorProcess
) -> None:
    """Orders at both doors are carried out by both workers, then by the new one, then, rolled back, by the old one."""
    deployed = Deployed(rig, start_process, environ, before)
    old, new = deployed.workers["old"], deployed.workers["new"]
    async with httpx.AsyncClient(timeout=30) as client:
        numbers = itertools.count()

        async def orders() -> list[str]:
            taken = itertools.islice(numbers, ORDERS)
            return [await deployed.order(client, ("old", "new")[number % 2], number) for number in taken]

        jobs = await orders()
        assert set(await rig.ended(*jobs)) == {State.COMPLETED}
        # The deploy goes on in the middle of work: the old worker is killed, the new one takes everything up.
        jobs = await orders()
        old.kill()
        states = await rig.ended(*jobs, within_s=60)
        # And back again: the database stays as the new release has made it.
        old.start().wait_ready("worker_ready")
        new.terminate(30)
        jobs = await orders()
        states += await rig.ended(*jobs, within_s=60)
    assert set(states) == {State.COMPLETED}
    held, spent = await rig.balance()
    totals = emulator.books()["totals"]
    assert (held, totals["submitsAccepted"]) == (0, 3 * ORDERS)
    assert spent == 2_000_000 * 3 * ORDERS
