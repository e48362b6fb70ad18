"""A model's parameters as a form, and a form as the body of a run. Pure: what may be is checked by the house alone.

Each field says its range and its default, so that nobody has to guess what is allowed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from gateway.images.model import Model, Parameter

#: Numbers that can be chosen at a glance are.
_CHOICES_MAX: Final = 6
_LONG_TEXT: Final = 500


@dataclass(frozen=True)
class Field:
    """One parameter as it is asked for."""

    name: str
    label: str
    #: ``prompt``, ``text``, ``choice``, ``number``, ``check`` or ``lines``.
    kind: str
    help: str
    range: str
    value: str
    required: bool
    options: Sequence[str] = ()
    minimum: float | None = None
    maximum: float | None = None
    step: str | None = None
    max_length: int | None = None
    checked: bool = False


def of(model: Model, given: Mapping[str, Any]) -> list[Field]:
    """The fields of a model in its own order, filled in with what is given, else with defaults."""
    return [_field(parameter, given) for parameter in model.parameters]


def body(model: Model, form: Mapping[str, str]) -> dict[str, object]:
    """The body that a form asks for, without what was left blank. What is no number is for the house to refuse."""
    found: dict[str, object] = {}
    for parameter in model.parameters:
        text = form.get(parameter.name, "")
        if parameter.type == "boolean":
            found[parameter.name] = parameter.name in form
        elif text:
            found[parameter.name] = _value(parameter, text)
    return found


def _value(parameter: Parameter, text: str) -> object:
    if parameter.type == "images":
        return [line.strip() for line in text.splitlines() if line.strip()]
    if parameter.type not in ("integer", "number"):
        return text
    try:
        return int(text) if text.lstrip("-").isdecimal() and len(text) < 20 else float(text)
    except ValueError:
        return text


def _field(parameter: Parameter, given: Mapping[str, Any]) -> Field:
    value = given.get(parameter.name, parameter.default)
    options = _options(parameter)
    kind = "choice" if options else _KINDS[parameter.type]
    if kind == "text" and (parameter.max_length or 0) > _LONG_TEXT:
        kind = "prompt"
    return Field(
        name=parameter.name,
        label=_label(parameter.name),
        kind=kind,
        help=parameter.description,
        range=_range(parameter),
        value=_text(value),
        required=parameter.required,
        options=options,
        minimum=parameter.minimum,
        maximum=parameter.maximum,
        step="1" if parameter.type == "integer" else "any",
        max_length=parameter.max_length,
        checked=value is True,
    )


_KINDS: Final = MappingProxyType(
    {"string": "text", "integer": "number", "number": "number", "boolean": "check", "images": "lines"}
)


def _options(parameter: Parameter) -> Sequence[str]:
    if parameter.type == "enum":
        return parameter.enum
    low, high = parameter.minimum, parameter.maximum
    if parameter.type != "integer" or low is None or high is None or high - low >= _CHOICES_MAX:
        return ()
    return tuple(str(number) for number in range(int(low), int(high) + 1))


def _range(parameter: Parameter) -> str:
    """What may be given, in a few words."""
    if parameter.type == "enum":
        said = f"{len(parameter.enum)} choices"
    elif parameter.type == "images":
        said = f"up to {parameter.maximum} URLs, one a line"
    elif parameter.minimum is not None and parameter.maximum is not None:
        said = f"{parameter.minimum:,} to {parameter.maximum:,}"
    elif parameter.max_length is not None:
        said = f"up to {parameter.max_length:,} characters"
    else:
        said = "on or off"
    if parameter.default is not None:
        said += f", default {_text(parameter.default)}"
    elif not parameter.required:
        said += ", optional"
    return said


def _label(name: str) -> str:
    words = name.replace("_", " ").replace("num ", "number of ")
    return words[:1].upper() + words[1:]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return "\n".join(str(each) for each in value)
    return str(value)
