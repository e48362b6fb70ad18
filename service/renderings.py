"""Answers that were rendered a moment ago, for whoever asks for the same job again: the same bytes, and nothing anew.

An answer changes with the job, with what is left to its caller and with time, since its links are signed anew: so one
is used for the rest of its half second only. Decides nothing and reads nothing.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

MOST: Final = 1024
#: A rendering with more pictures, or more said of it, is made anew each time.
BYTES_MAX: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Rendering:
    """One answer's body, and what it was made of."""

    #: The very value: of an equal one it may be another answer.
    source: object
    details: object
    remaining_micros: int | None
    half_seconds: int
    body: bytes
    #: Its ``ETag``, where it has one.
    tag: str | None = None


class Renderings:
    """The answers that one process remembers; full, it forgets them all."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Rendering] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def find(
        self, name: Hashable, source: object, details: object, remaining_micros: int | None, now: datetime
    ) -> Rendering | None:
        """The answer of that name, if it was made of all that a moment ago."""
        kept = self._kept.get(name)
        if (
            kept is None
            or kept.source is not source
            or kept.details is not details
            or kept.remaining_micros != remaining_micros
            or kept.half_seconds != half_seconds(now)
        ):
            return None
        return kept

    def keep(self, name: Hashable, made: Rendering) -> None:
        """Remember an answer."""
        if len(made.body) > BYTES_MAX:
            return
        if len(self._kept) >= MOST and name not in self._kept:
            self._kept.clear()
        self._kept[name] = made


def half_seconds(at: datetime) -> int:
    """How many half seconds have passed since 1970: all times in an answer, which are whole seconds, change with it."""
    return int(at.timestamp() * 2)
