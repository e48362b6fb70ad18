"""Who may read metrics and the parts' state: the holder of ``TORII_METRICS_TOKEN``, or, without one, this machine.

Pure, and the same rule at both doors. Never logs what it was shown.
"""

import hmac
import ipaddress
from collections.abc import Container
from typing import Final

_SCHEME: Final = "bearer"
#: A proxy that adds one of these stands between us and the one who asks, who then is not on this machine.
_PROXY_SIGNS: Final = (
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
)


def granted(token: str | None, authorization: str | None, client_host: str | None) -> bool:
    """Whether to answer: by the bearer token (RFC 6750) where one is set, else only to a peer on loopback.

    ``authorization`` is the header's text, ``client_host`` what ``asker`` says.
    """
    if token is None:
        return client_host is not None and _is_loopback(client_host)
    scheme, _, shown = (authorization or "").partition(" ")
    # Compared as bytes: compare_digest refuses texts that are not ASCII.
    same = hmac.compare_digest(shown.strip().encode(errors="replace"), token.encode())
    return same and scheme.lower() == _SCHEME


def asker(peer: str | None, headers: Container[str]) -> str | None:
    """The address of who is asking: the socket's peer, or nobody's where a proxy's header says that it is not he.

    ``headers`` answers for names in lower case.
    """
    return None if any(name in headers for name in _PROXY_SIGNS) else peer


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
