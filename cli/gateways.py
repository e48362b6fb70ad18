"""Addresses of gateways as people write them. Opens no connection, and loads no HTTP client."""

from urllib.parse import urlsplit

from gateway import errors

_API = "/api/v1"
_SHOWN = 80


def address(option: str, text: str) -> str:
    """The base URL that was meant, without a slash at its end; ``InvalidParameter`` names the option.

    A PixelDojo client's base URL, which ends with the API's path, is taken for its gateway's.
    """
    base = text.strip().rstrip("/").removesuffix(_API)
    try:
        parts = urlsplit(base)
        host, _ = parts.hostname, parts.port
        base.encode("ascii")
    except ValueError:
        raise _wrong(option, text) from None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or not base.isprintable():
        raise _wrong(option, text)
    return base


def _wrong(option: str, text: str) -> errors.InvalidParameter:
    return errors.InvalidParameter(
        f"{option}: {text[:_SHOWN]!r} is no address such as https://torii.example.com", param=option.lstrip("-")
    )
