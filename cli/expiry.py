"""When a key shall expire, as people write it: ``30d``, ``12h``, or a moment in RFC 3339. Pure; reads no clock."""

import re
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from gateway import errors

_SPAN = re.compile(r"([0-9]{1,9})([mhdw])", re.ASCII)
_UNITS: Final = MappingProxyType({"m": "minutes", "h": "hours", "d": "days", "w": "weeks"})


def moment(text: str, now: datetime) -> datetime:
    """The moment that the text means at ``now``; ``InvalidParameter`` when it means none."""
    span = _SPAN.fullmatch(text)
    try:
        at = now + timedelta(**{_UNITS[span[2]]: int(span[1])}) if span else datetime.fromisoformat(text)
    except OverflowError:
        raise errors.InvalidParameter(f"--expires: {text} is too far away", param="expires") from None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise errors.InvalidParameter(
            f"--expires: {text[:60]!r} is neither a span such as 30m, 12h, 30d or 8w "
            "nor a moment such as 2027-01-31T00:00:00Z",
            param="expires",
        )
    return at
