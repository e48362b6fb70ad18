"""The one place that speaks to PixelDojo over HTTP. Sends once and says what came back; never retries, keeps nothing.

Poll URLs are built from the configured base, never taken from an answer (pixeldojo.md 2.13). A submit follows no
redirect and reuses no idle connection, so that "connection refused" keeps its meaning. Downloads go through a client
that has no key to lose.
"""

import asyncio
import math
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote, urljoin

import httpx
import msgspec

from gateway.clock import Clock
from gateway.telemetry import labels, tracing
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tracing import Kind, Span, Traces
from gateway.upstream import answers, faults, hosts, joblist, reading

POLL_DEADLINE_S = 15.0
DOWNLOAD_DEADLINE_S = 90.0
CONNECT_TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 1 << 20
#: Several times the largest picture a catalogue model makes (4 MP, PNG).
MAX_PICTURE_BYTES = 64 << 20
_MAX_REDIRECTS = 3
#: What a span calls the kind of question.
OPERATION = "torii.operation"
#: What httpcore calls the moment before a request's first bytes, after the protocol's name.
_ABOUT_TO_SEND = ".send_request_headers.started"


#: Told the status and the headers of each answer but a download's, for the pace; raises nothing.
Heed = Callable[[int, Mapping[str, str]], Awaitable[None]]


@dataclass(frozen=True)
class Address:
    """Where the upstream is, and from where its results may come."""

    base: str
    result_hosts: tuple[hosts.Host, ...]


