"""The time of day, and how the wire writes it. Never sleeps."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], float]


def now() -> float:
    """Unix seconds of the wall clock; tests hand the account a clock of their own instead."""
    return time.time()


def seconds(at: float) -> str:
    """RFC 3339, UTC, seconds, `Z`: the precision of the seed's `expiresAt`."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def milliseconds(at: float) -> str:
    """RFC 3339, UTC, milliseconds, `Z`: for the books, where lags are measured."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
