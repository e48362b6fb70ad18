"""Which transport errors surely did not send, and from where results may be fetched."""

import httpx
import pytest

from gateway.upstream import answers, faults, hosts
from gateway.upstream.answers import Refusal

LISTED: tuple[hosts.Host, ...] = (("temp.pixeldojo.ai", None), ("127.0.0.1", 8799))


def _family(root: type[Exception]) -> set[type[Exception]]:
    found = {root}
    for child in root.__subclasses__():
        found |= _family(child)
    return found


def test_every_transport_error_of_httpx_is_in_the_table() -> None:
    """A new transport error of httpx must be judged by a person before it can be met."""
    # The family as httpx has it, whoever else inherits from it.
    known = {error for error in _family(httpx.TransportError) if error.__module__ == "httpx"}
    leaves = {error for error in known if not any(child in known for child in error.__subclasses__())}
    assert leaves == set(faults.TRANSPORT)


@pytest.mark.parametrize("error", list(faults.TRANSPORT))
def test_only_what_no_connection_carried_is_surely_not_sent(error: type[Exception]) -> None:
    """Connecting errors go back to the queue; everything after a connection is ambiguous."""
    said = faults.submission(error("x"))
    unsent = {httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol}
    if error in unsent:
        assert said == answers.Refused(Refusal.NOT_CONNECTED)
    else:
        assert isinstance(said, answers.Ambiguous)


@pytest.mark.parametrize("error", [TimeoutError(), OSError(), RuntimeError(), httpx.HTTPError("x")])
def test_an_unlisted_error_is_ambiguous(error: Exception) -> None:
    """An error nobody thought of is read as "the credits may be gone"."""
    assert isinstance(faults.submission(error), answers.Ambiguous)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://temp.pixeldojo.ai/pixeldojotemp/1-2.png", True),
        ("https://TEMP.pixeldojo.ai/x.png", True),
        ("https://temp.pixeldojo.ai:8443/x.png", True),
        ("http://temp.pixeldojo.ai/x.png", False),
        ("http://127.0.0.1:8799/x.png", True),
        ("http://127.0.0.1:8798/x.png", False),
        ("https://evil.example/temp.pixeldojo.ai", False),
        ("https://temp.pixeldojo.ai.evil.example/x", False),
        ("https://temp.pixeldojo.ai@evil.example/x", False),
        ("https://user:pw@temp.pixeldojo.ai/x", False),
        ("file:///etc/passwd", False),
        ("ftp://temp.pixeldojo.ai/x", False),
        ("//temp.pixeldojo.ai/x", False),
        ("https://169.254.169.254/latest/meta-data", False),
        ("https://temp.pixeldojo.ai:notaport/x", False),
        ("https://[::1/x", False),
        ("", False),
    ],
)
def test_results_come_only_from_listed_hosts(url: str, allowed: bool) -> None:
    """A result is fetched from a listed host over https, or over http from loopback, and from nowhere else."""
    assert hosts.allowed(url, LISTED) is allowed
