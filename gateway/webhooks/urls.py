"""Which URLs a caller may name, as far as the text alone tells. Pure: resolves and connects to nothing.

What a name leads to is judged at each try, on the address that is then called. A URL for webhooks and one of a picture
are held to the same rules; only the words of a refusal differ.
"""

from enum import StrEnum
from typing import Final

import httpx

from gateway import errors
from gateway.webhooks import addresses
from gateway.webhooks.addresses import Network

LENGTH_MAX: Final = 2083


class Use(StrEnum):
    """What a URL is named for, as the end of a sentence."""

    WEBHOOKS = "webhooks may be sent to"
    PICTURES = "pictures may be fetched from"


def check(url: object, allowed: tuple[Network, ...], *, param: str, use: Use = Use.WEBHOOKS) -> str:
    """The URL, if it may be called for that; an ``InvalidParameter`` says why not.

    Plain http is for the networks that the operator has listed (``allowed``) and for no others.
    """
    if not isinstance(url, str) or not url:
        raise _bad(param, "give a URL such as https://example.com/hooks")
    if len(url) > LENGTH_MAX:
        raise _bad(param, f"at most {LENGTH_MAX} characters")
    if not url.isprintable() or " " in url or "\\" in url:
        raise _bad(param, "spaces, backslashes and control characters have to be percent-encoded")
    target = _parsed(url, param, use)
    if target.scheme == "http" and not allowed:
        raise _bad(param, "use https; plain http is for networks in TORII_WEBHOOK_ALLOW_NETS alone")
    _require_host(target, allowed, param, use)
    return url


def origin(url: str) -> str:
    """Scheme, host and port of a URL that was taken; the rest of it may be a secret of the receiver's."""
    target = httpx.URL(url)
    return f"{target.scheme}://{target.netloc.decode('ascii')}/"


def _parsed(url: str, param: str, use: Use) -> httpx.URL:
    try:
        target = httpx.URL(url)
        port, host = target.port, target.raw_host
    except (httpx.InvalidURL, ValueError, UnicodeError):
        raise _bad(param, "not a URL") from None
    if target.scheme not in ("https", "http") or not host or b"%" in host:
        raise _bad(param, "use an https URL with a host")
    if target.userinfo:
        instead = "; the signature says who is calling" if use is Use.WEBHOOKS else ""
        raise _bad(param, f"leave out the user name and password{instead}")
    if "#" in url:
        raise _bad(param, "leave out the fragment; it is never sent")
    if port is not None and not 0 < port < 1 << 16:
        raise _bad(param, "the port is out of range")
    return target


def _require_host(target: httpx.URL, allowed: tuple[Network, ...], param: str, use: Use) -> None:
    host = target.raw_host.decode("ascii")
    try:
        spelled = addresses.literal(host)
    except ValueError:
        raise _bad(param, "the host is neither a name nor an address in its usual spelling") from None
    if spelled is not None:
        if not addresses.permitted(spelled, allowed):
            raise _bad(param, f"the address is not one that {use}")
        if target.scheme == "http" and not addresses.listed(spelled, allowed):
            raise _bad(param, "use https; plain http is for networks in TORII_WEBHOOK_ALLOW_NETS alone")
    elif _is_this_machine(host) and not addresses.loopback_listed(allowed):
        raise _bad(param, f"the host is not one that {use}")


def _is_this_machine(host: str) -> bool:
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")


def _bad(param: str, why: str) -> errors.InvalidParameter:
    return errors.InvalidParameter(f"{param}: {why}", param=param)
