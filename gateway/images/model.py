"""What a model is: its parameters, its prices, and how long it takes. Frozen values; never reads a file or a clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

#: One value of a request after canonicalisation; each is a JSON value. A list holds the URLs of reference images.
Value: TypeAlias = str | int | float | bool | list[str]
#: A request in its one canonical spelling: names in catalogue order, defaults filled in. To be treated as frozen.
Parameters: TypeAlias = Mapping[str, Value]

#: The key of the price table of a model that has no resolutions.
ANY_RESOLUTION = "any"


class Parameter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One row of a model's parameter table, in the form of models.toml. ``max_length`` is in characters.

    The type ``images`` (a list of ``maximum`` URLs) is not written there: ``[model.reference_images]`` makes it.
    """

    name: str
    type: Literal["string", "integer", "number", "boolean", "enum", "images"]
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
    ``reference_micros`` is the most that one reference image adds to one picture; 0 where the model takes none.
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

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of that name, or None."""
        return next((parameter for parameter in self.parameters if parameter.name == name), None)
