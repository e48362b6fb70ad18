"""Who asked, by what proxies wrote into a request's head: a pure rule over headers and networks."""

import time
from ipaddress import ip_network

import pytest

from service import forwarding

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("127.0.0.1/32"))


def origin(*lines: str) -> tuple[str, int, str | None] | None:
    """What a head with these lines, `name: value` each, tells."""
    pairs = (line.partition(":") for line in lines)
    return forwarding.resolve([(name.lower().encode(), value.strip().encode()) for name, _, value in pairs], TRUSTED)


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("198.51.100.9, 192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, 10.0.0.7", "192.0.2.1"),
        ("203.0.113.5, 192.0.2.1, 10.0.0.7, 127.0.0.1", "192.0.2.1"),
        ("127.0.0.1, 192.0.2.1", "192.0.2.1"),
        ("10.0.0.9, 10.0.0.7", "10.0.0.9"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0::1, fd00::7", "2001:db8::1"),
        ("::ffff:192.0.2.1, ::ffff:10.0.0.7", "192.0.2.1"),
        (" , 192.0.2.1 ,, 10.0.0.7,", "192.0.2.1"),
        ("nonsense, 192.0.2.1", "192.0.2.1"),
    ],
)
def test_the_nearest_stranger_asked(value: str, host: str) -> None:
    """Read from the right, the first address outside the networks is who asked; what stands left of it is his word."""
    found = origin(f"X-Forwarded-For: {value}")
    assert found is not None
    assert found[0] == host


@pytest.mark.parametrize(
    ("value", "host", "port"),
    [
        ("192.0.2.1:4711", "192.0.2.1", 4711),
        ("[2001:db8::1]:80", "2001:db8::1", 80),
        ("[2001:db8::1]", "2001:db8::1", 0),
    ],
)
def test_a_port_may_follow(value: str, host: str, port: int) -> None:
    """A port is taken with the address, as some load balancers write it."""
    assert origin(f"X-Forwarded-For: {value}") == (host, port, None)


@pytest.mark.parametrize(
    "value",
    [
        "unknown",
        "localhost",
        "_hidden",
        "192.0.2",
        "192.0.2.1.5",
        "192.0.2.01",
        "192.0.2.1:99999",
        "192.0.2.1:",
        "2001:db8::1:x",
        "[2001:db8::1",
        "fe80::1%eth0",
        "fe80::1%\x1b[2J",
        "192.0.2.1 10.0.0.1",
        "'; DROP TABLE jobs",
        "١٩٢.0.2.1",
        "",
        ", ,",
        "192.0.2.1, unknown",
        "192.0.2.1, nonsense, 10.0.0.7",
    ],
)
def test_what_cannot_be_read_is_not_believed(value: str) -> None:
    """A hop that is no address, met before who asked is found, takes the whole header its word."""
    assert origin(f"X-Forwarded-For: {value}") is None
    assert origin() is None


def test_several_lines_are_one_list() -> None:
    """A proxy may add a line of its own instead of appending: the last one is the nearest."""
    found = origin("X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 192.0.2.1, 10.0.0.7", "X-Forwarded-For: 10.0.0.8")
    assert found == ("192.0.2.1", 0, None)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("for=192.0.2.1", ("192.0.2.1", 0, None)),
        ("For=192.0.2.1;Proto=HTTPS;By=10.0.0.7", ("192.0.2.1", 0, "https")),
        ('for="[2001:db8::1]:4711";proto=http', ("2001:db8::1", 4711, "http")),
        ("for=198.51.100.1;proto=https, for=192.0.2.1;proto=http, for=10.0.0.7", ("192.0.2.1", 0, "http")),
        ('for="192.0.2.1:80";host="a,b;for=10.0.0.1"', ("192.0.2.1", 80, None)),
        ('for=10.0.0.9;secret="a\\"b,c", for=10.0.0.7', ("10.0.0.9", 0, None)),
        ("for=192.0.2.1;proto=gopher", ("192.0.2.1", 0, None)),
        ("for=192.0.2.1,,", ("192.0.2.1", 0, None)),
        ("for=unknown", None),
        ("for=_gazonk", None),
        ("proto=https;by=10.0.0.7", None),
        ("for=192.0.2.1, for=_hidden, for=10.0.0.7", None),
        ("for=192.0.2.1;for=198.51.100.1", None),
        ("for=[2001:db8::1]", None),
        ('for="192.0.2.1', None),
        ("for =192.0.2.1", None),
        ("192.0.2.1", None),
        ("for=192.0.2.1;;;nonsense", None),
        ("", None),
    ],
)
def test_the_standard_header_is_read_as_it_is_written(value: str, told: tuple[str, int, str | None] | None) -> None:
    """`Forwarded` of RFC 7239 tells the same, quoted strings and all; a head that breaks its grammar tells nothing."""
    assert origin(f"Forwarded: {value}") == told


def test_the_older_header_goes_before_the_standard_one() -> None:
    """Where a proxy writes `X-Forwarded-For`, a `Forwarded` that its caller made up changes nothing."""
    assert origin("Forwarded: for=198.51.100.1", "X-Forwarded-For: 192.0.2.1") == ("192.0.2.1", 0, None)
    assert origin("Forwarded: for=198.51.100.1", "X-Forwarded-For: nonsense") is None


@pytest.mark.parametrize("header", ["X-Forwarded-For: {}", "Forwarded: {}"])
def test_a_chain_without_end_is_not_believed(header: str) -> None:
    """Of more than 32 listed proxies in a row nothing is believed, and it takes no longer to find out."""
    word = "10.0.0.1" if header.startswith("X") else "for=10.0.0.1"
    assert origin(header.format(", ".join([word] * 32))) == ("10.0.0.1", 0, None)
    assert origin(header.format(", ".join([word] * 33))) is None
    for text in (", ".join([word] * 4000), " " * 60_000 + "x", 'a="' + "\\" * 60_000, ";" * 60_000):
        began_s = time.perf_counter()
        assert origin(header.format(text)) is None
        assert time.perf_counter() - began_s < 1
