"""The text of a catalogue file made into models, in the form that models.toml describes. Never opens a file.

The first mistake ends it, and its text names the model or table and the field.
"""

import hashlib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeVar

import msgspec

from gateway import money
from gateway.images import checks, spelling
from gateway.images.checks import Mistake
from gateway.images.model import Model, Parameter, Price

T = TypeVar("T")
Table = tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class Definition:
    """What one file says: its models by id, and all parameter tables known after it by name."""

    models: Mapping[str, Model]
    tables: Mapping[str, Table]


EMPTY = Definition(MappingProxyType({}), MappingProxyType({}))


class _Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    credits: str
    bound: bool = False


class _ReferenceImages(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    parameter: str
    maximum: int
    credits: str
    required: bool = False
    single: bool = False
    megapixels: int | float | None = None


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    api_id: str
    name: str
    description: str
    modality: Literal["image"]
    capabilities: tuple[str, ...]
    typical_s: int | float
    parameters: str
    prices: dict[str, _Price]
    resolution: str | None = None
    outputs: str | None = None
    reference_images: _ReferenceImages | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: list[dict[str, object]] = []
    parameters: dict[str, list[dict[str, object]]] = {}


def parse(content: bytes, earlier: Definition = EMPTY) -> Definition:
    """The models of a file, which may use the parameter tables of the one before it. Raises ``Mistake``."""
    try:
        file = msgspec.convert(tomllib.loads(content.decode()), _File)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Mistake(str(error)) from None
    tables = {**earlier.tables, **{name: _table(name, rows) for name, rows in file.parameters.items()}}
    models: dict[str, Model] = {}
    for raw in file.model:
        model = _model(raw, tables)
        if model.api_id in models:
            raise Mistake(f"model {model.api_id}: stands there twice")
        models[model.api_id] = model
    return Definition(MappingProxyType(models), MappingProxyType(tables))


def _table(name: str, rows: list[dict[str, object]]) -> Table:
    try:
        return checks.rows(_convert("parameter", row.get("name"), row, Parameter) for row in rows)
    except Mistake as mistake:
        raise Mistake(f"table {name}: {mistake}") from None


def _convert(kind: str, name: object, raw: dict[str, object], form: type[T]) -> T:
    try:
        return msgspec.convert(raw, form)
    except msgspec.ValidationError as error:
        raise Mistake(f"{kind} {spelling.shown(name)}: {error}") from None


def _model(raw: dict[str, object], tables: Mapping[str, Table]) -> Model:
    entry = _convert("model", raw.get("api_id"), raw, _Entry)
    try:
        return _build(entry, tables)
    except Mistake as mistake:
        raise Mistake(f"model {spelling.plain(entry.api_id)}: {mistake}") from None


def _build(entry: _Entry, tables: Mapping[str, Table]) -> Model:
    if not checks.API_ID.fullmatch(entry.api_id):
        raise Mistake("api_id: must be of a-z, 0-9, point, hyphen and underscore")
    if not 0 < entry.typical_s <= checks.TYPICAL_MAX_S:
        raise Mistake(f"typical_s: must be above 0 and at most {checks.TYPICAL_MAX_S}")
    if entry.parameters not in tables:
        tail = spelling.suggestion(entry.parameters, tables)
        raise Mistake(f"parameters: there is no table {spelling.shown(entry.parameters)}{tail}")
    table = tables[entry.parameters]
    resolution = checks.resolution(table, entry.resolution)
    rows = checks.prices(table, resolution, entry.prices)
    references = entry.reference_images
    if references is not None:
        table = (*table, _references(references, table))
    return Model(
        api_id=entry.api_id,
        name=entry.name,
        description=entry.description,
        modality=entry.modality,
        capabilities=entry.capabilities,
        parameters=table,
        prices=MappingProxyType({row: _price(row, entry.prices[row]) for row in rows}),
        typical_s=entry.typical_s,
        resolution=resolution,
        outputs=checks.outputs(table, entry.outputs),
        reference_micros=_micros("reference_images: credits", references.credits) if references else 0,
        version=_version(entry.api_id, table),
        references=references.parameter if references else None,
        reference_megapixels=references.megapixels if references else None,
    )


def _references(references: _ReferenceImages, table: Table) -> Parameter:
    if not checks.NAME.fullmatch(references.parameter) or references.parameter in checks.RESERVED_NAMES:
        raise Mistake("reference_images.parameter: is not a parameter's name")
    if any(parameter.name == references.parameter for parameter in table):
        raise Mistake(f"reference_images.parameter: {references.parameter} stands in the table already")
    if references.maximum < 1:
        raise Mistake("reference_images.maximum: must be at least 1")
    if references.megapixels is not None and not 0 < references.megapixels < math.inf:
        raise Mistake("reference_images.megapixels: must be above 0")
    if not references.single:
        return Parameter(
            name=references.parameter,
            type="images",
            description="Pictures to start from: ids of uploads, or https URLs.",
            required=references.required,
            minimum=1,
            maximum=references.maximum,
        )
    if references.maximum != 1:
        raise Mistake("reference_images.maximum: is 1 where single is true")
    return Parameter(
        name=references.parameter,
        type="image",
        description="The picture to start from: an upload's id, or an https URL.",
        required=references.required,
    )


def _price(row: str, price: _Price) -> Price:
    return Price(_micros(f'prices: "{row}"', price.credits), price.bound)


def _micros(field: str, credits: str) -> int:
    try:
        return money.micros(credits)
    except ValueError as error:
        raise Mistake(f"{field}: {error}") from None


def _version(api_id: str, table: Table) -> str:
    """A short hash of the parameter table; descriptions and the order of rows do not matter."""
    rows = [msgspec.structs.replace(parameter, description="") for parameter in table]
    rows.sort(key=lambda parameter: parameter.name)
    definition = msgspec.json.encode([api_id, rows], order="sorted")
    return hashlib.sha256(definition).hexdigest()[:12]
