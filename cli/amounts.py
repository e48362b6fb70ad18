"""Amounts and spans as people write them on a command line. Pure; reads no clock."""

import re
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Final

from gateway import errors

_SPAN = re.compile(r"([0-9]{1,9})([smhdw])", re.ASCII)
_SECONDS: Final = MappingProxyType({"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400})


def credits(option: str, text: str) -> Decimal:
    """The amount of that text, such as ``500`` or ``-0.25``; ``InvalidParameter`` names the option."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("nan")
    if not amount.is_finite():
        raise errors.InvalidParameter(
            f"{option}: {text[:40]!r} is no amount of credits such as 500 or 0.25", param=option.lstrip("-")
        )
    return amount


def seconds(option: str, text: str) -> int:
    """The seconds of a span such as ``24h``; ``InvalidParameter`` names the option."""
    span = _SPAN.fullmatch(text)
    if span is None:
        raise errors.InvalidParameter(
            f"{option}: {text[:40]!r} is no span such as 30m, 24h or 7d", param=option.lstrip("-")
        )
    return int(span[1]) * _SECONDS[span[2]]
