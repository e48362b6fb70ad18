"""Keeps the test process on loopback: any call to another host fails the test, with advice.

It listens to Python's own audit events, so nothing is patched. What talks past Python's sockets (obstore, uvloop)
is not seen here; the fixtures give it loopback URLs.
"""

import ipaddress
import socket

ADVICE = (
    "tests talk to loopback only: use the `emulator`, `redis_url`, `database_url` or `s3` fixture, "
    "or a server of the test's own on 127.0.0.1"
)


class OutsideCallError(AssertionError):
    """A test reached for a host that is not this machine's loopback."""


class LoopbackGuard:
    """An audit hook that refuses, and remembers, each connection or look-up beyond loopback."""

    def __init__(self) -> None:
        self._calls: list[str] = []

    def hook(self, event: str, arguments: tuple[object, ...]) -> None:
        """Refuse the event if it reaches beyond loopback. Given to `sys.addaudithook`."""
        if event in {"socket.connect", "socket.sendto"}:
            self._address(arguments[0], arguments[1])
        elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
            self._name(arguments[0])

    def take(self) -> list[str]:
        """Return the calls refused since the last time this was asked."""
        calls, self._calls = self._calls, []
        return calls

    def _address(self, sock: object, address: object) -> None:
        family = sock.family if isinstance(sock, socket.socket) else None
        if family in {socket.AF_INET, socket.AF_INET6} and isinstance(address, tuple) and address:
            host = _text(address[0])
            if not is_loopback(host):
                self._refuse(f"connection to {host}")

    def _name(self, host: object) -> None:
        if host is None or _text(host) == "" or _is_address(_text(host)):
            return  # no packet leaves for these
        if not is_loopback(_text(host)):
            self._refuse(f"name look-up of {_text(host)}")

    def _refuse(self, what: str) -> None:
        self._calls.append(what)
        raise OutsideCallError(f"{what}: {ADVICE}")


def is_loopback(host: str) -> bool:
    """Tell whether a host, by name or address, is this machine's loopback."""
    if host in {"", "localhost"} or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback or (mapped or address).is_unspecified


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _text(host: object) -> str:
    return host.decode(errors="replace") if isinstance(host, bytes) else str(host)
