"""The service as a process: how it starts, what it writes, how it ends."""

import asyncio
import json
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.storage import database, repeat_tables, schema, tables
from tests.api.door import ADMIN_TOKEN, GOOD, SECRET_KEY, Door, environment
from tests.support import ports, wait
from tests.support.process import Process, StartProcess

SERVE = (sys.executable, "-m", "service")
RUN = "/api/v1/models/flux-2-max/run"
PROMPT = "a very private wish"


@pytest.fixture
async def environ(sqlite_url: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    """Give what the service needs to be told, with a database that is migrated."""
    opened = database.open(sqlite_url)
    await schema.migrate(opened)
    await opened.close()
    return environment(sqlite_url, redis_url, str(tmp_path / "archive"), ports.free_one())


def served(start_process: StartProcess, environ: dict[str, str]) -> tuple[Process, httpx.Client]:
    """Start the service and wait until it is ready."""
    base_url = f"http://127.0.0.1:{environ['TORII_PORT']}"
    process = start_process(SERVE, environ, name="service").wait_ready(f"{base_url}/health/ready")
    return process, httpx.Client(base_url=base_url, trust_env=False)


MISTAKES: list[tuple[dict[str, str], str]] = [
    ({"TORII_SECRET_KEY": ""}, "TORII_SECRET_KEY"),
    ({"TORII_REDIS_URL": "http://nowhere"}, "TORII_REDIS_URL"),
    ({"TORII_PORT": "99999"}, "TORII_PORT"),
    ({"TORII_HOST": "192.0.2.1", "TORII_PUBLIC_URL": "http://torii.test"}, "TORII_HOST"),
    ({"TORII_CATALOGUE": "nowhere.toml"}, "TORII_CATALOGUE"),
    ({"TORII_TRUSTED_PROXIES": "nginx"}, "TORII_TRUSTED_PROXIES"),
    ({"TORII_CORS_ORIGINS": "https://app.example.com/"}, "TORII_CORS_ORIGINS"),
    ({"TORII_IMAGE_DELIVERY": "redirect"}, "TORII_IMAGE_DELIVERY"),
    ({"TORII_DATABASE_URL": "sqlite+aiosqlite:///empty.db"}, "TORII_DATABASE_URL"),
    ({"TORII_DATABASE_URL": "postgresql+asyncpg://torii:hunter2secret@127.0.0.1:1/torii"}, "TORII_DATABASE_URL"),
]


@pytest.mark.parametrize(("wrong", "named"), MISTAKES, ids=[named for _, named in MISTAKES])
async def test_a_mistake_in_the_settings_is_one_line(
    start_process: StartProcess, environ: dict[str, str], wrong: dict[str, str], named: str
) -> None:
    """A start that cannot succeed ends with status 2 and one line that names the setting."""
    process = start_process(SERVE, {**environ, **wrong})
    assert process.wait_end(20) == 2
    assert process.output().count("\n") == 1, process.output()
    assert process.output().startswith(named)
    assert "hunter2secret" not in process.output()
    assert SECRET_KEY not in process.output()


async def test_a_port_that_is_taken_is_one_line(start_process: StartProcess, environ: dict[str, str]) -> None:
    """A second service on the same port ends with one line that names TORII_PORT; the first serves on."""
    first, client = served(start_process, environ)
    second = start_process(SERVE, environ, name="second")
    assert second.wait_end(20) == 2
    assert second.output().startswith(f"TORII_PORT: cannot listen on 127.0.0.1 port {environ['TORII_PORT']}")
    assert second.output().count("\n") == 1
    with client:
        assert client.get("/health/live").status_code == 200
    first.kill()


async def test_sigterm_gives_notice_and_then_ends(start_process: StartProcess, environ: dict[str, str]) -> None:
    """After SIGTERM the process is not ready at once, serves on for 5 s, and ends with status 0."""
    process, client = served(start_process, environ)
    with client:
        began = time.monotonic()
        process.signal(signal.SIGTERM)
        statuses = []
        while time.monotonic() - began < 3:
            statuses.append(client.get("/health/ready").status_code)
            assert client.get("/health/live").status_code == 200
        assert statuses[-1] == 503
    assert process.wait_end(10) == 0
    assert 5 <= time.monotonic() - began < 10
    assert "Traceback" not in process.output()


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(
    start_process: StartProcess, environ: dict[str, str], first: signal.Signals
) -> None:
    """A person who asks twice does not wait; one SIGINT waits for no load balancer either."""
    process, client = served(start_process, environ)
    client.close()
    began = time.monotonic()
    process.signal(first)
    if first == signal.SIGTERM:
        process.wait_ready("draining")
        process.signal(signal.SIGTERM)
    assert process.wait_end(4) == 0
    assert time.monotonic() - began < 4
    assert "Traceback" not in process.output()


async def test_a_request_under_way_is_finished(start_process: StartProcess, environ: dict[str, str]) -> None:
    """A request whose body is still coming when the process is told to end gets its answer, and its job exists."""
    minting = Door(environ)
    authorization = (await minting.caller())["Authorization"]
    process, client = served(start_process, environ)
    client.close()
    reader, writer = await asyncio.open_connection(ports.LOOPBACK, int(environ["TORII_PORT"]))
    body = json.dumps(GOOD).encode()
    lines = (
        "POST /api/v1/models/flux-2-max/run HTTP/1.1",
        "Host: torii",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"Authorization: {authorization}",
        "",
        "",
    )
    writer.write("\r\n".join(lines).encode() + body[:5])
    await writer.drain()
    process.signal(signal.SIGINT)
    await wait.until(lambda: "Shutting down" in process.output(), timeout_s=5, what="the service no longer listens")
    writer.write(body[5:])
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 202 ")
    assert process.wait_end() == 0
    assert len(await minting.rows(tables.jobs)) == 1
    await minting.client.aclose()
    await minting.database.close()


async def test_waits_and_streams_end_in_order(start_process: StartProcess, environ: dict[str, str]) -> None:
    """After SIGTERM and its notice a wait is a 202, a stream ends, `/v1` is a 503; all within 30 s, no job moved."""
    minting = Door(environ)
    headers = await minting.caller()
    process, client = served(start_process, environ)
    client.close()
    async with httpx.AsyncClient(base_url=minting.base_url, trust_env=False, timeout=60) as asker:
        job_id = (await asker.post(RUN, headers=headers, json=GOOD)).json()["jobId"]
        began = time.monotonic()
        waits = asyncio.create_task(asker.post(RUN, headers={**headers, "Prefer": "wait=100"}, json=GOOD))
        streams = asyncio.create_task(asker.get(f"/api/v1/jobs/{job_id}/events", headers=headers))
        openai = asyncio.create_task(
            asker.post("/v1/images/generations", headers=headers, json={"model": "flux-2-max", "prompt": "a gate"})
        )

        async def all_ordered() -> bool:
            return len(await minting.rows(tables.jobs)) == 3

        await wait.until(all_ordered, timeout_s=20, what="all three jobs")
        process.signal(signal.SIGTERM)
        waited, streamed, refused = await asyncio.gather(waits, streams, openai)
    assert (waited.status_code, waited.json()["state"]) == (202, "queued")
    assert streamed.text.count("event: state") == 1
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
    assert refused.headers["Retry-After"] == "1"
    assert process.wait_end(25) == 0
    assert 5 <= time.monotonic() - began < 30
    assert "Traceback" not in process.output()
    assert {row["state"] for row in await minting.rows(tables.jobs)} == {"queued"}
    # The repeat of the refused request, at another process, is for the same job.
    assert [row["holder"] for row in await minting.rows(repeat_tables.unanswered)] == [None]
    await minting.client.aclose()
    await minting.database.close()


async def test_nothing_secret_reaches_the_log(start_process: StartProcess, environ: dict[str, str]) -> None:
    """Keys, tokens, signatures and prompts reach neither the log nor an answer, whatever was sent where."""
    token = "metrics-" + "m" * 32
    environ = {**environ, "TORII_METRICS_TOKEN": token}
    minting = Door(environ)
    headers = await minting.caller()
    await minting.client.aclose()
    await minting.database.close()
    key = headers["Authorization"].removeprefix("Bearer ")
    process, client = served(start_process, environ)
    with client:
        run = "/api/v1/models/flux-2-max/run"
        answers: list[httpx.Response] = [
            client.post(run, headers=headers, json={**GOOD, "prompt": PROMPT}),
            client.post(run, headers=headers, json={**GOOD, "prompt": PROMPT, "seed": "x"}),
            client.post(
                run,
                headers=headers,
                content=f'{{"prompt": "{PROMPT}"',
            ),
            client.post(run, params={"key": key}, json=GOOD),
            client.get(f"/api/v1/jobs/{key}", headers=headers),
            client.get(f"/{key}"),
            client.get("/images/img_1.png", params={"exp": "1", "sig": "SIGNATURE-OF-SOMEONE"}),
            client.get("/metrics", headers={"Authorization": f"Bearer {token}"}),
            client.get("/metrics", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}),
            client.get("/health/live", headers={"X-Request-ID": key, "User-Agent": key}),
        ]
    shown: list[Any] = [answer.text for answer in answers]
    process.signal(signal.SIGINT)
    assert process.wait_end() == 0
    log = process.output()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    told = [line for line in lines if line["event"] == "request"]
    assert len(told) >= 6
    assert any(re.fullmatch(r"job_\w+", line.get("job_id", "")) for line in told)
    for secret in (key[18:], SECRET_KEY, ADMIN_TOKEN, token, "SIGNATURE-OF-SOMEONE", PROMPT):
        assert secret not in log
    for secret in (key[18:], SECRET_KEY, ADMIN_TOKEN, token):
        assert not any(secret in text for text in shown)
