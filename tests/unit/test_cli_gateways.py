"""Addresses of gateways, and why one cannot be reached."""

import socket
import ssl

import httpx
import pytest

from cli import gateways, unreachable
from gateway import errors


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("https://torii.example.com", "https://torii.example.com"),
        ("http://127.0.0.1:8700/", "http://127.0.0.1:8700"),
        ("https://example.com/api/v1", "https://example.com"),
        ("https://example.com/torii/api/v1/", "https://example.com/torii"),
        ("http://[::1]:8700", "http://[::1]:8700"),
    ],
)
def test_addresses(text: str, base: str) -> None:
    """A PixelDojo client's base URL is taken for its gateway's."""
    assert gateways.address("--url", text) == base


@pytest.mark.parametrize(
    "text", ["", "example.com", "localhost:8700", "ftp://a", "http://", "http://a:x", "http://a?b"]
)
def test_what_is_none(text: str) -> None:
    """What is no address is said to be none, by its option."""
    with pytest.raises(errors.InvalidParameter, match=r"--url: .* is no address"):
        gateways.address("--url", text)


def _behind(error: httpx.TransportError, cause: Exception) -> httpx.TransportError:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (httpx.ConnectTimeout(""), "it does not answer"),
        (httpx.ReadTimeout(""), "it took too long to answer"),
        (
            _behind(httpx.ConnectError("all failed"), ConnectionRefusedError(111, "Connect call failed")),
            "connection refused",
        ),
        (
            _behind(httpx.ConnectError("x"), socket.gaierror(-2, "Name or service not known")),
            "there is no such host (Name or service not known)",
        ),
        (_behind(httpx.ConnectError("x"), ssl.SSLError(1, "wrong version")), "TLS failed: wrong version"),
        (httpx.RemoteProtocolError("Server disconnected"), "Server disconnected"),
        (httpx.ReadError(""), "ReadError"),
    ],
)
def test_why(error: httpx.TransportError, why: str) -> None:
    """The innermost reason is told, in words."""
    assert unreachable.why(error) == why
