"""Pages of other origins: which may call, what they may read, and that nothing else is opened to them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser

from gateway.storage import tables
from service import cors
from tests.api.door import ADMIN_TOKEN, Door, environment
from tests.support import ports

APP = "https://app.example.com"
OTHER = "http://localhost:5173"
STRANGER = "https://evil.example.com"
RUN = "/api/v1/models/flux-2-max/run"
#: Orders with a key and without one, and tells what a page can read of it.
CALL = """async ([gateway, headers]) => {
  const call = async (headers) => {
    const body = JSON.stringify({prompt: "a torii gate in rain"});
    const answer = await fetch(`${gateway}/api/v1/models/flux-2-max/run`, {method: "POST", headers, body});
    const of = (name) => answer.headers.get(name);
    const told = {request: of("X-Request-ID"), after: of("Retry-After"), pace: of("RateLimit")};
    return {...told, status: answer.status, body: await answer.json()};
  };
  try { return [await call(headers), await call({})]; } catch (error) { return error.name; }
}"""
CLOSED = ("/admin/v1/teams", "/console", "/console/sign-in", "/metrics", "/health/live", "/hooks/upstream/x", "/")


@pytest.fixture
async def open_door(sqlite_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Door]:
    """Give a front door that two origins may call."""
    environ = environment(sqlite_url, redis_url, str(tmp_path / "archive"), ports.free_one())
    async with Door({**environ, "TORII_CORS_ORIGINS": f"{APP},{OTHER}"}) as door:
        yield door


@asynccontextmanager
async def pages() -> AsyncIterator[str]:
    """A server of this test's own that gives the same page to whoever asks; its origin."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<p>a page</p>")
        writer.close()

    async with await asyncio.start_server(answer, ports.LOOPBACK, 0) as server:
        yield f"http://{ports.LOOPBACK}:{server.sockets[0].getsockname()[1]}"


def told(headers: object) -> set[str]:
    """The names of the headers that speak of other origins."""
    return {name for name in dict(headers) if name.startswith("access-control-")}  # type: ignore[call-overload]


def words(text: str) -> set[str]:
    """The elements of a comma list, in lower case."""
    return {word.strip().lower() for word in text.split(",")}


@pytest.mark.parametrize("origin", [APP, OTHER])
@pytest.mark.parametrize(
    ("path", "method"),
    [
        (RUN, "POST"),
        ("/api/v1/jobs/job_1", "GET"),
        ("/api/v1/jobs/job_1", "DELETE"),
        ("/api/v1/jobs/job_1/events", "GET"),
        ("/api/v1/account", "GET"),
        ("/api/v1/batches", "POST"),
        ("/v1/images/generations", "POST"),
        ("/v1/models", "GET"),
        ("/images/img_1.png", "GET"),
        ("/schema/openapi.json", "GET"),
    ],
)
async def test_a_preflight_is_granted(open_door: Door, origin: str, path: str, method: str) -> None:
    """A listed origin is granted the route's own methods and the headers it asks for, without a key, for an hour."""
    names = "authorization,content-type,idempotency-key,prefer,x-stainless-retry-count"
    asking = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": names,
    }
    answer = await open_door.client.options(path, headers=asking)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert method.lower() in words(answer.headers["Access-Control-Allow-Methods"])
    assert words(answer.headers["Access-Control-Allow-Methods"]) == words(answer.headers["Allow"])
    assert words(answer.headers["Access-Control-Allow-Headers"]) == words(names)
    assert answer.headers["Access-Control-Max-Age"] == "3600"
    assert words(answer.headers["Vary"]) >= {"origin", "access-control-request-headers"}
    assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_a_preflight_grants_no_more_than_there_is(open_door: Door) -> None:
    """A route that does not exist is a 404, another method is not granted, and what is no header's name is not."""
    asking = {"Origin": APP, "Access-Control-Request-Method": "PUT"}
    assert (await open_door.client.options("/api/v1/nowhere", headers=asking)).status_code == 404
    granted = await open_door.client.options(RUN, headers=asking)
    assert words(granted.headers["Access-Control-Allow-Methods"]) == {"post", "options"}
    for names in ("a b", "a,,b", "a\tb", "x" * 3000, "ä"):
        asked = httpx.Headers({**asking, "Access-Control-Request-Headers": names}, encoding="utf-8")
        odd = await open_door.client.options(RUN, headers=asked)
        assert odd.status_code == 204
        assert "Access-Control-Allow-Headers" not in odd.headers


@pytest.mark.parametrize("origin", [STRANGER, "null", f"{APP}.evil.com", "http://app.example.com", f"{APP}:8443", ""])
async def test_a_stranger_is_told_nothing(open_door: Door, origin: str) -> None:
    """An origin that is not listed, however like one that is, may neither ask beforehand nor read an answer."""
    asking = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    for answer in (
        await open_door.client.options(RUN, headers=asking),
        await open_door.client.get("/api/v1/models", headers={"Origin": origin}),
    ):
        assert answer.is_success
        assert told(answer.headers) == set()
        assert words(answer.headers["Vary"]) == {"origin"}


