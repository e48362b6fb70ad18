"""Which addresses a URL that a caller can name may lead to. Pure: judges addresses, resolves nothing.

What is not a public address is refused unless the operator has listed its network (``TORII_WEBHOOK_ALLOW_NETS``).
Link-local addresses and the metadata services of clouds are refused always, and so is this machine itself unless a
network of loopback addresses is listed: a wide network that happens to hold them does not count. An IPv6 address that
carries an IPv4 address is judged by what it carries. The tables are IANA's special-purpose registries (RFC 6890), kept
here since Python's own change with its version.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


_LOOPBACK: Final = _networks("127.0.0.0/8", "::1/128")
_NEVER: Final = _networks(
    "0.0.0.0/8",  # this host
    "169.254.0.0/16",  # link-local, and the metadata service of most clouds
    "100.100.100.200/32",  # metadata: Alibaba
    "168.63.129.16/32",  # metadata: Azure
    "192.0.0.192/32",  # metadata: Oracle
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and broadcast
    "::/128",  # this host
    "64:ff9b:1::/48",  # NAT64 of one's own making: nobody can say which IPv4 address it carries
    "fd00:ec2::/32",  # metadata: Amazon
    "fd20:ce::/32",  # metadata: Google
    "fe80::/10",  # link-local
    "fec0::/10",  # site-local, long withdrawn
    "ff00::/8",  # multicast
)
_NOT_PUBLIC: Final = _networks(
    "10.0.0.0/8",
    "100.64.0.0/10",  # shared by a carrier's customers
    "172.16.0.0/12",
    "192.0.0.0/24",  # protocol assignments
    "192.0.2.0/24",  # documentation
    "192.88.99.0/24",  # 6to4 relays, withdrawn
    "192.168.0.0/16",
    "198.18.0.0/15",  # benchmarks
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "2001::/23",  # protocol assignments, Teredo among them
    "2001:db8::/32",  # documentation
    "3fff::/20",  # documentation
)
#: The only IPv6 addresses that are public at all.
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = IPv6Network("::/96")


def literal(host: str) -> Address | None:
    """The address that a URL's host spells, IPv6 without brackets; None for a name.

    ``ValueError`` for what only some resolvers take for an address: ``127.1``, ``0x7f000001``, ``2130706433``,
    ``0177.0.0.1``, or an address with a zone. No name ends in a number.
    """
    if ":" in host:
        address = ip_address(host)
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            raise ValueError("an address with a zone")
        return address
    last = host.rstrip(".").rpartition(".")[2].lower()
    if last.isdecimal() or last.startswith("0x"):
        return IPv4Address(host)
    return None


def judged(address: Address) -> Address:
    """The address that a connection ends at: the IPv4 address that an IPv6 address carries, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def permitted(address: Address, allowed: tuple[Network, ...]) -> bool:
    """Whether a connection may be made to the address, with these networks listed."""
    end = judged(address)
    if _within(end, _NEVER) or (isinstance(address, IPv6Address) and _within(address, _NEVER)):
        return False
    if _within(end, _LOOPBACK):
        return any(end in network and _is_loopback(network) for network in allowed)
    if any(end in network for network in allowed):
        return True
    if _within(end, _NOT_PUBLIC):
        return False
    return isinstance(end, IPv4Address) or end in _GLOBAL_UNICAST


def listed(address: Address, allowed: tuple[Network, ...]) -> bool:
    """Whether the operator has listed a network that the connection would end in."""
    end = judged(address)
    return any(end in network for network in allowed)


def loopback_listed(allowed: tuple[Network, ...]) -> bool:
    """Whether the operator has listed a network of this machine's own addresses."""
    return any(_is_loopback(network) for network in allowed)


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def _is_loopback(network: Network) -> bool:
    if isinstance(network, IPv4Network):
        return network.subnet_of(IPv4Network("127.0.0.0/8"))
    return network.subnet_of(IPv6Network("::1/128"))
