"""Who may read metrics and the parts' state: the holder of ``TORII_METRICS_TOKEN``, or, without one, this machine.

Pure, and the same rule at both doors. Never logs what it was shown.
"""

import hmac
import ipaddress

_SCHEME = "bearer"


def granted(token: str | None, authorization: str | None, client_host: str | None) -> bool:
    """Whether to answer: by the bearer token (RFC 6750) where one is set, else only to a peer on loopback.

    ``authorization`` is the header's text, ``client_host`` the peer's address as the socket tells it. A door that sees
    signs of a proxy passes ``None`` for the host: then the peer's address says nothing about who is asking.
    """
    if token is None:
        return client_host is not None and _is_loopback(client_host)
    scheme, _, shown = (authorization or "").partition(" ")
    # Compared as bytes: compare_digest refuses texts that are not ASCII.
    same = hmac.compare_digest(shown.strip().encode(errors="replace"), token.encode())
    return same and scheme.lower() == _SCHEME


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
