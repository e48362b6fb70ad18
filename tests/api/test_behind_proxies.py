"""The front door behind proxies: whom it takes a request for, in what it slows, what it tells, and what it logs."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from gateway.storage import database, schema
from gateway.tenancy import keytext
from tests.api.door import SECRET_KEY, Door, environment
from tests.support import ports, wait
from tests.support.process import StartProcess

PROXY = "127.0.0.1"
STRANGER = "127.0.0.2"
WATCHED = ("/metrics", "/metrics/books", "/health/paid")
#: Beyond the free ones each wrong key waits 0.1 s longer than the one before.
MANY = 30
SLOWED_S = 0.9

Peer = Callable[[str], httpx.AsyncClient]


@pytest.fixture
async def behind(sqlite_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Door]:
    """Give a front door that believes one address of this machine and no other."""
    environ = environment(sqlite_url, redis_url, str(tmp_path / "archive"), ports.free_one())
    async with Door({**environ, "TORII_TRUSTED_PROXIES": PROXY}) as door:
        yield door


@pytest.fixture
async def peer(behind: Door) -> AsyncIterator[Peer]:
    """Give clients that come from an address of the test's choice."""
    opened: list[httpx.AsyncClient] = []

    def come(address: str) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(local_address=address)
        opened.append(httpx.AsyncClient(base_url=behind.base_url, transport=transport, timeout=30))
        return opened[-1]

    yield come
    for client in opened:
        await client.aclose()


async def guess(client: httpx.AsyncClient, said: dict[str, str]) -> float:
    """Show a wrong key; how long the answer took, in seconds."""
    headers = {**said, "Authorization": f"Bearer {keytext.mint().reveal()}"}
    answer = await client.get("/api/v1/account", headers=headers)
    assert answer.status_code == 401
    return answer.elapsed.total_seconds()


async def slowed(client: httpx.AsyncClient, said: dict[str, str]) -> bool:
    """Whether a wrong key has to wait there: each of a few does, or none has to, however busy the machine is."""
    return min([await guess(client, said) for _ in range(4)]) >= SLOWED_S


async def crowd(client: httpx.AsyncClient, said: dict[str, str]) -> None:
    """Show more wrong keys than are free."""
    await asyncio.gather(*(guess(client, said) for _ in range(MANY)))


@pytest.mark.parametrize("header", ["X-Forwarded-For: {}", "Forwarded: for={}"])
async def test_who_guesses_is_slowed_by_his_own_address(behind: Door, peer: Peer, header: str) -> None:
    """A listed proxy's caller is slowed, whatever he put before the proxy's word, and its other callers are not."""
    del behind
    name, _, value = header.partition(": ")
    client = peer(PROXY)
    await crowd(client, {name: value.format("192.0.2.1")})
    made_up = value.format("198.51.100.77") + ", " + value.format("192.0.2.1")
    assert await slowed(client, {name: made_up})
    assert not await slowed(client, {name: value.format("192.0.2.2")})
    assert not await slowed(client, {})


async def test_a_stranger_is_not_believed(behind: Door, peer: Peer) -> None:
    """From an address that is not listed no header counts: who changes it with each guess is slowed all the same."""
    del behind
    client = peer(STRANGER)
    await asyncio.gather(*(guess(client, {"X-Forwarded-For": f"192.0.2.{number}"}) for number in range(MANY)))
    assert await slowed(client, {"X-Forwarded-For": "198.51.100.1"})
    assert not await slowed(peer(PROXY), {"X-Forwarded-For": "198.51.100.1"})


async def test_what_cannot_be_read_counts_for_the_proxy(behind: Door, peer: Peer) -> None:
    """A listed proxy's header that names no address is passed over, and the proxy is the one who asks."""
    del behind
    client = peer(PROXY)
    await crowd(client, {"X-Forwarded-For": "unknown"})
    assert await slowed(client, {"X-Forwarded-For": "192.0.2.1, nonsense"})
    assert await slowed(client, {})


@pytest.mark.parametrize("path", WATCHED)
async def test_no_proxy_makes_anybody_local(behind: Door, peer: Peer, path: str) -> None:
    """Only who comes to us directly from this machine reads what is for this machine; a listed proxy never does."""
    del behind
    assert (await peer(STRANGER).get(path)).status_code in {200, 503}
    for said in ("127.0.0.1", "127.0.0.2", "192.0.2.1", "nonsense"):
        for client in (peer(PROXY), peer(STRANGER)):
            for headers in ({"X-Forwarded-For": said}, {"Forwarded": f"for={said}"}, {"X-Forwarded-Proto": "https"}):
                assert (await client.get(path, headers=headers)).status_code == 403
    # A proxy that says nothing hands on everybody's requests.
    assert (await peer(PROXY).get(path)).status_code == 403


async def test_the_log_tells_who_asked(
    start_process: StartProcess, sqlite_url: str, redis_url: str, tmp_path: Path
) -> None:
    """A request's line has the address of who asked behind a listed proxy, and no text that was made up."""
    opened = database.open(sqlite_url)
    await schema.migrate(opened)
    await opened.close()
    environ = environment(sqlite_url, redis_url, str(tmp_path / "archive"), ports.free_one())
    environ["TORII_TRUSTED_PROXIES"] = f"192.0.2.0/24,{PROXY}"
    base_url = f"http://127.0.0.1:{environ['TORII_PORT']}"
    process = start_process((sys.executable, "-m", "service"), environ).wait_ready(f"{base_url}/health/ready")
    heads = [
        ("first", {"X-Forwarded-For": "made up\tand more, 2001:DB8::7, 192.0.2.9"}, "2001:db8::7"),
        ("second", {"X-Forwarded-For": "198.51.100.1, made-up"}, PROXY),
        ("third", {"Forwarded": 'for="198.51.100.2:4711";proto=https'}, "198.51.100.2"),
        ("fourth", {}, PROXY),
    ]
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as client:
        for name, headers, _ in heads:
            assert (await client.get("/", headers={**headers, "X-Request-ID": name})).status_code == 200
    await wait.until(lambda: '"fourth"' in process.output(), timeout_s=5, what="the last request is logged")
    lines = [json.loads(line) for line in process.output().splitlines() if line.startswith("{")]
    told = {line["request_id"]: line["client"] for line in lines if line["event"] == "request"}
    assert {name: told[name] for name, _, _ in heads} == {name: client for name, _, client in heads}
    assert "made" not in process.output()
    assert SECRET_KEY not in process.output()


async def test_without_the_setting_nobody_is_believed(door: Door) -> None:
    """Without listed proxies a header changes nothing of who is slowed."""
    await asyncio.gather(*(guess(door.client, {"X-Forwarded-For": f"192.0.2.{number}"}) for number in range(MANY)))
    assert await slowed(door.client, {"X-Forwarded-For": "198.51.100.1"})
