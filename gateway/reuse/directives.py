"""What a request says about the cache, and what its answer says of it: ``Cache-Control``, ``Cache-Status``, ``Age``.

Pure. RFC 9111 section 5.2.1 for the request's directives, RFC 9211 for the answer's field.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from gateway.reuse.answer import Answer

#: As this cache calls itself in ``Cache-Status``.
NAME: Final = "torii"
#: What RFC 9111 section 1.2.2 says of seconds that are more than a program can hold.
SECONDS_MAX: Final = 2**31

#: One directive: a token, perhaps with a token or a quoted string as its argument.
_DIRECTIVE = re.compile(
    r"\s*(?P<name>[!#$%&'*+\-.^_`|~0-9A-Za-z]+)"
    r"(?:\s*=\s*(?:(?P<token>[!#$%&'*+\-.^_`|~0-9A-Za-z]+)|\"(?P<quoted>(?:[^\"\\]|\\.)*)\"))?\s*"
)


@dataclass(frozen=True, slots=True)
class Directives:
    """What of a request's ``Cache-Control`` means anything here."""

    #: Neither read the cache nor share a flight.
    no_cache: bool = False
    #: Do not keep what comes of it.
    no_store: bool = False
    #: Answer from the cache or not at all.
    only_if_cached: bool = False
    #: Nothing older than this is good enough, in seconds.
    max_age_s: int | None = None
    #: Nothing that is good for less than this any more.
    min_fresh_s: int | None = None

    @property
    def plain(self) -> bool:
        """Any entry that is there will do."""
        return not self.no_cache and self.max_age_s is None and self.min_fresh_s is None

    def takes(self, answer: Answer, now: datetime) -> bool:
        """Whether an answer from the cache is good enough for the request."""
        if self.no_cache:
            return False
        if self.max_age_s is not None and answer.age_s(now) > self.max_age_s:
            return False
        left_s = answer.left_s(now)
        return self.min_fresh_s is None or left_s is None or left_s >= self.min_fresh_s


#: A request that says nothing of the cache.
_NOTHING: Final = Directives()


class Outcome(StrEnum):
    """How a request was handled; the label of its metric."""

    HIT = "hit"
    MISS = "miss"
    #: It shares another's flight.
    COLLAPSED = "collapsed"
    #: It is not one that is kept, or its caller would not have it from the cache.
    BYPASS = "bypass"


class Handling(StrEnum):
    """How a request was handled, as ``Cache-Status`` tells it."""

    HIT = "; hit"
    MISS = "; fwd=miss"
    COLLAPSED = "; fwd=miss; collapsed"
    #: It names no seed, so it wants another picture each time.
    BYPASS = "; fwd=bypass"
    #: Its ``Cache-Control`` would have no answer from the cache, or none like the one that is there.
    REQUEST = "; fwd=request"
    #: It would have an answer from the cache only, and there is none: it was sent nowhere.
    ONLY_IF_CACHED = "; detail=only-if-cached"

    @property
    def outcome(self) -> Outcome:
        """Under which label it is counted."""
        return _OUTCOMES.get(self, Outcome.MISS)


_OUTCOMES: Final = MappingProxyType(
    {
        Handling.HIT: Outcome.HIT,
        Handling.COLLAPSED: Outcome.COLLAPSED,
        Handling.BYPASS: Outcome.BYPASS,
        Handling.REQUEST: Outcome.BYPASS,
    }
)


def read(header: str | None) -> Directives:
    """The directives of a request's ``Cache-Control`` (all its lines, joined by commas).

    What is not known means nothing. A number that is none counts as the strictest, and of several the strictest counts:
    a caller that asked for something rather gets a fresh picture than one that it would not have. A list that cannot be
    read from some point on counts up to there.
    """
    if not header:
        return _NOTHING
    given: dict[str, list[str]] = {}
    for name, argument in _split(header):
        given.setdefault(name, []).append(argument)
    return Directives(
        no_cache="no-cache" in given,
        no_store="no-store" in given,
        only_if_cached="only-if-cached" in given,
        max_age_s=min((_seconds(each, 0) for each in given.get("max-age", [])), default=None),
        min_fresh_s=max((_seconds(each, SECONDS_MAX) for each in given.get("min-fresh", [])), default=None),
    )


def _split(header: str) -> list[tuple[str, str]]:
    found, position = [], 0
    while position < len(header):
        if header[position] in ", \t":
            position += 1
            continue
        match = _DIRECTIVE.match(header, position)
        if match is None or (match.end() < len(header) and header[match.end()] != ","):
            break
        found.append((match["name"].lower(), match["token"] or match["quoted"] or ""))
        position = match.end()
    return found


def _seconds(text: str, strictest: int) -> int:
    return min(int(text), SECONDS_MAX) if text.isascii() and text.isdigit() else strictest


def cache_status(handling: Handling) -> str:
    """The value of ``Cache-Status``."""
    return NAME + handling.value


def age(answer: Answer, now: datetime) -> str:
    """The value of ``Age``: whole seconds since the answer was first given."""
    return str(min(answer.age_s(now), SECONDS_MAX))
