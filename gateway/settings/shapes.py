"""What the text of a setting must look like, as pure functions from text to value; each raises ``ValueError``.

Every message completes the sentence "VARIABLE …". Never repeats the text of a setting that may hold a secret, never
looks anything up, never opens anything.
"""

import ipaddress
import re
from typing import NamedTuple, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

#: RFC 7617 and RFC 6750 credentials travel in one header: anything else in them could not be sent.
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")
#: RFC 1123 section 2.1, and underscores, which container networks use.
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
#: The names S3 takes today: 3 to 63 of lower-case letters, digits, dots and hyphens.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*(?:[A-Za-z0-9_-][A-Za-z0-9._-]*)?")

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

#: An origin as browsers write it (RFC 6454 section 6.2): nothing follows the host but a port that is not the usual one.
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9_-][a-z0-9._-]*)(?::([1-9][0-9]{0,4}))?")
_USUAL_PORTS = frozenset({("http", "80"), ("https", "443")})
ANY_ORIGIN = "*"

#: RFC 9110 section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_SECRET_CHARACTERS_MIN = 32
_METRICS_TOKEN_CHARACTERS_MIN = 16
_PORT_MAX = 65_535


class ResultHost(NamedTuple):
    """A host from which results may be downloaded; without a port, the scheme's own."""

    host: str
    port: int | None


def is_loopback(host: str) -> bool:
    """Whether ``host`` (a name or an address, IPv6 without brackets) can only be this machine."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bracketed(host: str) -> str:
    """The host as it is written in a URL: IPv6 addresses stand in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def host(text: str) -> str:
    """A host name or an address, with neither scheme nor port; an IPv6 address may stand in brackets."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if not _is_address(bare) and not _HOST_NAME.fullmatch(bare):
        raise ValueError(f"must be a host name or an address without scheme and port, not {text!r}")
    return bare


def result_hosts(text: str) -> tuple[ResultHost, ...]:
    """A comma list of ``host`` or ``host:port``, lower-cased, in the order given."""
    return tuple(_result_host(element) for element in _elements(text))


def networks(text: str) -> tuple[Network, ...]:
    """A comma list of networks as CIDRs, each without host bits; a single address is a network of one."""
    return tuple(_network(element) for element in _elements(text))


def proxies(text: str) -> tuple[Network, ...]:
    """As `networks`, and not everybody: of callers who are all trusted each may say to be anyone."""
    found = networks(text)
    if any(network.prefixlen == 0 for network in found):
        raise ValueError("must not trust every address; name the networks that your proxies are in")
    return found


def origins(text: str) -> tuple[str, ...]:
    """A comma list of origins as browsers send them, or ``*`` alone."""
    found = tuple(_origin(element) for element in _elements(text))
    if ANY_ORIGIN in found and len(found) > 1:
        raise ValueError("must be either * or a comma list of origins, not both")
    return found


def credential(text: str) -> str:
    """A secret that travels in a header: visible ASCII, not judged further."""
    if not _VISIBLE_ASCII.fullmatch(text):
        raise ValueError("must be visible ASCII characters without blanks")
    return text


def metrics_token(text: str) -> str:
    """The bearer token of the metrics: visible ASCII, 16 characters or more."""
    if len(credential(text)) < _METRICS_TOKEN_CHARACTERS_MIN:
        raise ValueError(f"must have at least {_METRICS_TOKEN_CHARACTERS_MIN} characters")
    return text


def admin_tokens(text: str) -> tuple[str, ...]:
    """A comma list of bearer tokens, each of visible ASCII and 32 characters or more; the first is the current one."""
    return tuple(credential(element) for element in secret_keys(text))


def secret_keys(text: str) -> tuple[str, ...]:
    """A comma list of secrets, each of 32 characters or more; the first is the current one."""
    elements = _elements(text)
    if any(len(element) < _SECRET_CHARACTERS_MIN for element in elements):
        raise ValueError(f"must have at least {_SECRET_CHARACTERS_MIN} characters in each element of its comma list")
    return elements


def database_url(text: str) -> str:
    """``sqlite+aiosqlite:///`` and a file's path, or ``postgresql+asyncpg://`` and a server.

    A database in memory is refused: money is written there.
    """
    scheme, _, rest = text.partition("://")
    if scheme == "sqlite+aiosqlite":
        path = rest.partition("?")[0]
        if not path.startswith("/") or path == "/" or ":memory:" in rest or "mode=memory" in rest:
            raise ValueError("must name a file after sqlite+aiosqlite:///, since the books must outlive the process")
    elif scheme != "postgresql+asyncpg" or not rest:
        raise ValueError("must begin with sqlite+aiosqlite:/// or postgresql+asyncpg://")
    return text


def redis_url(text: str) -> str:
    """``redis://``, ``rediss://`` with a host, or ``unix://`` with a socket's path."""
    parts = _split(text)
    if parts.scheme == "unix" and parts.path:
        return text
    if parts.scheme in {"redis", "rediss"} and parts.hostname:
        return text
    raise ValueError("must be redis://HOST…, rediss://HOST… or unix:///PATH")


