"""Time, passed in. Wall-clock time is for people and records; durations and deadlines use the monotonic clock."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the house asks of a clock."""

    def now(self) -> datetime:
        """The time of day, UTC, with its zone."""

    def monotonic(self) -> float:
        """Seconds that never jump; comparable only inside this process."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The time of day, UTC, with its zone."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never jump; comparable only inside this process."""
        return time.monotonic()


def rfc3339(at: datetime) -> str:
    """RFC 3339 in UTC with ``Z`` and whole seconds, as the seed writes ``expiresAt``."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_ms(at: datetime) -> str:
    """RFC 3339 in UTC with ``Z`` and milliseconds, for moments whose order matters."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
