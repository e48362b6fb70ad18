"""What is different between the pinned catalogue and what the upstream offers now. Pure; repairs nothing.

Only what changes an order counts: names, prices, values that are taken. Descriptions and wider limits do not.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from gateway import money
from gateway.images import schema
from gateway.images.catalogue import Catalogue
from gateway.images.model import ANY_RESOLUTION, Model
from gateway.upstream.listing import Offer


class Kind(StrEnum):
    """What is different."""

    #: We sell it, and the upstream has it no more.
    GONE = "gone"
    #: It can still be asked for, and is not in the upstream's list any more.
    UNLISTED = "unlisted"
    #: The upstream makes pictures with it, and we do not sell it.
    NEW = "new"
    #: One picture at the defaults costs something else.
    PRICE = "price"
    PARAMETER_ADDED = "parameter_added"
    PARAMETER_REMOVED = "parameter_removed"
    REQUIRED = "required"
    TYPE = "type"
    ENUM = "enum"
    DEFAULT = "default"
    #: The upstream refuses values that we let through.
    RANGE = "range"


@dataclass(frozen=True)
class Difference:
    """One difference; ``ours`` and ``theirs`` are JSON values, none where there is nothing on that side."""

    kind: Kind
    model: str
    parameter: str | None = None
    ours: Any = None
    theirs: Any = None


#: What a run's body takes beside the model's parameters, here or there: our own options, and the callback.
_NO_PARAMETERS: Final = frozenset({"torii", "webhook_url"})
#: Limits by the words of JSON Schema; true: the lower is the narrower.
_LIMITS: Final = MappingProxyType(
    {
        "minimum": False,
        "minLength": False,
        "minItems": False,
        "maximum": True,
        "maxLength": True,
        "maxItems": True,
    }
)


def compare(
    catalogue: Catalogue, prices: Mapping[tuple[str, str], int], offers: Iterable[Offer], *, pinned: bool = False
) -> list[Difference]:
    """Every difference: by model in the catalogue's order, then the new models, unless only ours are asked for.

    ``prices`` are the operator's, in micro-credits by model and resolution; they stand in place of the catalogue's.
    """
    offered = {offer.api_id: offer for offer in offers}
    found: list[Difference] = []
    for model in catalogue:
        offer = offered.get(model.api_id)
        if offer is None:
            found.append(Difference(Kind.GONE, model.api_id))
            continue
        if not offer.listed:
            found.append(Difference(Kind.UNLISTED, model.api_id))
        found += _of_price(model, prices, offer)
        found += _of_parameters(model, offer)
    if not pinned:
        new = (offer for offer in offered.values() if offer.api_id not in catalogue.models)
        found += [
            Difference(Kind.NEW, offer.api_id, theirs=_credits(offer.cost_micros))
            for offer in new
            if offer.modality == "image"
        ]
    return found


def _of_price(model: Model, prices: Mapping[tuple[str, str], int], offer: Offer) -> Iterator[Difference]:
    row = _usual(model)
    own = prices.get((model.api_id, row))
    ours = model.prices[row].micros if own is None else own
    # A bound is no price: what costs less keeps within it.
    bound = own is None and model.prices[row].bound
    theirs = offer.cost_micros
    if theirs is None or theirs == ours or (bound and theirs < ours):
        return
    yield Difference(Kind.PRICE, model.api_id, model.resolution, _credits(ours), _credits(theirs))


def _usual(model: Model) -> str:
    """The row of the price table for an order with nothing but a prompt; the dearest, if a size must be said."""
    priced_by = None if model.resolution is None else model.parameter(model.resolution)
    if priced_by is None:
        return ANY_RESOLUTION
    if isinstance(priced_by.default, str) and priced_by.default in model.prices:
        return priced_by.default
    return max(model.prices, key=lambda row: model.prices[row].micros)


def _of_parameters(model: Model, offer: Offer) -> Iterator[Difference]:
    if offer.schema is None:
        return
    request = schema.request_schema(model)
    ours = {name: row for name, row in request["properties"].items() if name not in _NO_PARAMETERS}
    theirs = {name: row for name, row in offer.schema["properties"].items() if name not in _NO_PARAMETERS}
    needed = offer.schema.get("required")
    asked = set(needed) if isinstance(needed, list) and all(isinstance(name, str) for name in needed) else set()
    for name in theirs:
        if name not in ours:
            what = "required" if name in asked else "optional"
            yield Difference(Kind.PARAMETER_ADDED, model.api_id, name, theirs=what)
    for name, row in ours.items():
        if name not in theirs:
            yield Difference(Kind.PARAMETER_REMOVED, model.api_id, name)
            continue
        if (name in request["required"]) != (name in asked):
            yield Difference(Kind.REQUIRED, model.api_id, name, name in request["required"], name in asked)
        there = theirs[name]
        if isinstance(there, Mapping):
            for kind, here_value, there_value in _of_row(row, there):
                yield Difference(kind, model.api_id, name, here_value, there_value)


def _of_row(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[tuple[Kind, Any, Any]]:
    told = theirs.get("type")
    if isinstance(told, str) and told != ours["type"]:
        yield Kind.TYPE, ours["type"], told
    if not _same_set(ours.get("enum"), theirs.get("enum")):
        yield Kind.ENUM, ours.get("enum"), theirs.get("enum")
    if not _same(ours.get("default"), theirs.get("default")):
        yield Kind.DEFAULT, ours.get("default"), theirs.get("default")
    for word, lower_is_narrower in _LIMITS.items():
        limit = theirs.get(word)
        if not isinstance(limit, int | Decimal) or isinstance(limit, bool):
            continue
        own = ours.get(word)
        if own is None or (limit < own if lower_is_narrower else limit > own):
            yield Kind.RANGE, None if own is None else f"{word} {own}", f"{word} {limit}"


def _same_set(ours: object, theirs: object) -> bool:
    if not isinstance(ours, list) or not isinstance(theirs, list):
        return ours == theirs
    return sorted(map(repr, ours)) == sorted(map(repr, theirs))


def _same(ours: object, theirs: object) -> bool:
    return ours == theirs and isinstance(ours, bool) == isinstance(theirs, bool)


def _credits(micros: int | None) -> Any:  # noqa: ANN401  an integer or a decimal
    return None if micros is None else money.credits(micros)