class Upstream:
    """The upstream, one request at a time."""

    def __init__(
        self,
        address: Address,
        key: str,
        measured: Metrics,
        clock: Clock,
        heed: Heed | None = None,
        *,
        trusted: ssl.SSLContext | None = None,
        traces: Traces = tracing.OFF,
    ) -> None:
        """Made with the authorities that certificates are held to; by default the system's."""
        self._address = address
        self._traces = traces
        self._metrics = measured
        self._clock = clock
        self._heed = heed
        timeout = httpx.Timeout(answers.SUBMIT_DEADLINE_S, connect=CONNECT_TIMEOUT_S)
        authorization = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
        client = partial(
            httpx.AsyncClient, timeout=timeout, verify=httpx.create_ssl_context() if trusted is None else trusted
        )
        self._submits = client(headers=authorization, limits=httpx.Limits(max_keepalive_connections=0))
        self._reads = client(headers=authorization, limits=httpx.Limits(max_connections=100, keepalive_expiry=30.0))
        self._downloads = client(limits=httpx.Limits(max_connections=20))

    async def close(self) -> None:
        """Close every connection."""
        for client in (self._submits, self._reads, self._downloads):
            await client.aclose()

    async def submit(self, model: str, body: dict[str, Any], until_s: float = math.inf) -> answers.Submission:
        """Send one paid POST, once, and say what its answer means (pixeldojo.md 1.1). Raises nothing.

        Not a byte of it leaves after ``until_s`` on the monotonic clock, however long connecting took.
        """
        request = self._submits.build_request(
            "POST",
            f"{self._address.base}/models/{quote(model, safe='')}/run",
            content=msgspec.json.encode(body),
            headers={"Content-Type": "application/json"},
            extensions={"trace": self._not_after(until_s)},
        )
        outcome = await self._exchange(self._submits, request, "submit", answers.SUBMIT_DEADLINE_S)
        if isinstance(outcome, Exception):
            return faults.submission(outcome)
        return reading.submission(outcome, self._clock.now())

    def _not_after(self, until_s: float) -> Callable[[str, object], Awaitable[None]]:
        async def look(event: str, _info: object) -> None:
            # The connection stands, and the request line is the next thing to be written.
            if event.endswith(_ABOUT_TO_SEND) and self._clock.monotonic() > until_s:
                raise faults.TooLate

        return look

    async def poll(self, upstream_job_id: str) -> answers.Reading:
        """Read a job's state (pixeldojo.md 1.2). Free. Raises nothing."""
        request = self._reads.build_request("GET", f"{self._address.base}/jobs/{quote(upstream_job_id, safe='')}")
        outcome = await self._exchange(self._reads, request, "poll", POLL_DEADLINE_S)
        if isinstance(outcome, Exception):
            return answers.Unreadable(faults.word(outcome))
        return reading.job(outcome, self._clock.now())

    async def list_jobs(self, query: joblist.Query = ()) -> joblist.PageAnswer:
        """Read a page of the upstream's list of jobs (pixeldojo.md 1.6), by default the first. Free. Raises nothing."""
        request = self._reads.build_request(
            "GET", f"{self._address.base}/jobs", params=query or None, headers={"Cache-Control": "no-cache"}
        )
        outcome = await self._exchange(self._reads, request, "list", POLL_DEADLINE_S)
        if isinstance(outcome, Exception):
            return answers.Unreadable(faults.word(outcome))
        return joblist.page(outcome, self._clock.now())

    async def sight(self, upstream_job_id: str) -> joblist.Sighting:
        """Ask whether there is a job of that id (pixeldojo.md 1.2), and what is shown of it. Free. Raises nothing."""
        request = self._reads.build_request("GET", f"{self._address.base}/jobs/{quote(upstream_job_id, safe='')}")
        outcome = await self._exchange(self._reads, request, "poll", POLL_DEADLINE_S)
        if isinstance(outcome, Exception):
            return answers.Unreadable(faults.word(outcome))
        return joblist.sighting(outcome, upstream_job_id, self._clock.now())

    async def reachable(self) -> bool:
        """Whether the upstream answers a free question (``GET /models``, pixeldojo.md 1.3) in order."""
        request = self._reads.build_request("GET", f"{self._address.base}/models")
        outcome = await self._exchange(self._reads, request, "poll", POLL_DEADLINE_S)
        return isinstance(outcome, reading.Answer) and outcome.status_code == 200

    async def download(self, url: str) -> answers.Download:
        """Fetch one picture without a key, through at most three redirects, each within the listed hosts."""
        for _ in range(_MAX_REDIRECTS + 1):
            if not hosts.allowed(url, self._address.result_hosts):
                return answers.Undelivered("host_not_allowed")
            request = self._downloads.build_request("GET", url)
            outcome = await self._exchange(
                self._downloads, request, "download", DOWNLOAD_DEADLINE_S, limit_bytes=MAX_PICTURE_BYTES
            )
            if isinstance(outcome, Exception):
                return answers.Undelivered(faults.word(outcome))
            if 300 <= outcome.status_code < 400 and "location" in outcome.headers:
                url = urljoin(url, outcome.headers["location"])
                continue
            return _downloaded(outcome)
        return answers.Undelivered("too_many_redirects")

    async def _exchange(
        self,
        client: httpx.AsyncClient,
        request: httpx.Request,
        operation: str,
        deadline_s: float,
        limit_bytes: int = MAX_ANSWER_BYTES,
    ) -> reading.Answer | Exception:
        """Send and read one answer within the deadline; a fault is returned, since each caller reads it its own way."""
        # No URL: one of a result holds the right to it.
        about = {"http.request.method": request.method, "server.address": request.url.host, OPERATION: operation}
        with self._traces.inner(Kind.CALL, f"{request.method} {operation}", about) as span:
            return await self._exchanged(client, request, operation, deadline_s, limit_bytes, span)

    async def _exchanged(
        self,
        client: httpx.AsyncClient,
        request: httpx.Request,
        operation: str,
        deadline_s: float,
        limit_bytes: int,
        span: Span,
    ) -> reading.Answer | Exception:
        observe = self._observer(operation, span)
        answer: reading.Answer | None = None
        try:
            async with asyncio.timeout(deadline_s):
                response = await client.send(request, stream=True, follow_redirects=False)
                # The status is known from here on: whatever happens to the body, it is not forgotten.
                answer = reading.Answer(response.status_code, response.headers, body=None)
                try:
                    body = await _body(response, limit_bytes)
                finally:
                    await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, TimeoutError, OSError, faults.TooLate) as error:
            observe(faults.word(error) if answer is None else labels.status(answer.status_code))
            return error if answer is None else await self._heard(answer, operation)
        observe(labels.status(answer.status_code))
        return await self._heard(reading.Answer(answer.status_code, answer.headers, body), operation)

    async def _heard(self, answer: reading.Answer, operation: str) -> reading.Answer:
        if self._heed is not None and operation != "download":
            await self._heed(answer.status_code, answer.headers)
        return answer

    def _observer(self, operation: str, span: Span) -> Callable[[str], None]:
        begun = time.perf_counter()

        def observe(status: str) -> None:
            _describe(span, status)
            self._metrics.upstream_request_duration.labels(operation, status).observe(time.perf_counter() - begun)

        return observe


def _describe(span: Span, status: str) -> None:
    """Say in a span how a call went: by the status that was answered, or the word for why none was."""
    if status.isdigit():
        span.note("http.response.status_code", int(status))
    if not status.isdigit() or status[0] in "45":
        span.failed(status)


async def _body(response: httpx.Response, limit_bytes: int) -> bytes | None:
    parts = bytearray()
    async for chunk in response.aiter_bytes():
        parts += chunk
        if len(parts) > limit_bytes:
            return None
    return bytes(parts)


def _downloaded(answer: reading.Answer) -> answers.Download:
    if answer.status_code in (404, 410):
        return answers.Gone(answer.status_code)
    if answer.status_code != 200:
        return answers.Undelivered(f"status_{answer.status_code}")
    if answer.body is None:
        return answers.Undelivered("cut_or_too_large")
    return answers.Downloaded(answer.body)
