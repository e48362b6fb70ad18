"""Five hundred callers, two service processes, one budget for fifty."""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable

import httpx

from gateway.ledger import budgets, proof
from gateway.ledger.budgets import Budget, Window
from gateway.storage import tables
from tests.support import ports
from tests.support.emulator import EmulatorProcess
from tests.support.process import Process, StartProcess
from tests.support.rig import MODEL, Rig

CREDIT = 1_000_000
CALLERS = 500


async def test_exactly_fifty_of_five_hundred_are_accepted(
    rig: Rig,
    emulator: EmulatorProcess,
    environ: dict[str, str],
    start_process: StartProcess,
    start_worker: Callable[..., Process],
) -> None:
    """Whichever process they ask, fifty callers are accepted, 450 are told 402, and the upstream's books say 100."""
    async with rig.house.database.write() as tx:
        await budgets.put(tx, Budget(rig.caller.team_id, "", Window.TOTAL, 100 * CREDIT))
        # The budget is what is tried here, not the pace.
        await tx.execute(tables.teams.update().values(rpm=10 * CALLERS))
    doors = []
    for number, port in enumerate(ports.free(2)):
        more = {**environ, "TORII_PORT": str(port)}
        start_process([sys.executable, "-m", "service"], more, name=f"serve-{number}").wait_ready(
            f"http://127.0.0.1:{port}/health/ready"
        )
        doors.append(f"http://127.0.0.1:{port}/api/v1/models/{MODEL}/run")
    start_worker(TORII_UPSTREAM_CONCURRENCY="50")
    limits = httpx.Limits(max_connections=100)
    headers = {"Authorization": f"Bearer {rig.key_text}"}
    async with httpx.AsyncClient(limits=limits, timeout=60, headers=headers) as client:

        async def call(number: int) -> tuple[int, str]:
            for attempt in range(10):
                answer = await client.post(
                    doors[(number + attempt) % 2], json={"prompt": "a torii gate", "seed": number}
                )
                if answer.status_code != 503:
                    break
                # A crowd may wait too long for a lock; that is told, created nothing, and is asked again.
                assert "Retry-After" in answer.headers
            body = answer.json()
            return answer.status_code, body.get("jobId") or body["error"]["code"]

        answers = await asyncio.gather(*(call(number) for number in range(CALLERS)))
    assert Counter(status for status, _ in answers) == {202: 50, 402: CALLERS - 50}
    assert {said for status, said in answers if status == 402} == {"budget_exhausted"}
    await rig.ended(*(said for status, said in answers if status == 202), within_s=60)
    totals = emulator.books(jobs=False)["totals"]
    assert (totals["submitsReceived"], totals["debited"]) == (50, 100)
    assert await rig.balance() == (0, 100 * CREDIT)
    async with rig.house.database.read() as connection:
        assert await proof.differences(connection) == []
