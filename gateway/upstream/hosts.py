"""Whether a result may be fetched from an address that the upstream named. Pure: looks at the text, resolves nothing.

An address given by another system is not to be trusted with our network: only listed hosts, only ``https``, with
plain ``http`` for loopback alone (the emulator). The upstream key is never sent there.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

#: A host and, where listed, the one port on it.
Host = tuple[str, int | None]


def allowed(url: str, hosts: tuple[Host, ...]) -> bool:
    """Whether the URL's host is listed and its scheme is fit for it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    host = (parts.hostname or "").lower()
    if not host or parts.username is not None or parts.password is not None:
        return False
    default = {"https": 443, "http": 80}.get(parts.scheme)
    if default is None or (parts.scheme == "http" and not loopback(host)):
        return False
    return any(host == name and listed in (None, port or default) for name, listed in hosts)


def loopback(host: str) -> bool:
    """Whether the host is this machine by its very name or number."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
