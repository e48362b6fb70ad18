"""Calls to URLs that somebody else has named, against real servers on loopback."""

import asyncio
import datetime
import ipaddress
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.webhooks.addresses import Network
from gateway.webhooks.outbound import Answer, Fault, Outbound, Resolve
from tests.support import ports

LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nRetry-After: 7\r\n\r\nok"
NAME = "hooks.example"


class Listener:
    """A server that keeps what it is sent, gives each request the same bytes, and may leave the connection open."""

    def __init__(self, answer: bytes = OK, *, drip: bytes = b"", silent: bool = False) -> None:
        self.answer, self.drip, self.silent = answer, drip, silent
        self.requests: list[bytes] = []
        self.connections = 0
        self.port = ports.free_one()

    def url(self, path: str = "/hook", host: str = NAME, scheme: str = "http") -> str:
        """Its address under some name."""
        return f"{scheme}://{host}:{self.port}{path}"

    @asynccontextmanager
    async def listening(self, context: ssl.SSLContext | None = None) -> AsyncIterator["Listener"]:
        """Listen on loopback."""
        async with await asyncio.start_server(self._serve, ports.LOOPBACK, self.port, ssl=context):
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.lower().split(b"\r\n")
                length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
                self.requests.append(head + await reader.readexactly(length))
                if self.silent:
                    await reader.read()
                writer.write(self.answer)
                while self.drip:
                    writer.write(self.drip)
                    await writer.drain()
                    await asyncio.sleep(0.005)
                await writer.drain()
                if not self.answer:
                    return
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client is gone
        finally:
            writer.close()


def named(*addresses: str) -> Resolve:
    """A resolver for which every name has those addresses."""

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return addresses

    return resolve


@asynccontextmanager
async def outbound(
    allowed: tuple[Network, ...] = LOOPBACK, resolve: Resolve | None = None, trusted: ssl.SSLContext | None = None
) -> AsyncIterator[Outbound]:
    """A client; by default all names lead to loopback, which is listed."""
    opened = Outbound(allowed, resolve=resolve or named("127.0.0.1"), trusted=trusted)
    try:
        yield opened
    finally:
        await opened.close()


async def post(
    client: Outbound, url: str, body: bytes = b"{}", timeout_s: float = 5.0, limit_bytes: int = 1_000
) -> Answer | Fault:
    """Send one POST."""
    return await client.post(url, body, {"X-Ours": "1"}, timeout_s=timeout_s, limit_bytes=limit_bytes)


async def test_a_call_arrives_under_its_name() -> None:
    """The server reads the URL's own host, the body and our headers; the caller reads status, headers and body."""
    async with Listener().listening() as server, outbound() as client:
        answer = await post(client, server.url("/hook?token=1"), b'{"a":1}')
        assert isinstance(answer, Answer)
        assert (answer.status, answer.body, answer.headers["retry-after"]) == (200, b"ok", "7")
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert body == b'{"a":1}'
        assert head.startswith(b"POST /hook?token=1 HTTP/1.1\r\n")
        assert f"Host: {NAME}:{server.port}".encode() in head.split(b"\r\n")
        assert b"X-Ours: 1" in head.split(b"\r\n")
        fetched = await client.get(server.url(), {}, timeout_s=5, limit_bytes=10)
        assert isinstance(fetched, Answer)
        assert server.requests[1].startswith(b"GET /hook HTTP/1.1")


@pytest.mark.parametrize("host", [NAME, "localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"])
async def test_loopback_is_out_of_reach_unless_listed(host: str) -> None:
    """Neither a name that leads to loopback nor an address of it is called, and no connection is made."""
    wide = tuple(ipaddress.ip_network(text) for text in ("0.0.0.0/0", "::/0"))
    async with Listener().listening() as server:
        for allowed in ((), wide):
            async with outbound(allowed) as client:
                assert await post(client, server.url(host=host)) is Fault.FORBIDDEN
        assert server.connections == 0


async def test_the_systems_own_names() -> None:
    """The system's resolver is asked by default: `localhost` is refused when not listed and reached when it is."""
    async with Listener().listening() as server:
        for allowed, expected in (((), Fault.FORBIDDEN), (LOOPBACK, 200)):
            client = Outbound(allowed)
            answer = await post(client, server.url(host="localhost"))
            await client.close()
            assert (answer.status if isinstance(answer, Answer) else answer) == expected


@pytest.mark.parametrize(
    "bad",
    ["10.0.0.1", "169.254.169.254", "0.0.0.1", "::", "::ffff:10.0.0.1", "64:ff9b::7f00:2", "fd00::1", "100.64.0.1"],
)
async def test_one_bad_address_spoils_a_name(bad: str) -> None:
    """A name of which one address may not be called is not called at all, in whatever order they come."""
    listed = (ipaddress.ip_network("127.0.0.1/32"),)
    async with Listener().listening() as server:
        for addresses in (("127.0.0.1", bad), (bad, "127.0.0.1")):
            async with outbound(listed, named(*addresses)) as client:
                assert await post(client, server.url()) is Fault.FORBIDDEN
        assert server.connections == 0


async def test_a_name_is_resolved_once_for_each_try() -> None:
    """What was judged is what is called: a name that changes its mind afterwards is not asked again."""
    answers = [["127.0.0.1"], ["10.0.0.1"]]

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return answers.pop(0)

    async with Listener().listening() as server, outbound(resolve=resolve) as client:
        assert isinstance(await post(client, server.url()), Answer)
        assert await post(client, server.url()) is Fault.FORBIDDEN
        assert server.connections == 1


