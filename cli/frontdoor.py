"""A gateway's front door as a caller sees it: orders, jobs and their events, in PixelDojo's dialect over HTTP.

Asks once and says what the answer means; whoever calls decides whether to try again. Sends the key nowhere else.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

import httpx
from httpx_sse import SSEError, aconnect_sse

from cli import screen, unreachable
from cli.access import Access
from cli.failures import Again, Failure, Status

Body = dict[str, Any]

_TIMEOUT: Final = httpx.Timeout(60.0, connect=10.0)
#: A stream says every 15 s that it lives; a quote is worth no longer wait than this.
_SILENT: Final = httpx.Timeout(40.0, connect=10.0)
_QUICK: Final = httpx.Timeout(5.0)
_BUSY: Final = frozenset({429, 502, 503, 504})
#: Nothing was refused: the first request with that key is being carried out.
_IN_FLIGHT: Final = "request_in_flight"
_MAX_WAIT_S: Final = 60.0


@dataclass(frozen=True)
class Answer:
    """A good answer: its members, and what its headers add."""

    body: Body
    retry_after_s: float | None = None
    replayed: bool = False


class NoEvents(Exception):
    """The gateway streams no events of this job; it can still be asked."""


@asynccontextmanager
async def opened(access: Access) -> AsyncIterator["Door"]:
    """The front door of that gateway, for that key."""
    headers = {"Authorization": f"Bearer {access.key}"}
    async with httpx.AsyncClient(base_url=access.url, headers=headers, timeout=_TIMEOUT) as client:
        yield Door(client, access.url)


@dataclass
class Door:
    """The requests that a caller makes. ``sent`` tells whether any of them may have reached the gateway."""

    client: httpx.AsyncClient
    url: str
    sent: bool = False

    async def order(self, model: str, body: Body, idempotency_key: str, headers: Mapping[str, str]) -> Answer:
        """Order pictures; repeated with the same key it is the same order."""
        path = f"/api/v1/models/{quote(model, safe='')}/run"
        return await self._ask("POST", path, body=body, headers={"Idempotency-Key": idempotency_key, **headers})

    async def upload(self, data: bytes, kind: str, idempotency_key: str) -> Answer:
        """Bring a picture to start from; repeated with the same key it is the same upload."""
        headers = {"Idempotency-Key": idempotency_key, "Content-Type": kind}
        return await self._ask("POST", "/api/v1/uploads", file=data, headers=headers)

    async def model(self, model: str) -> Answer:
        """A model in full."""
        return await self._ask("GET", f"/api/v1/models/{quote(model, safe='')}")

    async def quote(self, model: str, body: Body) -> Answer:
        """What it would cost, and how long it would take."""
        return await self._ask("POST", f"/api/v1/models/{quote(model, safe='')}/quote", body=body, within=_QUICK)

    async def job(self, job_id: str) -> Answer:
        """A job as it is."""
        return await self._ask("GET", f"/api/v1/jobs/{quote(job_id, safe='')}")

    async def cancel(self, job_id: str) -> Answer:
        """Take a queued job back."""
        return await self._ask("POST", f"/api/v1/jobs/{quote(job_id, safe='')}/cancel")

    async def jobs(self, query: Mapping[str, str | None]) -> Answer:
        """A page of the key's jobs, or its team's."""
        return await self._ask("GET", "/api/v1/jobs", query=query)

    async def events(self, job_id: str, last: str | None) -> AsyncGenerator[tuple[str, Body]]:
        """The job at each change after ``last``, with the change's id, until the stream ends.

        Raises ``NoEvents`` where there are none to be had, and ``Again`` when the stream breaks off.
        """
        headers = {} if last is None else {"Last-Event-ID": last}
        path = f"/api/v1/jobs/{quote(job_id, safe='')}/events"
        try:
            async with aconnect_sse(self.client, "GET", path, headers=headers, timeout=_SILENT) as source:
                if source.response.status_code != httpx.codes.OK:
                    raise NoEvents
                async for event in source.aiter_sse():
                    if event.data:
                        yield event.id, _members(event.data)
        except (SSEError, ValueError):
            raise NoEvents from None
        except httpx.HTTPError as error:
            raise Again(self._unreached(error)) from error

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | None] | None = None,
        body: Body | None = None,
        file: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        within: httpx.Timeout = _TIMEOUT,
    ) -> Answer:
        content = file if body is None else screen.encode(body).encode()
        more = {} if body is None else {"Content-Type": "application/json"}
        try:
            answer = await self.client.request(
                method,
                path,
                params={name: text for name, text in (query or {}).items() if text is not None},
                content=content,
                headers={**more, **(headers or {})},
                timeout=within,
            )
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if not self.sent:
                # Nothing can have happened, and a wrong address does not become right by waiting.
                raise self._unreached(error) from error
            raise Again(self._unreached(error)) from error
        except httpx.HTTPError as error:
            self.sent = True
            raise Again(self._unreached(error)) from error
        self.sent = True
        return self._read(answer)

    def _read(self, answer: httpx.Response) -> Answer:
        wait_s = _wait_s(answer)
        if answer.is_success:
            try:
                replayed = "idempotent-replayed" in answer.headers
                return Answer(_members(answer.content), wait_s, replayed)
            except ValueError:
                raise self._no_gateway(answer) from None
        refused = self._refusal(answer)
        if answer.status_code in _BUSY or refused.code == _IN_FLIGHT:
            raise Again(refused, wait_s)
        raise refused

    def _refusal(self, answer: httpx.Response) -> Failure:
        unable = answer.status_code in _BUSY or answer.is_server_error
        try:
            error = _members(answer.content)["error"]
            code, message, param = str(error["code"]), str(error["message"]), error["param"]
        except (ValueError, KeyError, TypeError):
            return self._no_gateway(answer)
        return Failure(code, message, Status.UNREACHED if unable else Status.REFUSED, param=param)

    def _no_gateway(self, answer: httpx.Response) -> Failure:
        kind = answer.headers.get("content-type", "no type").partition(";")[0]
        said = f"what answers at {self.url} is no Torii (status {answer.status_code}, {kind})"
        return Failure("not_torii", said, Status.UNREACHED, param="url")

    def _unreached(self, error: Exception) -> Failure:
        said = f"{self.url} cannot be reached: {unreachable.why(error)}"
        return Failure("unreachable", said, Status.UNREACHED, param="url")


def _members(text: str | bytes) -> Body:
    """JSON with its numbers as they are written; ``ValueError`` for anything but an object."""
    found = json.loads(text, parse_float=Decimal)
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004  whoever reads JSON expects this one
    return found


def _wait_s(answer: httpx.Response) -> float | None:
    text = answer.headers.get("retry-after", "")
    return min(float(text), _MAX_WAIT_S) if text.isascii() and text.isdigit() else None
