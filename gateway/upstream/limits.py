"""What an answer's headers say about the upstream's own limit (pixeldojo.md 1.9, 2.7). Pure; paces nothing itself.

Read leniently: ``X-RateLimit-Reset`` is documented as Unix seconds, met elsewhere as seconds from now, and either may
be garbage. Its clock is the upstream's, which its ``Date`` header tells.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from gateway.upstream import reading

#: Longest rest by a used-up window: a window is a minute, and a reset that lies further off is not believed.
LONGEST_WINDOW_S = 120.0
#: Longest rest by a ``Retry-After``: upstream copies of pictures die within an hour, so somebody has to ask again.
LONGEST_HALT_S = 600.0
#: A refusal that names no time.
UNTOLD_HALT_S = 5.0
_SHORTEST_HALT_S = 1.0
#: Below this a reset counts from now, above the other it is in milliseconds; between them it is a Unix time.
_FROM_NOW_BELOW = 10_000_000
_MILLISECONDS_ABOVE = 100_000_000_000
_DIGITS = 15


@dataclass(frozen=True)
class Notice:
    """What to heed of one answer. Rates are in requests a minute; none where nothing was said."""

    #: The answer was a 429: the present rate is too much.
    refused: bool = False
    #: Nobody asks anything for so long.
    halt_s: float = 0.0
    #: The limit as told: faster than this is never right.
    limit_rpm: int | None = None
    #: What is left of the window, spread over the rest of it; and how long that rest is.
    window_rpm: float | None = None
    window_s: float = 0.0


def notice(status_code: int, headers: Mapping[str, str], now: datetime) -> Notice:
    """What the answer says about pace."""
    refused = status_code == 429
    left = _number(headers, "x-ratelimit-remaining")
    limit = _number(headers, "x-ratelimit-limit")
    server_now = _server_time(headers) or now
    reset_s = _reset_s(headers, server_now)
    return Notice(
        refused=refused,
        halt_s=_halt_s(headers, server_now, refused=refused, used_up=left == 0, reset_s=reset_s),
        limit_rpm=limit or None,
        window_rpm=left * 60 / reset_s if left and reset_s else None,
        window_s=reset_s or 0.0,
    )


def _halt_s(
    headers: Mapping[str, str], server_now: datetime, *, refused: bool, used_up: bool, reset_s: float | None
) -> float:
    if not refused and not used_up:
        return 0.0
    told = reading.retry_after_s(headers, server_now) if refused and "retry-after" in headers else None
    if told is not None:
        return min(max(told, _SHORTEST_HALT_S), LONGEST_HALT_S)
    return UNTOLD_HALT_S if reset_s is None else reset_s


def _reset_s(headers: Mapping[str, str], server_now: datetime) -> float | None:
    """Seconds until the window begins anew, within reason; none where that is not told."""
    told = _number(headers, "x-ratelimit-reset")
    if told is None:
        return None
    if told < _FROM_NOW_BELOW:
        wait_s = float(told)
    else:
        wait_s = (told / 1000 if told > _MILLISECONDS_ABOVE else told) - server_now.timestamp()
    return min(max(wait_s, _SHORTEST_HALT_S), LONGEST_WINDOW_S)


def _number(headers: Mapping[str, str], name: str) -> int | None:
    said = headers.get(name, "").strip()
    return int(said) if said.isascii() and said.isdigit() and len(said) <= _DIGITS else None


def _server_time(headers: Mapping[str, str]) -> datetime | None:
    try:
        at = parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    return at.replace(tzinfo=at.tzinfo or UTC)
