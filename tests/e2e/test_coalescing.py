"""A thousand callers, two service processes, one request: one submit, one charge, and the same picture for everyone."""

import asyncio
import contextlib
import hashlib
import sys
from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from gateway.jobs import sweep
from gateway.ledger import proof
from gateway.storage import reuse_tables, tables
from tests.support import crowd, ports, wait
from tests.support.emulator import EmulatorProcess
from tests.support.process import Process, StartProcess
from tests.support.rig import MODEL, Rig

CREDIT = 1_000_000
CALLERS = 1_000
CLIENTS = 20
WIDE = httpx.Limits(max_connections=CALLERS // CLIENTS)


def serve(start_process: StartProcess, environ: dict[str, str], number: int) -> tuple[Process, str]:
    """A front door in a process of its own, and its address."""
    port = ports.free_one()
    process = start_process(
        [sys.executable, "-m", "service"], {**environ, "TORII_PORT": str(port)}, name=f"serve-{number}"
    )
    url = f"http://127.0.0.1:{port}"
    process.wait_ready(f"{url}/health/ready")
    return process, url


@pytest.mark.timeout(300)
async def test_a_thousand_identical_calls_are_one_submit(
    rig: Rig,
    emulator: EmulatorProcess,
    environ: dict[str, str],
    start_process: StartProcess,
    start_worker: Callable[..., Process],
) -> None:
    """Whichever process they ask: one POST upstream, one charge in both books, a job and the same bytes for each."""
    doors = [serve(start_process, environ, number)[1] for number in range(2)]
    emulator.switch(duration_s=500)
    start_worker()
    headers = {"Authorization": f"Bearer {rig.key_text}"}
    async with contextlib.AsyncExitStack() as stack:
        # Several, since what one client does for each answer grows with what it has waiting.
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(timeout=100, headers=headers, limits=WIDE))
            for _ in range(CLIENTS)
        ]

        async def call(number: int) -> httpx.Response:
            for attempt in range(20):
                door = doors[(number + attempt) % 2]
                answer = await clients[number % CLIENTS].post(f"{door}/api/v1/models/{MODEL}/run", json=crowd.BODY)
                if answer.status_code != 503:
                    break
            return answer

        answers = await asyncio.gather(*(call(number) for number in range(CALLERS)))
        assert set(Counter(answer.status_code for answer in answers)) <= {200, 202}
        told = Counter(answer.headers["Cache-Status"] for answer in answers)
        assert told["torii; fwd=miss"] == 1, told
        assert sum(told.values()) == CALLERS
        job_ids = sorted({answer.json()["jobId"] for answer in answers})
        # A hit shows the first one's job; each other caller has one of its own.
        assert len(job_ids) == CALLERS - told["torii; hit"]
        await rig.ended(job_ids[0], within_s=60)

        async def fetched(number: int) -> tuple[str, str]:
            client = clients[number % CLIENTS]
            job = (await client.get(f"{doors[number % 2]}/api/v1/jobs/{job_ids[number]}")).json()
            assert job["status"] == "completed", job
            data = (await client.get(job["output"]["images"][0])).content
            return job["assets"][0]["sha256"], hashlib.sha256(data).hexdigest()

        seen = await asyncio.gather(*(fetched(number) for number in range(len(job_ids))))
    assert len({sha256 for each in seen for sha256 in each}) == 1
    totals = emulator.books(jobs=False)["totals"]
    assert (totals["submitsReceived"], totals["debited"]) == (1, 2)
    assert await rig.balance() == (0, 2 * CREDIT)
    entry = tables.ledger_entries
    assert Counter(row.kind for row in await crowd.rows(rig, entry)) == {"hold": 1, "charge": 1, "release": 1}
    async with rig.house.database.read() as connection:
        assert await proof.differences(connection) == []
    assert await crowd.open_flights(rig) == []
    assert (await crowd.rows(rig, tables.outcomes))[0].jobs == len(job_ids)


async def test_a_killed_front_door_leaves_followers_that_end(
    rig: Rig, emulator: EmulatorProcess, environ: dict[str, str], start_process: StartProcess
) -> None:
    """Killed while a crowd joins: whatever was committed is a whole job that ends; the same key finds it again."""
    (first, url), (_, second) = serve(start_process, environ, 0), serve(start_process, environ, 1)
    headers = {"Authorization": f"Bearer {rig.key_text}"}
    async with httpx.AsyncClient(timeout=60, headers=headers) as client:
        answers = asyncio.gather(
            *(
                client.post(
                    f"{url}/api/v1/models/{MODEL}/run", json=crowd.BODY, headers={"Idempotency-Key": f"k-{number}"}
                )
                for number in range(60)
            ),
            return_exceptions=True,
        )

        async def some_joined() -> bool:
            return len(await crowd.rows(rig, tables.jobs)) >= 5

        await wait.until(some_joined, timeout_s=30, what="some have joined", every_s=0.005)
        first.kill()
        await answers
        before = {row.id for row in await crowd.rows(rig, tables.jobs)}
        again = [
            await client.post(
                f"{second}/api/v1/models/{MODEL}/run", json=crowd.BODY, headers={"Idempotency-Key": f"k-{number}"}
            )
            for number in range(60)
        ]
    job_ids = {answer.json()["jobId"] for answer in again}
    assert before <= job_ids
    assert len(job_ids) == 60
    (leader,) = [row.id for row in await crowd.rows(rig, tables.jobs) if row.follows is None]
    assert await crowd.open_flights(rig) == [leader]
    await rig.drive(await rig.job(leader))
    await sweep.stranded_flights(rig.shop)
    assert {row.state for row in await crowd.rows(rig, tables.jobs)} == {"completed"}
    assert len(await crowd.rows(rig, reuse_tables.cache_entries)) == 1
    assert emulator.books()["totals"]["submitsReceived"] == 1
    assert await rig.balance() == (0, 2 * CREDIT)
