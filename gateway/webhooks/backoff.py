"""When a webhook that was not taken is tried again. Pure: moments, chance and what the receiver said are passed in."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

_MINUTE, _HOUR = 60, 3600
#: The wait after each try of a round, in seconds: a little under a day in all.
WAITS_S: Final = (5, 30, 2 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE, _HOUR, 2 * _HOUR, 4 * _HOUR, 8 * _HOUR, 8 * _HOUR)
#: A round is over after this long, however few its tries were.
LONGEST_ROUND: Final = timedelta(hours=24)
#: Each wait is longer or shorter by at most this part, so that what failed together does not come back together.
JITTER: Final = 0.1


def next_try(
    round_at: datetime, tries: int, now: datetime, *, chance: float, told_s: float | None = None
) -> datetime | None:
    """The moment of the next try after so many of the round; none when it is over.

    ``chance`` is from 0 to 1. What the receiver told (``Retry-After``) makes a wait longer, never shorter, and does not
    reach beyond the round's end.
    """
    end = round_at + LONGEST_ROUND
    if tries > len(WAITS_S) or now >= end:
        return None
    wait_s = WAITS_S[tries - 1] * (1 + JITTER * (2 * chance - 1))
    if told_s is None:
        return now + timedelta(seconds=wait_s)
    # Told before the days are added: a receiver may say any number.
    left_s = (end - now).total_seconds()
    return now + timedelta(seconds=max(wait_s, min(told_s, left_s)))


def told_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """The seconds of a ``Retry-After``, a number or a date (RFC 9110 section 10.2.3); none for anything else."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return max((at - now).total_seconds(), 0.0)