async def test_an_answer_may_be_read(open_door: Door) -> None:
    """A listed origin's page reads the answer of an order, with each header that our answers have for callers."""
    headers = {**await open_door.caller(), "Origin": APP}
    answer = await open_door.client.post(
        RUN, headers={**headers, "Idempotency-Key": "k", "Prefer": "wait=0"}, json={"prompt": "a gate", "seed": 1}
    )
    assert answer.status_code == 202
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    assert answer.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    exposed = words(answer.headers["Access-Control-Expose-Headers"])
    assert exposed == words(", ".join(cors.EXPOSED))
    # Those that a page may read anyway (the Fetch standard's list), and those that are for the browser itself.
    known = {"cache-control", "content-length", "content-type", "date", "vary", "referrer-policy"}
    mine = {name for name in answer.headers if not name.startswith("access-control-")}
    assert mine - known - {"x-content-type-options", "connection"} <= exposed
    assert {"retry-after", "ratelimit", "ratelimit-policy", "cache-status", "x-request-id"} <= exposed & mine


async def test_errors_may_be_read_too(open_door: Door) -> None:
    """A refusal has the headers of a success, whoever refused: the rules, the reader, or the framework."""
    headers = {**await open_door.caller(), "Origin": APP, "Content-Type": "application/json"}
    for answer, status in (
        (await open_door.client.post(RUN, headers={"Origin": APP}, json={}), 401),
        (await open_door.client.post(RUN, headers=headers, json={"prompt": ""}), 400),
        (await open_door.client.post(RUN, headers=headers, content=b"{"), 400),
        (await open_door.client.post(RUN, headers=headers, content=b" " * 200_000), 413),
        (await open_door.client.post(RUN, headers={**headers, "Content-Type": "text/plain"}, content=b"{}"), 415),
        (await open_door.client.get("/api/v1/jobs/nobodys", headers=headers), 404),
        (await open_door.client.get("/api/v1/nowhere", headers=headers), 404),
        (await open_door.client.put(RUN, headers=headers), 405),
        (await open_door.client.get("/images/img_1.png", headers=headers), 403),
    ):
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == APP
        assert words(answer.headers["Vary"]) == {"origin"}
        assert "x-request-id" in words(answer.headers["Access-Control-Expose-Headers"])


@pytest.mark.parametrize("path", CLOSED)
async def test_what_is_not_for_callers_is_opened_to_nobody(open_door: Door, path: str) -> None:
    """The console, the admin API, metrics, health and hooks say nothing to other origins, listed or not."""
    headers = {"Origin": APP, "Authorization": f"Bearer {ADMIN_TOKEN}"}
    assert told((await open_door.client.get(path, headers=headers)).headers) == set()
    asking = {"Origin": APP, "Access-Control-Request-Method": "GET"}
    assert told((await open_door.client.options(path, headers=asking)).headers) == set()


async def test_without_the_setting_nobody_may_call(door: Door) -> None:
    """Without listed origins no answer says anything to other origins."""
    for answer in (
        await door.client.options(RUN, headers={"Origin": APP, "Access-Control-Request-Method": "POST"}),
        await door.client.get("/api/v1/models", headers={"Origin": APP}),
    ):
        assert told(answer.headers) == set()
        assert "Vary" not in answer.headers


async def test_everybody_may_call_where_it_is_said(sqlite_url: str, redis_url: str, tmp_path: Path) -> None:
    """With `*` each origin may call, and answers are the same for all of them, so caches need not tell them apart."""
    environ = environment(sqlite_url, redis_url, str(tmp_path / "archive"), ports.free_one())
    async with Door({**environ, "TORII_CORS_ORIGINS": "*"}) as door:
        for origin in (STRANGER, "null"):
            answer = await door.client.get("/api/v1/models", headers={"Origin": origin})
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert "Vary" not in answer.headers
            asking = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            assert (await door.client.options(RUN, headers=asking)).headers["Access-Control-Allow-Origin"] == "*"
        assert told((await door.client.get("/api/v1/models")).headers) == set()
        assert told((await door.client.get("/console/sign-in", headers={"Origin": APP})).headers) == set()


async def test_a_plain_options_is_no_preflight(open_door: Door) -> None:
    """An OPTIONS of a page that asks for no method is answered like any request, with what may be read of it."""
    answer = await open_door.client.options(RUN, headers={"Origin": APP})
    assert words(answer.headers["Allow"]) == {"post", "options"}
    assert "allow" in words(answer.headers["Access-Control-Expose-Headers"])
    assert "Access-Control-Allow-Methods" not in answer.headers


async def test_a_real_browser_lets_the_page_call(
    sqlite_url: str, redis_url: str, browser: Browser, tmp_path: Path
) -> None:
    """In Chromium a listed origin's page orders, reads what came of it, and a refusal; another's learns nothing."""
    async with pages() as listed, pages() as other:
        seen: dict[str, Any] = {}
        environ = environment(sqlite_url, redis_url, str(tmp_path / "archive"), ports.free_one())
        async with Door({**environ, "TORII_CORS_ORIGINS": listed}) as door:
            headers = {**await door.caller(), "Content-Type": "application/json", "Idempotency-Key": "once"}
            for origin in (listed, other):
                page = await browser.new_page()
                await page.goto(f"{origin}/")
                seen[origin] = await page.evaluate(CALL, [door.base_url, headers])
                await page.close()
            (job,) = await door.rows(tables.jobs)
    assert seen[other] == "TypeError"
    ordered, refused = seen[listed]
    assert ordered["status"] == 202
    assert ordered["body"]["jobId"] == job["id"]
    assert ordered["request"].startswith("req_")
    assert int(ordered["after"]) >= 1
    assert ordered["pace"].startswith('"')
    assert (refused["status"], refused["body"]["error"]["code"]) == (401, "invalid_api_key")
