"""Which addresses a URL that somebody else has named may lead to."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.settings import values
from gateway.settings.values import Purpose
from gateway.webhooks import addresses

EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))

NEVER = (
    "0.0.0.0",  # noqa: S104  nobody binds to it
    "0.1.2.3",
    "::",
    "169.254.169.254",
    "169.254.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "::169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "64:ff9b:1::7f00:1",
)
LOOPBACK = (
    "127.0.0.1",
    "127.255.255.254",
    "::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "::127.0.0.1",
)
PRIVATE = (
    "10.0.0.1",
    "100.64.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.9",
    "fd00::1",
    "fc00::1",
    "2001:db8::1",
    "2001::1",
    "3fff::1",
    "5f00::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::1",
    "::10.0.0.1",
)
PUBLIC = (
    "1.1.1.1",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700::1",
    "::ffff:1.1.1.1",
    "64:ff9b::101:101",
    "2002:101:101::",
)


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_out_of_reach_whatever_is_listed(address: str) -> None:
    """Link-local, metadata, multicast and nobody's addresses are refused even where everything is listed."""
    exact = ip_network(address)
    assert not addresses.permitted(ip_address(address), ())
    assert not addresses.permitted(ip_address(address), (*EVERYTHING, exact))


@pytest.mark.parametrize("address", LOOPBACK)
def test_loopback_must_be_listed_as_such(address: str) -> None:
    """This machine is out of reach, in every spelling, unless a network of loopback addresses is listed."""
    found = ip_address(address)
    assert not addresses.permitted(found, ())
    assert not addresses.permitted(found, EVERYTHING)
    assert addresses.permitted(found, (ip_network("127.0.0.0/8"), ip_network("::1/128")))


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_must_be_listed(address: str) -> None:
    """What is not public is refused, in every spelling, unless its network is listed."""
    found = ip_address(address)
    assert not addresses.permitted(found, ())
    assert not addresses.permitted(found, (ip_network("10.9.0.0/16"), ip_network("fd09::/16")))
    assert addresses.permitted(found, EVERYTHING)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_in_reach(address: str) -> None:
    """A public address needs no listing, carried by IPv6 or not."""
    assert addresses.permitted(ip_address(address), ())


@given(st.integers(0, (1 << 32) - 1))
def test_an_address_is_judged_alike_in_all_its_spellings(number: int) -> None:
    """An IPv4 address and each IPv6 address that carries it are permitted together or not at all."""
    plain = IPv4Address(number)
    verdict = addresses.permitted(plain, ())
    for prefix in (0xFFFF << 32, 0x64FF9B << 96, 0x2002 << 112):
        carried = IPv6Address(prefix | (number << 80 if prefix >> 112 == 0x2002 else number))
        assert addresses.judged(carried) == plain
        assert addresses.permitted(carried, ()) == verdict


@given(st.integers(0, (1 << 32) - 1).map(IPv4Address) | st.integers(0, (1 << 128) - 1).map(IPv6Address))
def test_no_address_is_more_public_than_python_says(address: IPv4Address | IPv6Address) -> None:
    """What is permitted without a listing is an address that Python, too, calls global."""
    if addresses.permitted(address, ()):
        assert addresses.judged(address).is_global


@pytest.mark.parametrize(
    "host", ["2130706433", "0177.0.0.1", "0x7f000001", "0x7f.1", "127.1", "127.0.0.1.", "a.0X7F", "1"]
)
def test_odd_spellings_of_an_address_are_none(host: str) -> None:
    """What only some resolvers take for an address is refused rather than resolved."""
    with pytest.raises(ValueError, match=r"."):
        addresses.literal(host)


def test_names_and_addresses_are_told_apart() -> None:
    """A host is an address in its usual spelling, or a name."""
    assert addresses.literal("127.0.0.1") == IPv4Address("127.0.0.1")
    assert addresses.literal("::1") == IPv6Address("::1")
    assert addresses.literal("example.com") is None
    assert addresses.literal("0x7f.example.com") is None
    with pytest.raises(ValueError, match="zone"):
        addresses.literal("fe80::1%eth0")


def test_the_setting() -> None:
    """`TORII_WEBHOOK_ALLOW_NETS` is a comma list of networks; a mistake in it names the variable and the element."""

    def read(text: str) -> object:
        environ = {"TORII_WEBHOOK_ALLOW_NETS": text}
        return values.read(Purpose.MIGRATE, environ, env_file=None).webhook_allow_nets

    assert read("") == ()
    assert read("10.0.0.0/8, fd00::/8,127.0.0.1") == tuple(map(ip_network, ("10.0.0.0/8", "fd00::/8", "127.0.0.1/32")))
    for wrong in ("10.0.0.1/8", "intranet", "10.0.0.0/8,,"):
        with pytest.raises(errors.SettingError, match=r"^TORII_WEBHOOK_ALLOW_NETS must be a comma list of networks"):
            read(wrong)
