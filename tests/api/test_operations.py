"""What operators and their machines see: health, metrics, request ids, and headers on every answer."""

import asyncio
import re
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from gateway import clock
from gateway.jobs import liveness
from gateway.storage import schema, tables
from tests.api.door import Door, environment
from tests.support import ports
from tests.support.valkey import Valkey

METRICS_TOKEN = "metrics-" + "m" * 32
WATCHED = ("/metrics", "/metrics/books", "/health/paid")


async def test_a_process_that_answers_is_live_and_ready(any_door: Door, valkey: Valkey) -> None:
    """Live and ready are 200 as long as the process takes requests, whatever became of Redis."""
    valkey.stop()
    for path, word in (("/health/live", "live"), ("/health/ready", "ready")):
        answer = await any_door.client.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": word})
        assert (await any_door.client.head(path)).status_code == 200


async def test_a_wrong_schema_is_not_ready(any_door: Door) -> None:
    """A schema two releases ahead makes the process not ready and not able to accept, until it is mended."""
    for release, ready in ((schema.RELEASE + 2, 503), (schema.RELEASE + 1, 200)):
        async with any_door.database.write() as tx:
            await tx.execute(tables.schema_info.update().values(release=release))
        assert (await any_door.client.get("/health/ready")).status_code == ready
        assert (await any_door.client.get("/health/paid")).status_code == ready


async def test_paid_tells_part_by_part(any_door: Door, valkey: Valkey) -> None:
    """With every part well it is `ok`; a part that is away makes it `degraded`, and jobs are still accepted."""
    await liveness.register(any_door.database, "wrk_1", "test", clock.SystemClock())
    body = (await any_door.client.get("/health/paid")).json()
    assert body["status"] == "ok", body
    assert body["parts"].keys() == {"database", "schema", "archive", "queue", "upstream", "workers", "process"}
    valkey.stop()
    async with any_door.database.write() as tx:
        await tx.execute(tables.workers.delete())
        until = datetime.now(UTC) + timedelta(minutes=5)
        await tx.execute(tables.upstream_account.update().values(paused_until=until, pause_reason="no_credits"))
    answer = await any_door.client.get("/health/paid")
    assert (answer.status_code, answer.json()["status"], answer.json()["accepting"]) == (200, "degraded", True)
    unwell = {name for name, part in answer.json()["parts"].items() if not part["ok"]}
    assert unwell == {"queue", "upstream", "workers"}


async def test_a_missing_archive_degrades(door: Door) -> None:
    """Without the archive jobs are accepted and wait: `degraded`, named by part."""
    await asyncio.to_thread(Path(door.settings.archive_url, ".torii-archive").unlink)
    body = (await door.client.get("/health/paid")).json()
    assert (body["accepting"], body["parts"]["archive"]) == (True, {"ok": False, "detail": "archive_unavailable"})


