"""A value as a panel writes it, in the units that the dashboards use. Pure."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

_SUFFIX: Final = "suffix:"
_THOUSAND: Final = 1000


def shown(value: float, unit: str, decimals: int | None = None) -> str:
    """Return the value with its unit; KeyError for a unit that no panel used so far."""
    if not math.isfinite(value):
        return "-"
    if unit.startswith(_SUFFIX):
        return f"{_number(value, decimals)} {unit.removeprefix(_SUFFIX).strip()}"
    return UNITS[unit](value, decimals)


def _number(value: float, decimals: int | None) -> str:
    if decimals is None:
        size = abs(value)
        decimals = 0 if size >= 100 else 1 if size >= 10 else 2
        text = f"{value:.{decimals}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.{decimals}f}"


def _short(value: float, decimals: int | None) -> str:
    return f"{_number(value / _THOUSAND, decimals)} K" if abs(value) >= _THOUSAND else _number(value, decimals)


def _seconds(value: float, decimals: int | None) -> str:
    if value == 0:
        return "0 s"
    for bound, factor, unit in ((0.001, 1e6, "µs"), (1, 1000, "ms"), (60, 1, "s"), (3600, 1 / 60, "min")):
        if abs(value) < bound:
            return f"{_number(value * factor, decimals)} {unit}"
    return _hours(value / 3600, decimals)


def _hours(value: float, decimals: int | None) -> str:
    many = abs(value) >= 48
    return f"{_number(value / 24 if many else value, decimals)} {'days' if many else 'hours'}"


def _share(value: float, decimals: int | None) -> str:
    return f"{_number(value * 100, decimals)} %"


def _rate(value: float, decimals: int | None) -> str:
    return f"{_short(value, decimals)}/s"


def _switch(value: float, _: int | None) -> str:
    return "On" if value else "Off"


UNITS: Final[Mapping[str, Callable[[float, int | None], str]]] = MappingProxyType(
    {
        "short": _short,
        "s": _seconds,
        "h": _hours,
        "percentunit": _share,
        "reqps": _rate,
        "bool_on_off": _switch,
    }
)
