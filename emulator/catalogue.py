"""The models the emulator offers, read from `catalogue.toml`, and their JSON schemas. Knows no job."""

import decimal
import importlib.resources
import tomllib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from emulator import money

Prices = dict[str, decimal.Decimal | dict[str, decimal.Decimal]]


class Parameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of a model's parameter table (pixeldojo.md 1.1)."""

    type: Literal["string", "integer", "boolean", "array"]
    required: bool = False
    default: str | int | bool | None = None
    enum: tuple[str, ...] | None = None
    minimum: int | None = None
    maximum: int | None = None
    min_items: int | None = None
    max_items: int | None = None
    description: str = ""


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model: what it accepts and costs. `price` and `prices` are credits a picture."""

    apiId: str  # noqa: N815  the wire's spelling
    name: str
    description: str
    price: decimal.Decimal
    tables: tuple[str, ...]
    capabilities: tuple[str, ...]
    prices: dict[str, decimal.Decimal] = {}
    modality: Literal["image", "video"] = "image"
    parameters: dict[str, Parameter] = {}

    def cost(self, resolution: str | None, count: int, overrides: Prices) -> int:
        """Micro-credits of a request for `count` pictures; `overrides` is the switch `prices`."""
        found = overrides.get(self.apiId, self.prices or self.price)
        if isinstance(found, dict):
            found = found.get(resolution or "", self.price)
        return money.micro(found) * count


#: By `apiId`: null takes the model away, else its parameters that are different; an unknown id is a new model.
Changes = dict[str, dict[str, Parameter | None] | None]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    tables: dict[str, dict[str, Parameter]]
    models: list[Model]


def load() -> dict[str, Model]:
    """Read the catalogue, by `apiId` in its own order."""
    text = importlib.resources.files("emulator").joinpath("catalogue.toml").read_text("utf-8")
    file = msgspec.convert(tomllib.loads(text), _File)
    models = {}
    for model in file.models:
        rows = {name: row for table in model.tables for name, row in file.tables[table].items()}
        models[model.apiId] = msgspec.structs.replace(model, parameters=rows)
    return models


def changed(models: Mapping[str, Model], changes: Changes) -> dict[str, Model]:
    """The models as the switch `models` bends them: without some, with other parameters, with new ones."""
    found = dict(models)
    for api_id, rows in changes.items():
        if rows is None:
            found.pop(api_id, None)
            continue
        model = found.get(api_id) or msgspec.structs.replace(next(iter(models.values())), apiId=api_id, name=api_id)
        parameters = {**model.parameters, **rows}
        kept = {name: row for name, row in parameters.items() if row is not None}
        found[api_id] = msgspec.structs.replace(model, parameters=kept)
    return found


def request_schema(model: Model) -> dict[str, Any]:
    """JSON Schema of a run's body (pixeldojo.md 1.1 and 1.4)."""
    properties: dict[str, Any] = {name: _property(row) for name, row in model.parameters.items()}
    properties["webhook_url"] = {"type": "string", "format": "uri", "description": "Called when the job has ended"}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name, row in model.parameters.items() if row.required],
        "properties": properties,
    }


def _property(row: Parameter) -> dict[str, Any]:
    described: dict[str, Any] = {"type": row.type, "description": row.description}
    named = {
        "enum": None if row.enum is None else list(row.enum),
        "default": row.default,
        "minimum": row.minimum,
        "maximum": row.maximum,
        "minItems": row.min_items,
        "maxItems": row.max_items,
    }
    described |= {name: value for name, value in named.items() if value is not None}
    if row.type == "array":
        described["items"] = {"type": "string", "format": "uri"}
    if row.type == "string" and row.required:
        described["minLength"] = 1
    return described
