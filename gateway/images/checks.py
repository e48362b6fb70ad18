"""What must hold within a catalogue file beyond the types of its fields. Never repairs a mistake: it names it."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType

import msgspec

from gateway import errors
from gateway.images import parameters as values
from gateway.images import spelling
from gateway.images.model import ANY_RESOLUTION, Parameter

#: Fields of a request's body that are not the model's.
RESERVED_NAMES = frozenset({"webhook_url", "torii"})
#: An id stands in paths and labels, a parameter's name in JSON bodies.
API_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
TYPICAL_MAX_S = 3_600
#: The largest integer that every reader of JSON keeps exact.
INTEGER_MAX = 2**53 - 1


class Mistake(ValueError):
    """A catalogue file contradicts itself; the text begins with the field."""


def rows(parameters: Iterable[Parameter]) -> tuple[Parameter, ...]:
    """The rows of a parameter table, checked, with defaults in canonical spelling. Raises ``Mistake``."""
    checked: dict[str, Parameter] = {}
    for parameter in parameters:
        if parameter.name in checked:
            raise Mistake(f"parameter {parameter.name}: stands there twice")
        try:
            checked[parameter.name] = _row(parameter)
        except Mistake as mistake:
            raise Mistake(f"parameter {parameter.name}: {mistake}") from None
    _prompt(checked.get("prompt"))
    return tuple(checked.values())


def resolution(table: Iterable[Parameter], named: str | None) -> str | None:
    """The name of the parameter that decides the price, or None for one price for all. Raises ``Mistake``."""
    found = _named(table, "resolution", named, usual="resolution")
    if found is not None and (found.type != "enum" or not _always_has_value(found)):
        raise Mistake(f"resolution: {found.name} must be an enum with a default, or required")
    return found.name if found else None


def outputs(table: Iterable[Parameter], named: str | None) -> str | None:
    """The name of the parameter that says how many pictures, or None for one. Raises ``Mistake``."""
    found = _named(table, "outputs", named, usual="num_outputs")
    if found is None:
        return None
    if found.type != "integer" or not _always_has_value(found) or (found.minimum or 0) < 1:
        raise Mistake(f"outputs: {found.name} must be an integer of at least 1 with a default, or required")
    return found.name


def prices(table: Iterable[Parameter], priced_by: str | None, priced: Collection[str]) -> tuple[str, ...]:
    """The rows of the price table in order: one for each resolution, and no other. Raises ``Mistake``."""
    needed = next((parameter.enum for parameter in table if parameter.name == priced_by), (ANY_RESOLUTION,))
    for row in needed:
        if row not in priced:
            raise Mistake(f'prices: "{row}" has no price')
    for row in priced:
        if row not in needed:
            raise Mistake(f"prices: {spelling.shown(row)} is no resolution of this model")
    return needed


def _named(table: Iterable[Parameter], field: str, named: str | None, usual: str) -> Parameter | None:
    found = next((parameter for parameter in table if parameter.name == (named or usual)), None)
    if found is None and named is not None:
        raise Mistake(f"{field}: there is no parameter {named}")
    return found


def _always_has_value(parameter: Parameter) -> bool:
    return parameter.required or parameter.default is not None


def _prompt(prompt: Parameter | None) -> None:
    if prompt is None:
        raise Mistake("parameters: there is no prompt")
    if prompt.type != "string" or not prompt.required:
        raise Mistake("parameter prompt: must be a required string")


def _row(parameter: Parameter) -> Parameter:
    if not NAME.fullmatch(parameter.name) or parameter.name in RESERVED_NAMES:
        raise Mistake("name: must be of a-z, 0-9 and _, and neither webhook_url nor torii")
    if parameter.type not in _BY_TYPE:
        raise Mistake("type: reference images are switched on by [model.reference_images]")
    _strangers(parameter)
    _BY_TYPE[parameter.type](parameter)
    if parameter.always_sent and not _always_has_value(parameter):
        raise Mistake("always_sent: needs a default, or required = true")
    return _with_default(parameter)


def _with_default(parameter: Parameter) -> Parameter:
    if parameter.default is None:
        return parameter
    if parameter.required:
        raise Mistake("default: a required parameter has none")
    try:
        default = values.checked(parameter, parameter.default)
    except errors.InvalidParameter as invalid:
        raise Mistake(f"default: {invalid.message}") from None
    return msgspec.structs.replace(parameter, default=default)


def _strangers(parameter: Parameter) -> None:
    """Refuse a limit that this type does not know, for it would be believed to hold."""
    owners = (
        ("enum", bool(parameter.enum), ("enum",)),
        ("minimum", parameter.minimum is not None, ("integer", "number")),
        ("maximum", parameter.maximum is not None, ("integer", "number")),
        ("max_length", parameter.max_length is not None, ("string",)),
    )
    for field, is_set, types in owners:
        if is_set and parameter.type not in types:
            raise Mistake(f"{field}: is not for the type {parameter.type}")


def _string(parameter: Parameter) -> None:
    if parameter.max_length is None or parameter.max_length < 1:
        raise Mistake("max_length: a string needs one of at least 1 character")


def _enum(parameter: Parameter) -> None:
    if not parameter.enum or not all(member.strip() for member in parameter.enum):
        raise Mistake("enum: needs at least one value, and none blank")
    if len(set(parameter.enum)) != len(parameter.enum):
        raise Mistake("enum: a value stands there twice")


def _number(parameter: Parameter) -> None:
    minimum, maximum = parameter.minimum, parameter.maximum
    if minimum is None or maximum is None:
        raise Mistake(f"{'minimum' if minimum is None else 'maximum'}: is missing")
    if not (math.isfinite(minimum) and math.isfinite(maximum) and minimum <= maximum):
        raise Mistake("minimum: must be a number not above maximum")


def _integer(parameter: Parameter) -> None:
    _number(parameter)
    for field, limit in (("minimum", parameter.minimum), ("maximum", parameter.maximum)):
        if not isinstance(limit, int) or abs(limit) > INTEGER_MAX:
            raise Mistake(f"{field}: must be an integer of at most {INTEGER_MAX}")


def _boolean(_parameter: Parameter) -> None:
    """Refuse nothing: a boolean has no limits."""


_BY_TYPE: Mapping[str, Callable[[Parameter], None]] = MappingProxyType(
    {"string": _string, "enum": _enum, "number": _number, "integer": _integer, "boolean": _boolean}
)
