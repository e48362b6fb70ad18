"""Whether a caller has a job's answer already: its weak ``ETag``, and what ``If-None-Match`` says. Pure.

Each reading signs its links anew, so two answers that say the same are never the same bytes. The tag is of what they
say, and of the half of the links' life that they were signed in: whoever is told that nothing is new has links that
live for at least the other half.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from service import wire

#: What differs from one reading to the next though nothing has changed.
_SIGNED: Final = frozenset({"expiresAt", "output", "assets"})
_CHARACTERS: Final = 24


def tag(body: Mapping[str, Any], now: datetime, link_life_s: int) -> str:
    """The weak tag (RFC 9110 section 8.8.3) of a job's body as it is rendered now."""
    said: dict[str, Any] = {name: value for name, value in body.items() if name not in _SIGNED}
    if "assets" in body:
        said["pictures"] = [asset["sha256"] for asset in body["assets"]]
        said["signed"] = int(now.timestamp() / max(link_life_s / 2, 0.5))
    return f'W/"{hashlib.sha256(wire.encode(said)).hexdigest()[:_CHARACTERS]}"'


def has_it(headers: Mapping[str, str], its: str) -> bool:
    """Whether ``If-None-Match`` (RFC 9110 section 13.1.2) lists that tag; compared weakly, as it says."""
    return lists(headers.get("if-none-match", ""), its)


def lists(said: str, its: str) -> bool:
    """As ``has_it``, of what ``If-None-Match`` says."""
    tags = [given.strip().removeprefix("W/") for given in said.split(",")]
    return "*" in tags or its.removeprefix("W/") in tags