async def test_the_next_address_is_tried_when_nobody_listens() -> None:
    """Where no connection came about, the name's next address is tried; a connection that was cut is not repeated."""
    addresses = named("127.0.0.2", "::1", "127.0.0.1")
    async with Listener().listening() as server, outbound(resolve=addresses) as client:
        assert isinstance(await post(client, server.url()), Answer)
    async with Listener(b"").listening() as server, outbound(resolve=named("127.0.0.1", "127.0.0.1")) as client:
        assert await post(client, server.url()) is Fault.CUT
        assert len(server.requests) == 1
    async with outbound(resolve=addresses) as client:
        assert await post(client, f"http://{NAME}:{ports.free_one()}/") is Fault.CONNECT


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hook",
        "//hooks.example/",
        "ftp://hooks.example/",
        "file:///etc/passwd",
        "http:///hook",
        "http://user:password@hooks.example/",
        "http://hooks.example:99999/",
        "http://hooks.example:0/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://127.0.0.1./",
        "http://[fe80::1%25lo]/",
        "http://a b/",
        "http://\uff11\uff12\uff17.0.0.1/",
        "http://hooks.example/\r\nX: 1",
    ],
)
async def test_some_urls_are_none(url: str) -> None:
    """A URL with another scheme, with a user, without a host, or with an odd spelling of an address is not called."""
    async with outbound() as client:
        assert await post(client, url) is Fault.BAD_URL


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    """A redirect is an answer like others: where it points nobody goes."""
    async with Listener().listening() as other:
        head = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {other.url()}\r\nContent-Length: 0\r\n\r\n"
        async with Listener(head.encode()).listening() as server, outbound() as client:
            answer = await post(client, server.url())
            assert isinstance(answer, Answer)
            assert answer.status == status
        assert other.connections == 0


async def test_no_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that the environment names sees nothing."""
    async with Listener().listening() as proxy, Listener().listening() as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with outbound() as client:
            assert isinstance(await post(client, server.url()), Answer)
        assert (proxy.connections, server.connections) == (0, 1)


async def test_no_connection_is_used_twice() -> None:
    """Each call makes a connection of its own, so that none is used under another name."""
    async with Listener().listening() as server, outbound() as client:
        for _ in range(3):
            assert isinstance(await post(client, server.url()), Answer)
        assert server.connections == 3


async def test_an_answer_is_read_up_to_its_limit() -> None:
    """More than the limit is no body, even if it never ends; with a limit of nothing none is read; gzip stays gzip."""
    endless = Listener(b"HTTP/1.1 200 OK\r\n\r\n", drip=b"x" * 500)
    async with endless.listening() as server, outbound() as client:
        for limit_bytes, body in ((1_000, None), (0, b"")):
            assert await post(client, server.url(), limit_bytes=limit_bytes) == Answer(200, {}, body)
    exact = Listener(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Encoding: gzip\r\n\r\n1234")
    async with exact.listening() as server, outbound() as client:
        for limit_bytes, body in ((4, b"1234"), (3, None)):
            answer = await post(client, server.url(), limit_bytes=limit_bytes)
            assert isinstance(answer, Answer)
            assert answer.body == body


@pytest.mark.parametrize(
    "server",
    [
        Listener(silent=True),
        Listener(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", drip=b"x"),
        Listener(b"HTTP/1.1 200 OK\r\n", drip=b"X-Drip: 1\r\n"),
    ],
    ids=["silent", "slow body", "slow head"],
)
async def test_the_time_is_ours(server: Listener) -> None:
    """However a server stalls, the call ends within its time."""
    async with server.listening(), outbound() as client:
        begun = time.monotonic()
        answer = await post(client, server.url(), timeout_s=0.3, limit_bytes=1 << 20)
        assert answer in {Fault.TIMEOUT, Fault.CUT}
        assert time.monotonic() - begun < 2


async def test_a_resolver_that_hangs_or_knows_nothing() -> None:
    """The time for the name counts too, and a name without addresses is unresolved."""

    async def hangs(_host: str, _port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    async def fails(_host: str, _port: int) -> Sequence[str]:
        raise OSError("no such name")

    for resolve, expected in ((hangs, Fault.TIMEOUT), (fails, Fault.UNRESOLVED), (named(), Fault.UNRESOLVED)):
        async with outbound(resolve=resolve) as client:
            assert await post(client, f"https://{NAME}/", timeout_s=0.2) is expected


async def test_a_certificate_is_held_to_the_name(tmp_path: Path) -> None:
    """Over TLS the server is asked for by name, and a certificate for another name or of a stranger is refused."""
    server_side, trusted = certificate(tmp_path, NAME)
    async with Listener().listening(server_side) as server:
        async with outbound(trusted=trusted) as client:
            assert isinstance(await post(client, server.url(scheme="https")), Answer)
            assert await post(client, server.url(host="other.example", scheme="https")) is Fault.CONNECT
        async with outbound() as client:
            assert await post(client, server.url(scheme="https")) is Fault.CONNECT
        assert len(server.requests) == 1


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's side with a certificate of its own for that name, and a client's side that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(file)
    return server_side, ssl.create_default_context(cafile=str(file))
