"""Calls to URLs that somebody else has named: webhooks, moderation endpoints, pictures to start from.

The name is resolved here, every address it has is judged, and the connection goes to an address that was judged, so
that no second look at DNS can lead elsewhere. No redirect is followed, no proxy or credential taken from the
environment, no connection used twice, and neither time nor memory is the other side's to spend. Raises nothing.
"""

import asyncio
import functools
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Final, TypeAlias

import httpx

from gateway.telemetry import tracing
from gateway.telemetry.tracing import Kind, Traces
from gateway.webhooks import addresses
from gateway.webhooks.addresses import Address, Network

CONNECT_TIMEOUT_S: Final = 3.0
#: Of a name's addresses, as many are tried; each only if no connection to the one before came about.
TRIES_MAX: Final = 3
CONNECTIONS_MAX: Final = 100
#: Threads, made as they are needed. A look-up cannot be called off: whoever names hosts whose name servers are silent
#: has it hang for long after the call was given up, and others must find a thread meanwhile.
_RESOLVERS: Final = 256
_SCHEMES: Final = ("http", "https")
_ERRORS_FROM: Final = 400

#: From a host and a port to the addresses of that name; raises ``OSError`` when it has none.
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]


class Fault(StrEnum):
    """Why there was no answer."""

    #: The URL itself is not one that may be called.
    BAD_URL = "bad_url"
    #: The name leads to an address that may not be called.
    FORBIDDEN = "forbidden_address"
    UNRESOLVED = "unresolved"
    TIMEOUT = "timeout"
    CONNECT = "connect"
    CUT = "cut"


@dataclass(frozen=True)
class Answer:
    """What the other side said, whatever it means; redirects are answers too."""

    status: int
    headers: Mapping[str, str]
    #: As many bytes as were allowed and no content encoding undone; None where there were more.
    body: bytes | None


def authorities() -> ssl.SSLContext:
    """Those that the system trusts. Reading them takes longer than starting most parts: once for each process."""
    return httpx.create_ssl_context()


