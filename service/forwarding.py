"""Who is asking, behind proxies: what their headers say is believed of listed ones alone (``TORII_TRUSTED_PROXIES``).

Around everything else, so that logs, slowed callers and the framework see one address. Believes no host and no port of
the gateway's own (that is ``TORII_PUBLIC_URL``), and never makes anybody a caller on this machine.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.settings.shapes import Network

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

#: The ASGI scope's member that says that a listed proxy stands between us and who asks.
PROXIED: Final = "torii.proxied"
#: Nobody has longer chains; a list that goes on is not read to its end.
_HOPS_MAX: Final = 32
_PORT_MAX: Final = 65_535
#: An address, of IPv6 in brackets if a port follows (RFC 7239 section 6, and what is written into X-Forwarded-For).
_NODE: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9.]{7,15}))(?::([0-9]{1,5}))?|([0-9A-Fa-f:.]{2,45})")
#: A pair of RFC 7239 section 4, and what ends it; within quotes neither comma nor semicolon does.
_PAIR: Final = re.compile(
    r"[ \t]*+(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)="
    r"(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|\"((?:[^\"\\]|\\.)*)\"))?[ \t]*+([;,]|\Z)"
)
_SCHEMES: Final = frozenset({"http", "https"})


class Hop(NamedTuple):
    """One step of a request's way: where it came from, and by which scheme if that was said."""

    host: str
    port: int
    scheme: str | None = None


class _Unreadable(Exception):
    """A header that is not what it should be: nothing in it is believed."""


class Forwarded:
    """An ASGI app around another one, which then sees who is asking and not which proxy handed it on."""

    def __init__(self, inner: ASGIApp, trusted: Sequence[Network]) -> None:
        self._inner = inner
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, of whoever it is."""
        if scope["type"] == ScopeType.HTTP:
            self._resolve(scope)  # type: ignore[arg-type]  # the framework's type knows no members of ours
        await self._inner(scope, receive, send)

    def _resolve(self, scope: dict[str, Any]) -> None:
        peer = scope.get("client")
        if peer is None or not _listed(_address(peer[0]), self._trusted):
            return
        scope[PROXIED] = True
        origin = resolve(scope["headers"], self._trusted)
        if origin is not None:
            scope["client"] = (origin.host, origin.port)
        said = _scheme(scope["headers"]) or (origin and origin.scheme)
        if said:
            scope["scheme"] = said


def resolve(headers: Headers, trusted: Sequence[Network]) -> Hop | None:
    """Where a request came from that a listed proxy handed on: the nearest hop that is no listed proxy itself.

    ``X-Forwarded-For`` goes before ``Forwarded``: a proxy that writes the one may pass the other on unread. None where
    nothing was said, or what was said cannot be read as far as it has to be.
    """
    said = _said(headers, b"x-forwarded-for")
    hops = (_hop(text) for text in reversed(said)) if said else _forwarded(headers)
    try:
        return _nearest(hops, trusted)
    except _Unreadable:
        return None


def _nearest(hops: Iterator[Hop], trusted: Sequence[Network]) -> Hop | None:
    """The first hop outside the networks, from our side; the farthest one where all of them are inside."""
    last: Hop | None = None
    for last in islice(hops, _HOPS_MAX):
        if not _listed(_address(last.host), trusted):
            return last
    return last if next(hops, None) is None else None


def _said(headers: Headers, name: bytes) -> list[str]:
    """The elements of a list header, over all its lines in order; empty ones do not count (RFC 9110 section 5.6.1)."""
    lines = b",".join(value for key, value in headers if key == name).decode("latin-1")
    return [element for element in (part.strip(" \t") for part in lines.split(",")) if element]


def _scheme(headers: Headers) -> str | None:
    """What the nearest proxy said of it."""
    said = _said(headers, b"x-forwarded-proto")
    scheme = said[-1].lower() if said else ""
    return scheme if scheme in _SCHEMES else None


def _forwarded(headers: Headers) -> Iterator[Hop]:
    """The elements of ``Forwarded`` (RFC 7239), the nearest proxy's first."""
    text = b",".join(value for key, value in headers if key == b"forwarded").decode("latin-1")
    elements: list[dict[str, str]] = [{}]
    position = 0
    while position < len(text):
        found = _PAIR.match(text, position)
        if found is None:
            raise _Unreadable
        name, token, quoted, end = found.groups()
        if name is not None:
            value = token if token is not None else re.sub(r"\\(.)", r"\1", quoted)
            if elements[-1].setdefault(name.lower(), value) != value:
                raise _Unreadable
        if end == ",":
            elements.append({})
        position = found.end()
    for element in reversed([element for element in elements if element]):
        hop = _hop(element.get("for", ""))
        scheme = element.get("proto", "").lower()
        yield hop._replace(scheme=scheme if scheme in _SCHEMES else None)


def _hop(text: str) -> Hop:
    """An address with or without a port; neither a name, nor ``unknown``, nor an identifier that hides one."""
    found = _NODE.fullmatch(text)
    address = None if found is None else _address(found[1] or found[2] or found[4])
    if found is None or address is None or int(found[3] or 0) > _PORT_MAX:
        raise _Unreadable
    return Hop(str(address), int(found[3] or 0))


def _address(text: str) -> Address | None:
    """The address, of IPv4 in the one spelling whatever the socket's."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _listed(address: Address | None, trusted: Sequence[Network]) -> bool:
    return address is not None and any(address in network for network in trusted)
