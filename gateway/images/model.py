"""What a model is: its parameters, its prices, and how long it takes. Frozen values; never reads a file or a clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

#: One value of a request after canonicalisation; each is a JSON value. A list holds reference images.
Value: TypeAlias = str | int | float | bool | list[str]
#: A request in its one canonical spelling: names in catalogue order, defaults filled in. To be treated as frozen.
Parameters: TypeAlias = Mapping[str, Value]

#: The key of the price table of a model that has no resolutions.
ANY_RESOLUTION = "any"


class Parameter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One row of a model's parameter table, in the form of models.toml. ``max_length`` is in characters.

    The types ``images`` (a list of at most ``maximum`` pictures to start from) and ``image`` (one of them, as a text)
    are not written there: ``[model.reference_images]`` makes them.
    """

    name: str
    type: Literal["string", "integer", "number", "boolean", "enum", "image", "images"]
    description: str
    required: bool = False
    default: str | int | float | bool | None = None
    enum: tuple[str, ...] = ()
    minimum: int | float | None = None
    maximum: int | float | None = None
    max_length: int | None = None
    always_sent: bool = False


@dataclass(frozen=True, slots=True)
class Price:
    """What one picture costs, in micro-credits; ``bound`` where the true price is unknown and surely no higher."""

    micros: int
    bound: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the catalogue, checked: a price for each resolution, a prompt, no name twice.

    ``resolution`` and ``outputs`` name the parameters that decide the price of a picture and how many there are.
    ``references`` names the parameter that takes pictures to start from, none where the model takes none;
    ``reference_micros`` is the most that one of them adds to one picture, ``reference_megapixels`` the most that an
    upload may have to be one, in units of 1024 x 1024 pixels.
    ``version`` changes with the parameters, and not with prices, descriptions or seconds, so that pricing a model
    forgets no cached picture.
    """

    api_id: str
    name: str
    description: str
    modality: Literal["image"]
    capabilities: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    prices: Mapping[str, Price]
    typical_s: float
    resolution: str | None
    outputs: str | None
    reference_micros: int
    version: str
    references: str | None = None
    reference_megapixels: float | None = None

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of that name, or None."""
        return next((parameter for parameter in self.parameters if parameter.name == name), None)


def references(model: Model, parameters: Parameters) -> list[tuple[str, str]]:
    """The pictures that canonical parameters start from, in order: the field that named each, and what it said."""
    if model.references is None:
        return []
    match parameters.get(model.references):
        case str() as one:
            return [(model.references, one)]
        case list() as several:
            return [(f"{model.references}[{place}]", each) for place, each in enumerate(several)]
        case _:
            return []


def with_references(model: Model, parameters: Parameters, put: Mapping[str, str]) -> Parameters:
    """The parameters with each of those pictures that ``put`` knows in the place of its name."""
    if model.references is None or model.references not in parameters:
        return parameters
    given = parameters[model.references]
    value: Value = put.get(given, given) if isinstance(given, str) else given
    if isinstance(given, list):
        value = [put.get(each, each) for each in given]
    return {**parameters, model.references: value}