class Outbound:
    """A client for URLs that are not to be trusted; one for each process."""

    def __init__(
        self,
        allowed: tuple[Network, ...],
        *,
        resolve: Resolve | None = None,
        trusted: ssl.SSLContext | None = None,
        traces: Traces = tracing.OFF,
    ) -> None:
        """Made with the networks that the operator has listed; by default with the system's names and authorities."""
        self._allowed = allowed
        self._traces = traces
        self._threads = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="resolve")
        self._resolve = self._ask_system if resolve is None else resolve
        # A connection is for one name and its certificate: none is kept for another name at the same address.
        limits = httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=0)
        verify = authorities() if trusted is None else trusted
        self._client = httpx.AsyncClient(verify=verify, trust_env=False, follow_redirects=False, limits=limits)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        timeout_s: float,
        limit_bytes: int,
        encrypted: bool = False,
    ) -> Answer | Fault:
        """Send it once and read at most so many bytes of the answer, all within the time.

        With ``encrypted`` plain http reaches no address but those that the operator has listed.
        """
        return await self._exchange("POST", url, body, headers, timeout_s, limit_bytes, encrypted=encrypted)

    async def get(
        self, url: str, headers: Mapping[str, str], *, timeout_s: float, limit_bytes: int, encrypted: bool = False
    ) -> Answer | Fault:
        """Fetch at most so many bytes within the time; ``encrypted`` as for ``post``."""
        return await self._exchange("GET", url, b"", headers, timeout_s, limit_bytes, encrypted=encrypted)

    async def _exchange(
        self,
        method: str,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        timeout_s: float,
        limit_bytes: int,
        *,
        encrypted: bool = False,
    ) -> Answer | Fault:
        # Not even the host: whose it is, is told by what the call is for.
        with self._traces.inner(Kind.CALL, method, {"http.request.method": method}) as span:
            answer = await self._within(method, url, body, headers, timeout_s, limit_bytes, encrypted=encrypted)
            if isinstance(answer, Fault):
                span.failed(answer)
            else:
                span.note("http.response.status_code", answer.status)
                if answer.status >= _ERRORS_FROM:
                    span.failed(str(answer.status))
            return answer

    async def _within(
        self,
        method: str,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        timeout_s: float,
        limit_bytes: int,
        *,
        encrypted: bool,
    ) -> Answer | Fault:
        target = _parsed(url)
        if target is None:
            return Fault.BAD_URL
        try:
            async with asyncio.timeout(timeout_s):
                found = await self._addresses(target)
                if isinstance(found, Fault):
                    return found
                if encrypted and target.scheme == "http" and not self._all_listed(found):
                    return Fault.FORBIDDEN
                for address in found[:TRIES_MAX]:
                    request = self._request(method, target, address, body, headers)
                    answer = await self._send(request, limit_bytes)
                    if answer is not Fault.CONNECT:
                        return answer
                return Fault.CONNECT
        except TimeoutError:
            return Fault.TIMEOUT

    async def _addresses(self, target: httpx.URL) -> list[Address] | Fault:
        """Where the name leads. One bad address spoils them all: who has a say in one has a say in the others."""
        host = target.raw_host.decode("ascii")
        try:
            spelled = addresses.literal(host)
        except ValueError:
            return Fault.BAD_URL
        if spelled is not None:
            found = [spelled]
        else:
            try:
                texts = await self._resolve(host, target.port or _port(target))
                found = [ip_address(text) for text in dict.fromkeys(texts)]
            except (OSError, ValueError):
                return Fault.UNRESOLVED
        if not found:
            return Fault.UNRESOLVED
        if not all(addresses.permitted(address, self._allowed) for address in found):
            return Fault.FORBIDDEN
        return found

    def _all_listed(self, found: list[Address]) -> bool:
        return all(addresses.listed(address, self._allowed) for address in found)

    async def _ask_system(self, host: str, port: int) -> Sequence[str]:
        question = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        answers = await asyncio.get_running_loop().run_in_executor(self._threads, question)
        return [str(address[0]) for _, _, _, _, address in answers]

    def _request(
        self, method: str, target: httpx.URL, address: Address, body: bytes, headers: Mapping[str, str]
    ) -> httpx.Request:
        """The request for the name, addressed to the address; TLS is held to the name (RFC 9110 section 4.3.4)."""
        named = {"Host": target.netloc.decode("ascii"), "Accept-Encoding": "identity", "User-Agent": "Torii"}
        given = {name: value for name, value in headers.items() if name.lower() != "host"}
        return self._client.build_request(
            method,
            target.copy_with(host=str(address), fragment=None),
            content=body or None,
            headers={**named, **given},
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
            extensions={"sni_hostname": target.raw_host.decode("ascii")},
        )

    async def _send(self, request: httpx.Request, limit_bytes: int) -> Answer | Fault:
        try:
            response = await self._client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return Fault.CONNECT  # nothing was sent, so another address may be tried
        except (httpx.HTTPError, httpx.InvalidURL, OSError):
            return Fault.CUT
        try:
            return Answer(response.status_code, response.headers, await _read(response, limit_bytes))
        except (httpx.HTTPError, httpx.StreamError, OSError):
            return Fault.CUT
        finally:
            await response.aclose()


def _parsed(url: str) -> httpx.URL | None:
    """The URL, if it is one that may be called at all."""
    try:
        target = httpx.URL(url)
        fit = target.scheme in _SCHEMES and target.raw_host and not target.userinfo and 0 < _port(target) < 1 << 16
    except (httpx.InvalidURL, ValueError, UnicodeError):
        return None
    return target if fit and b"%" not in target.raw_host else None


def _port(target: httpx.URL) -> int:
    if target.port is not None:
        return target.port
    return 443 if target.scheme == "https" else 80


async def _read(response: httpx.Response, limit_bytes: int) -> bytes | None:
    if not limit_bytes:
        return b""
    parts = bytearray()
    async for chunk in response.aiter_raw():
        parts += chunk
        if len(parts) > limit_bytes:
            return None
    return bytes(parts)
