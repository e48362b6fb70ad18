"""Addresses on this machine: whether a port can be had, which one is free, and how a listener is reached from here."""

import errno
import socket
from types import MappingProxyType
from typing import Final

from gateway import errors
from gateway.settings import shapes

LOOPBACK = "127.0.0.1"
_ANY: Final = MappingProxyType({"0.0.0.0": LOOPBACK, "::": "::1"})  # noqa: S104  compared with, never bound here


def free(wanted: int = 0) -> int:
    """A loopback port that nobody has: the wanted one, if it can be had."""
    for port in (wanted, 0):
        try:
            with socket.create_server((LOOPBACK, port)) as listener:
                return int(listener.getsockname()[1])
        except OSError:
            continue
    raise errors.ToriiError(f"no free port on {LOOPBACK}")


def require(host: str, port: int, host_variable: str, port_variable: str) -> None:
    """Raise ``SettingError``, which names the variable, unless a server could listen there now."""
    try:
        _listen(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise errors.SettingError(
                f"{port_variable}: port {port} on {host} is in use; stop what uses it, or set {port_variable} "
                "to another port",
                param=port_variable,
            ) from None
        if error.errno == errno.EACCES:
            raise errors.SettingError(
                f"{port_variable}: this user may not listen on port {port}; use one above 1023", param=port_variable
            ) from None
        raise errors.SettingError(
            f"{host_variable}: cannot listen on {host}: {error.strerror}", param=host_variable
        ) from None


def _listen(host: str, port: int) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as listener:
        # As servers do: connections of an earlier run that are being forgotten are no obstacle.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()


def from_here(host: str, port: int) -> str:
    """The base URL by which this machine reaches a server that listens there."""
    return f"http://{shapes.bracketed(_ANY.get(host, host))}:{port}"
