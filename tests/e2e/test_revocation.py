"""Keys over two service processes: what one of them is told about a key, the other heeds within a second."""

import time
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.support import ports, wait
from tests.support import rig as rigs
from tests.support.emulator import EmulatorProcess
from tests.support.process import StartProcess
from tests.support.rig import MODEL

ADMIN = {"Authorization": "Bearer an-admin-token-of-the-tests-with-thirty-two-characters"}
GRACE_S = 10
BODY = {"prompt": "a torii gate"}


def shown(text: str) -> dict[str, str]:
    """The header that shows a key."""
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
async def doors(
    emulator: EmulatorProcess, postgres_url: str, redis_url: str, tmp_path: Path, start_process: StartProcess
) -> list[str]:
    """Start two `torii serve` on one PostgreSQL; their addresses."""
    environ = rigs.environment(emulator, postgres_url, redis_url, tmp_path)
    migrated = start_process([str(rigs.TORII), "migrate"], environ, name="migrate")
    assert migrated.wait_end(60) == 0, migrated.output
    addresses = []
    for number, port in enumerate(ports.free(2)):
        more = {**environ, "TORII_PORT": str(port)}
        address = f"http://127.0.0.1:{port}"
        start_process([str(rigs.TORII), "serve"], more, name=f"serve-{number}").wait_ready(f"{address}/health/ready")
        addresses.append(address)
    return addresses


async def made(client: httpx.AsyncClient, door: str) -> tuple[str, str]:
    """Make a team with a key by the admin surface; the key's id and text."""
    assert (await client.post(f"{door}/admin/v1/teams", headers=ADMIN, json={"name": "drawing"})).status_code == 201
    answer = await client.post(f"{door}/admin/v1/teams/drawing/keys", headers=ADMIN, json={"name": "ci"})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"], answer.json()["key"]


async def status(client: httpx.AsyncClient, door: str, text: str) -> int:
    """What an order with that key is answered at that door."""
    return (await client.post(f"{door}/api/v1/models/{MODEL}/run", headers=shown(text), json=BODY)).status_code


async def test_a_revoked_key_is_refused_by_another_process_within_a_second(doors: list[str]) -> None:
    """Revoked at one process, a key that the other has just taken is refused there within 1 s, and stays refused."""
    first, second = doors
    async with httpx.AsyncClient(timeout=30) as client:
        key_id, text = await made(client, first)
        for door in doors:
            assert await status(client, door, text) == 202
        # The other process remembers the key as good as late as possible.
        assert (await client.get(f"{second}/api/v1/account", headers=shown(text))).status_code == 200
        assert (await client.post(f"{first}/admin/v1/keys/{key_id}/revoke", headers=ADMIN)).status_code == 200
        answered_s = time.monotonic()

        async def refused(door: str) -> bool:
            # What was asked before the second was over may be answered after it.
            asked_s = time.monotonic()
            found = (await client.get(f"{door}/api/v1/account", headers=shown(text))).status_code
            assert found in (200, 401)
            assert found == 401 or asked_s - answered_s < 1.0
            return found == 401

        # Each forgets by itself, the one at which the key was revoked too.
        for door in (second, first):
            await wait.until(partial(refused, door), timeout_s=10, what=f"{door} refuses the key", every_s=0.01)
        for door in doors:
            assert await status(client, door, text) == 401


async def test_a_rotated_key_works_at_both_until_its_grace_is_over(doors: list[str]) -> None:
    """In the grace both texts order at both processes, which see one budget; after it only the successor's does."""
    first, second = doors
    async with httpx.AsyncClient(timeout=30) as client:
        key_id, old = await made(client, first)
        budget = {"limit": 10}
        put = f"{first}/admin/v1/teams/drawing/budgets/total"
        assert (await client.put(put, params={"key": key_id}, headers=ADMIN, json=budget)).status_code == 200
        rotated = await client.post(f"{first}/admin/v1/keys/{key_id}/rotate", headers=ADMIN, json={"graceS": GRACE_S})
        answered_s = time.monotonic()
        assert rotated.status_code == 201
        new = rotated.json()["key"]
        orders = [await status(client, door, text) for text in (old, new) for door in (second, first)]
        assert orders == [202, 202, 202, 202]

        async def over() -> bool:
            found = (await client.get(f"{second}/api/v1/account", headers=shown(old))).status_code
            assert found == 200 or time.monotonic() - answered_s > GRACE_S - 1
            return found == 401

        await wait.until(over, timeout_s=GRACE_S + 20, what="the grace is over", every_s=0.05)
        assert [await status(client, door, old) for door in doors] == [401, 401]
        # Four orders of 2 credits left 2: the successor has them, wherever it asks, and no more.
        answers = [await status(client, door, new) for door in (second, first)]
        assert answers == [202, 402]