async def test_without_a_token_this_machine_alone_reads_metrics(door: Door) -> None:
    """Without TORII_METRICS_TOKEN a loopback peer is answered, and one that came through a proxy is refused."""
    for path in WATCHED:
        assert (await door.client.get(path)).status_code in {200, 503}
        for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
            refused = await door.client.get(path, headers={header: "127.0.0.1"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_allowed")


async def test_with_a_token_its_holder_alone_reads_metrics(sqlite_url: str, redis_url: str, tmp_path: Path) -> None:
    """With TORII_METRICS_TOKEN set, loopback is not enough, no team's key will do, and the token works."""
    environ = environment(sqlite_url, redis_url, str(tmp_path / "archive"), ports.free_one())
    async with Door({**environ, "TORII_METRICS_TOKEN": METRICS_TOKEN}) as door:
        for path in WATCHED:
            for headers in ({}, await door.caller(uuid.uuid4().hex), {"Authorization": f"Basic {METRICS_TOKEN}"}):
                refused = await door.client.get(path, headers=headers)
                assert refused.status_code == 401
                assert refused.headers["WWW-Authenticate"] == "Bearer"
            assert (await door.client.get(path, params={"token": METRICS_TOKEN})).status_code == 401
            good = await door.client.get(path, headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
            assert good.status_code == 200


async def test_random_paths_and_keys_add_no_series(door: Door) -> None:
    """A thousand random paths, methods and keys leave the number of series as it was after the first few."""

    async def stray(number: int) -> None:
        junk = uuid.uuid4().hex
        method = ("GET", "POST", "PUT", "TRACE")[number % 4]
        path = (f"/{junk}", f"/api/v1/jobs/{junk}", f"/api/v1/models/{junk}", f"/images/{junk}.png")[number // 4 % 4]
        await door.client.request(method, path, headers={"Authorization": f"Bearer {junk}", "X-Request-ID": junk})

    async def series() -> int:
        text = (await door.client.get("/metrics")).text
        assert "torii_build_info" in text
        return len([line for line in text.splitlines() if not line.startswith("#")])

    for number in range(16):
        await stray(number)
    await series()
    before = await series()
    for start in range(0, 1000, 50):
        await asyncio.gather(*(stray(number) for number in range(start, start + 50)))
    assert await series() == before


async def test_requests_are_timed_by_route_template(door: Door) -> None:
    """The histogram counts by template, method and status: no id and no raw path in a label."""
    headers = await door.caller()
    job_id = (await door.run(headers)).json()["jobId"]
    await door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)
    text = (await door.client.get("/metrics")).text
    name = "torii_http_request_duration_seconds_count"
    assert f'{name}{{method="POST",route="/api/v1/models/{{apiId}}/run",status="202"}} 1.0' in text
    assert f'{name}{{method="GET",route="/api/v1/jobs/{{jobId}}",status="200"}} 1.0' in text
    assert job_id not in text


async def test_the_books_show_what_is_held(any_door: Door) -> None:
    """After an order `/metrics/books` shows its hold and its state, read from SQL."""
    await any_door.run(await any_door.caller())
    answer = await any_door.client.get("/metrics/books")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert re.search(r'torii_credits_held\{team="team_\w+",window="total"\} 2\.0', answer.text)
    assert 'torii_jobs_in_state{state="queued"} 1.0' in answer.text


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-1_2.3", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("a/b", False), ("é", False)],
)
async def test_a_sane_request_id_is_kept(door: Door, given: str, kept: bool) -> None:
    """A request id of plain characters comes back, any other is replaced by one of ours, and each answer has one."""
    answer = await door.client.get("/health/live", headers=httpx.Headers({"X-Request-ID": given}, encoding="utf-8"))
    shown = answer.headers["X-Request-ID"]
    assert (shown == given) is kept
    assert kept or shown.startswith("req_")


async def test_every_answer_has_safe_headers(door: Door) -> None:
    """Every answer forbids sniffing, none says which server it is, and API answers are not stored."""
    for path in ("/", "/schema", "/nowhere", "/api/v1/models", "/health/live", "/metrics"):
        answer = await door.client.get(path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Server" not in answer.headers
        assert answer.headers["Cache-Control"] == ("no-cache" if path == "/schema" else "no-store")


async def test_the_schema_page_needs_no_other_host(door: Door) -> None:
    """The page lists every operation, runs no script, loads nothing, and its policy forbids both."""
    page = await door.client.get("/schema")
    document = (await door.client.get("/schema/openapi.json")).json()
    assert page.headers["Content-Type"].startswith("text/html")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert not re.search(r"<script|<link|<img|@import|src=|url\(", page.text)
    assert re.findall(r'href="(?!#)([^"]+)"', page.text) == ["/schema/openapi.json"]
    for methods in document["paths"].values():
        for operation in methods.values():
            assert f'id="{operation["operationId"]}"' in page.text


async def test_a_slow_body_is_given_up(door: Door) -> None:
    """A body that does not arrive within 10 s is a 408, and its connection is closed."""
    headers = await door.caller()
    reader, writer = await asyncio.open_connection(ports.LOOPBACK, door.port)
    lines = (
        "POST /api/v1/models/flux-2-max/run HTTP/1.1",
        "Host: torii",
        "Content-Type: application/json",
        "Content-Length: 100",
        f"Authorization: {headers['Authorization']}",
    )
    writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode() + b'{"prompt"')
    answer = await asyncio.wait_for(reader.read(), 15)
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"body_too_slow"' in answer
    assert b"connection: close" in answer.lower()


async def test_a_declared_length_is_enough_to_refuse(door: Door) -> None:
    """A body that declares a gigabyte is refused before a byte of it is sent."""
    headers = await door.caller()
    reader, writer = await asyncio.open_connection(ports.LOOPBACK, door.port)
    lines = (
        "POST /api/v1/models/flux-2-max/run HTTP/1.1",
        "Host: torii",
        "Content-Type: application/json",
        "Content-Length: 1000000000",
        "Expect: 100-continue",
        f"Authorization: {headers['Authorization']}",
    )
    writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)
    writer.close()
    await writer.wait_closed()
    assert answer == b"HTTP/1.1 413 Request Entity Too Large\r\n"


async def test_a_draining_process_says_so(door: Door) -> None:
    """A process told to end is not ready from that moment, and still serves what reaches it."""
    readiness = door.readiness
    readiness.drain()
    ready = await door.client.get("/health/ready")
    assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
    assert (await door.client.get("/health/live")).status_code == 200
    assert (await door.client.get("/health/paid")).status_code == 503
    assert (await door.run(await door.caller())).status_code == 202
