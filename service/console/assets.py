"""What the pages' style and script are: our own files, and htmx out of its installed package. Asks no other host.

An asset's URL carries a hash of its bytes, so a browser may keep it for good, and a new release is seen at once.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Final

PREFIX: Final = "/console/assets"
#: Of the hash, in hexadecimal: enough that no two releases' files meet.
_MARK_DIGITS: Final = 16
_OWN: Final = resources.files("service.console") / "static"
#: The package is there for its files alone: nothing of Django is ever imported.
_HTMX: Final = resources.files("django_htmx") / "static" / "django_htmx" / "htmx-2.min.js"


@dataclass(frozen=True)
class Asset:
    """One file as it is served."""

    url: str
    media_type: str
    data: bytes


@dataclass(frozen=True)
class Assets:
    """All of them, by the name that templates use and by their URLs."""

    by_name: Mapping[str, Asset]
    by_url: Mapping[str, Asset]

    def url(self, name: str) -> str:
        """Where that one is; ``KeyError`` for a name that a template made up."""
        return self.by_name[name].url


def load() -> Assets:
    """Read them all."""
    found = {
        "console.css": _asset(_OWN / "console.css", "text/css; charset=utf-8"),
        "console.js": _asset(_OWN / "console.js", "text/javascript; charset=utf-8"),
        "htmx.js": _asset(_HTMX, "text/javascript; charset=utf-8"),
        "icon.svg": _asset(_OWN / "icon.svg", "image/svg+xml"),
    }
    return Assets(MappingProxyType(found), MappingProxyType({asset.url: asset for asset in found.values()}))


def _asset(file: Traversable, media_type: str) -> Asset:
    data = file.read_bytes()
    mark = hashlib.sha256(data).hexdigest()[:_MARK_DIGITS]
    return Asset(f"{PREFIX}/{mark}/{file.name}", media_type, data)
