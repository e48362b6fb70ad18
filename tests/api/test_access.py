"""Who may read metrics, as a pure rule."""

import pytest

from gateway.telemetry import access

TOKEN = "t" * 16


@pytest.mark.parametrize(
    ("host", "granted"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),  # noqa: S104  an address that is asked about, not bound
        ("::", False),
        ("fe80::1%eth0", False),
        ("localhost", False),
        ("", False),
        (None, False),
    ],
)
def test_without_a_token_loopback_alone_is_granted(host: str | None, granted: bool) -> None:
    """Without a token the peer's address decides, mapped IPv6 included, and whatever is shown does not matter."""
    assert access.granted(None, None, host) is granted
    assert access.granted(None, f"Bearer {TOKEN}", host) is granted


@pytest.mark.parametrize(
    ("authorization", "granted"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer  {TOKEN} ", True),
        (f"Basic {TOKEN}", False),
        (TOKEN, False),
        (f"Bearer {TOKEN}t", False),
        (f"Bearer {TOKEN[:-1]}", False),
        ("Bearer ü", False),
        ("Bearer \ud800", False),
        ("Bearer ", False),
        ("", False),
        (None, False),
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", None])
def test_with_a_token_it_alone_is_granted(authorization: str | None, granted: bool, host: str | None) -> None:
    """With a token the exact bearer is granted from anywhere, and nothing else is, not even on loopback."""
    assert access.granted(TOKEN, authorization, host) is granted


@pytest.mark.parametrize(
    "sign",
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via", "cf-connecting-ip"],
)
def test_behind_a_proxy_the_peer_is_not_who_asks(sign: str) -> None:
    """A header that a proxy adds takes the peer's address its meaning, and others do not."""
    assert access.asker("127.0.0.1", {"host", sign}) is None
    assert access.asker("127.0.0.1", {"host", "user-agent"}) == "127.0.0.1"
    assert access.asker(None, set()) is None
