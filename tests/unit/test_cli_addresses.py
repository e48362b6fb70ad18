"""Ports on this machine: which can be had, and which setting is named when one cannot."""

import socket

import pytest

from cli import addresses
from gateway import errors
from tests.support import ports


def test_the_wanted_port_where_it_is_free() -> None:
    """A port that can be had is kept, so that addresses stay the same over restarts."""
    wanted = ports.free_one()
    assert addresses.free(wanted) == wanted


def test_another_port_where_it_is_not() -> None:
    """A port that someone took meanwhile is given up."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert addresses.free(port) not in (0, port)


def test_a_port_in_use_names_its_variable() -> None:
    """The line says which port, which setting, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(errors.SettingError, match=f"TORII_PORT: port {port} on 127.0.0.1 is in use") as caught:
            addresses.require("127.0.0.1", port, "TORII_HOST", "TORII_PORT")
    assert caught.value.param == "TORII_PORT"
    addresses.require("127.0.0.1", port, "TORII_HOST", "TORII_PORT")


def test_a_foreign_address_names_the_host() -> None:
    """An address that is not this machine's is the host's mistake, not the port's."""
    with pytest.raises(errors.SettingError, match=r"TORII_HOST: cannot listen on 192\.0\.2\.1") as caught:
        addresses.require("192.0.2.1", 8700, "TORII_HOST", "TORII_PORT")
    assert caught.value.param == "TORII_HOST"


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),  # noqa: S104  no socket is opened
        ("::", "http://[::1]:80"),
        ("gateway.internal", "http://gateway.internal:80"),
    ],
)
def test_how_a_listener_is_reached(host: str, base: str) -> None:
    """A server that listens everywhere is asked on loopback."""
    assert addresses.from_here(host, 80) == base
