"""What a request costs before anybody is asked: its hold. Pure sums in micro-credits; never rounds, never guesses.

A hold is the most that the upstream can be expected to charge (pixeldojo.md 2.2). What it did charge is its 202's
``creditCost``, which is not this room's business.
"""

import dataclasses
from types import MappingProxyType

from gateway import errors
from gateway.images.model import ANY_RESOLUTION, Model, Parameters, Price
from gateway.images.model import references as named_references


def resolution(model: Model, parameters: Parameters) -> str:
    """The row of the model's price table that canonical parameters fall into; ``any`` if it has no resolutions.

    Raises ``InvalidParameter`` where the catalogue has changed since the parameters were checked.
    """
    if model.resolution is None:
        return ANY_RESOLUTION
    row = parameters.get(model.resolution)
    if not isinstance(row, str) or row not in model.prices:
        raise errors.InvalidParameter(f"{model.api_id} has no price for this resolution", param=model.resolution)
    return row


def outputs(model: Model, parameters: Parameters) -> int:
    """How many pictures canonical parameters ask for. Raises ``InvalidParameter`` as ``resolution`` does."""
    if model.outputs is None:
        return 1
    count = parameters.get(model.outputs)
    if not isinstance(count, int) or count < 1:
        raise errors.InvalidParameter(f"{model.outputs} is not a number of pictures", param=model.outputs)
    return count


def unit(model: Model, parameters: Parameters) -> Price:
    """The price of one picture, or its bound; reference images make it a bound, since nobody priced them."""
    listed = model.prices[resolution(model, parameters)]
    references = len(named_references(model, parameters))
    if not references:
        return listed
    return Price(listed.micros + references * model.reference_micros, bound=True)


def hold(model: Model, parameters: Parameters) -> int:
    """Micro-credits to set aside for the request: an upper bound of what it will cost."""
    return unit(model, parameters).micros * outputs(model, parameters)


def firm(model: Model, parameters: Parameters) -> bool:
    """Whether the hold is the price itself, and not only a bound of it."""
    return not unit(model, parameters).bound


def reprice(model: Model, row: str, micros: int) -> Model:
    """The model with a firm price for one resolution, as an operator enters it. Its ``version`` stays the same.

    Raises ``InvalidParameter`` for a resolution that the model does not have, or a negative price.
    """
    if row not in model.prices:
        rows = ", ".join(f'"{known}"' for known in model.prices)
        raise errors.InvalidParameter(f"{model.api_id} is priced by {rows}", param="resolution")
    if micros < 0:
        raise errors.InvalidParameter("a price is not negative", param="credits")
    prices = MappingProxyType({**model.prices, row: Price(micros)})
    return dataclasses.replace(model, prices=prices)
