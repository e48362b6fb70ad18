"""The socket that callers come in by, and whose setting is in the way where it cannot be had. Accepts nothing."""

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gateway import errors

BACKLOG: Final = 2048


def open(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """The socket to accept on; ``SettingError`` names the setting that is in the way.

    A ``shared`` one may have others like it on the same port, among which the system shares out the connections; one
    that is not refuses to be beside any other.
    """
    with _named(host, port):
        family, address = _address(host, port)
        listener = socket.create_server(address, family=family, backlog=BACKLOG, reuse_port=shared)
        listener.setblocking(False)
        return listener


def reserve(host: str, port: int) -> socket.socket:
    """A socket on which nobody can come in, and beside which only ``shared`` ones can be; raises as ``open``."""
    with _named(host, port):
        family, address = _address(host, port)
        reserved = socket.socket(family, socket.SOCK_STREAM)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(address)
        return reserved


def require_sharing() -> None:
    """Raise ``InvalidParameter`` where the system does not share out connections among sockets (Linux does)."""
    if sys.platform != "linux":
        raise errors.InvalidParameter("workers: only Linux shares one port among processes; run one", param="workers")


@contextmanager
def _named(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        mine = error.errno in {errno.EADDRINUSE, errno.EACCES}
        name = "TORII_PORT" if mine else "TORII_HOST"
        reason = error.strerror or type(error).__name__
        raise errors.SettingError(f"{name}: cannot listen on {host} port {port}: {reason}", param=name) from None


def _address(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return family, (str(address[0]), int(address[1]))
