"""A caller's parameters, checked and brought into the one spelling that is priced, fingerprinted, kept and sent.

Two spellings of one request become one value: defaults are filled in, 3.0 is 3, names stand in catalogue order.
Never changes a text, never turns one type into another ("3" is no integer), never shows a prompt in an error.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from gateway import errors
from gateway.images import spelling
from gateway.images.model import Model, Parameter, Parameters, Value

#: Longest URL of a reference image, in characters: what the upstream's own upstream takes (pixeldojo.md 1.10).
URL_MAX_LENGTH = 2_083
#: What models call their reference images (pixeldojo.md 1.1 and 1.10): who sends one of these deserves the reason.
REFERENCE_NAMES = frozenset({"image", "images", "image_url", "image_urls", "input_image", "input_images", "mask_url"})


def canonical(model: Model, body: Mapping[str, object]) -> Parameters:
    """The parameters of a decoded JSON body, from which ``webhook_url`` and ``torii`` were already taken.

    Canonical parameters given as a body come back equal. A parameter without value and default is left out.
    Null is refused, as the upstream's schema would refuse it: it is not the same as leaving the field out.

    Raises ``UnknownParameter``, ``MissingParameter`` or ``InvalidParameter``; ``param`` names the field.
    """
    _refuse_unknown(model, body)
    parameters: dict[str, Value] = {}
    for parameter in model.parameters:
        if parameter.name in body:
            parameters[parameter.name] = checked(parameter, body[parameter.name])
        elif parameter.required:
            raise errors.MissingParameter(f"{parameter.name} is required", param=parameter.name)
        elif parameter.default is not None:
            parameters[parameter.name] = parameter.default
    return parameters


def checked(parameter: Parameter, value: object) -> Value:
    """The value in its canonical spelling. Raises ``InvalidParameter``, which says what is allowed."""
    if value is None:
        way_out = "" if parameter.required else "; leave it out instead"
        raise errors.InvalidParameter(f"{parameter.name} may not be null{way_out}", param=parameter.name)
    return _CHECKS[parameter.type](parameter, value)


def upstream_body(model: Model, parameters: Parameters) -> dict[str, object]:
    """The flat JSON body for ``POST /models/{apiId}/run`` (pixeldojo.md 1.1), of canonical parameters.

    Defaults are sent like any other value: what the fingerprint and the price promise must not change because the
    upstream changes a default. A seed that was not given has no value and is not sent.
    """
    return {
        parameter.name: parameters[parameter.name] for parameter in model.parameters if parameter.name in parameters
    }


def _refuse_unknown(model: Model, body: Mapping[str, object]) -> None:
    known = tuple(parameter.name for parameter in model.parameters)
    for name in body:
        if name in known:
            continue
        short = spelling.plain(name)
        tail = spelling.suggestion(name, known)
        if name in REFERENCE_NAMES and model.references is None:
            tail = "; reference images are switched off for it here"
        raise errors.UnknownParameter(f'{model.api_id} has no parameter "{short}"{tail}', param=short)


def _wrong(parameter: Parameter, allowed: str, value: object) -> errors.InvalidParameter:
    message = f"{parameter.name} must be {allowed}, not {spelling.shown(value)}"
    return errors.InvalidParameter(message, param=parameter.name)


def _string(parameter: Parameter, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(parameter, "a string", value)
    return _text(parameter, value, parameter.max_length or 0, blank=not parameter.required)


def _text(parameter: Parameter, text: str, max_length: int, *, blank: bool) -> str:
    fault = None
    if len(text) > max_length:
        fault = f"may have at most {max_length} characters, not {len(text)}"
    elif not blank and (not text or text.isspace()):
        fault = "may not be blank"
    elif "\0" in text:
        fault = "may not contain the character U+0000"  # PostgreSQL keeps no such text
    elif not _encodable(text):
        fault = "contains half of a surrogate pair, which is not text"
    if fault:
        raise errors.InvalidParameter(f"{parameter.name} {fault}", param=parameter.name)
    return text


def _encodable(text: str) -> bool:
    """Whether UTF-8 can write the text; half of an escaped surrogate pair in JSON decodes to what it cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _integer(parameter: Parameter, value: object) -> int:
    allowed = f"an integer from {parameter.minimum} to {parameter.maximum}"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not _within(parameter, value):
        raise _wrong(parameter, allowed, value)
    return value


def _number(parameter: Parameter, value: object) -> int | float:
    allowed = f"a number from {parameter.minimum} to {parameter.maximum}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(parameter, allowed, value)
    if not _within(parameter, value):  # holds for no NaN and no infinity
        raise _wrong(parameter, allowed, value)
    # 3.0 and 3 are one number, and so are -0.0 and 0.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _within(parameter: Parameter, value: float) -> bool:
    minimum = -math.inf if parameter.minimum is None else parameter.minimum
    maximum = math.inf if parameter.maximum is None else parameter.maximum
    return minimum <= value <= maximum


def _boolean(parameter: Parameter, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(parameter, "true or false", value)
    return value


def _enum(parameter: Parameter, value: object) -> str:
    if not isinstance(value, str) or value not in parameter.enum:
        allowed = ", ".join(f'"{member}"' for member in parameter.enum)
        raise _wrong(parameter, f"one of {allowed}", value)
    return value


def _images(parameter: Parameter, value: object) -> list[str]:
    allowed = f"a list of 1 to {parameter.maximum} uploads or URLs"
    if not isinstance(value, (list, tuple)) or not value or not _within(parameter, len(value)):
        raise _wrong(parameter, allowed, value)
    return [
        _image(msgspec.structs.replace(parameter, name=f"{parameter.name}[{place}]"), each)
        for place, each in enumerate(value)
    ]


def _image(parameter: Parameter, value: object) -> str:
    """A picture by its name; whether there is such an upload, and where a URL leads, is not this room's to say."""
    if not isinstance(value, str):
        raise _wrong(parameter, "an upload's id or a URL, as a string", value)
    return _text(parameter, value, URL_MAX_LENGTH, blank=False)


_CHECKS: Mapping[str, Callable[[Parameter, object], Value]] = MappingProxyType(
    {
        "string": _string,
        "integer": _integer,
        "number": _number,
        "boolean": _boolean,
        "enum": _enum,
        "image": _image,
        "images": _images,
    }
)