def archive_url(text: str) -> str:
    """A folder's path, or ``s3://bucket/prefix`` with plain characters; a trailing slash is dropped."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text
    bucket, _, prefix = rest.rstrip("/").partition("/")
    if scheme != "s3" or not _BUCKET.fullmatch(bucket) or not _PREFIX.fullmatch(prefix):
        # Not repeated: whoever tries s3://key:secret@bucket would see the secret in the log.
        raise ValueError("must be a folder, or s3://BUCKET/PREFIX of plain letters, digits, dots, hyphens and slashes")
    return text.rstrip("/")


def web_url(text: str) -> str:
    """An ``http://`` or ``https://`` URL with neither user, query nor fragment; its trailing slash is dropped."""
    parts = _split(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not text.isprintable() or " " in text:
        raise ValueError("must be an http:// or https:// URL")
    if "@" in parts.netloc or "?" in text or "#" in text:
        raise ValueError("must have neither user, password, query nor fragment")
    return text.rstrip("/")


def pairs(text: str) -> tuple[tuple[str, str], ...]:
    """A comma list of ``name=value``, the values percent-encoded where they need it (W3C Baggage, as OpenTelemetry)."""
    found = []
    for element in _elements(text):
        name, sign, value = element.partition("=")
        if not sign or not _TOKEN.fullmatch(name.strip()):
            # Not repeated: it may be half of a header with a key.
            raise ValueError("must be a comma list of name=value; write a comma within a value as %2C")
        found.append((name.strip(), unquote(value.strip())))
    return tuple(found)


def header_list(text: str) -> str:
    """As `pairs`, each value such as a header may have; given back as it was, since it is a secret."""
    for _, value in pairs(text):
        if not value.isascii() or not value.isprintable():
            raise ValueError("must have values of visible ASCII characters, percent-encoded where they need it")
    return text


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port  # read only for its check: a port that is not one raises
    except ValueError:
        raise ValueError("must be a URL whose host and port are well formed") from None
    return parts


def _elements(text: str) -> tuple[str, ...]:
    return tuple(element.strip() for element in text.split(","))


def _result_host(text: str) -> ResultHost:
    if _is_address(text) and ":" in text:
        return ResultHost(text.lower(), None)
    name, port = text, None
    if not text.endswith("]") and ":" in text:
        name, _, digits = text.rpartition(":")
        port = _port(digits)
    return ResultHost(host(name).lower(), port)


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(f"must be a comma list of networks such as 10.0.0.0/8 or fd00::/8, not {text!r}") from None


def _origin(text: str) -> str:
    """The one spelling that browsers use: in lower case, and without the port that its scheme has anyway."""
    if text == ANY_ORIGIN:
        return text
    parts = _ORIGIN.fullmatch(text.lower())
    if parts is None:
        raise ValueError(
            f"must be a comma list of origins such as https://app.example.com, without a path, not {text!r}"
        )
    scheme, host, digits = parts.groups()
    if digits is None or (scheme, digits) in _USUAL_PORTS:
        return f"{scheme}://{host}"
    return f"{scheme}://{host}:{_port(digits)}"


def _port(digits: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", digits) or not 1 <= int(digits) <= _PORT_MAX:
        raise ValueError(f"must have ports between 1 and {_PORT_MAX}, not {digits!r}")
    return int(digits)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
