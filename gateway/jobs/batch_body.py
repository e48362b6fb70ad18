"""The body of a batch, taken apart. Pure; each item is an order's own body, which others check.

``model`` holds for the items that name none, ``torii`` for those that say nothing of their own, but its ``metadata``,
which is the batch's. ``webhook_url`` is where the batch is told of as a whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway import errors
from gateway.jobs import orders
from gateway.jobs.orders import Order
from gateway.webhooks.addresses import Network

MOST_ITEMS: Final = 1000
#: Jobs of a batch in flight at once, unless it says otherwise: a batch leaves room for its team's other orders.
CONCURRENCY: Final = 10
MOST_AT_ONCE: Final = 1000
_KNOWN: Final = ("model", "items", "concurrency", "webhook_url", "torii")


@dataclass(frozen=True)
class Body:
    """A batch's body, taken apart."""

    model: str | None
    items: Sequence[Mapping[str, object]]
    concurrency: int
    #: What holds for the batch as a whole.
    order: Order


def read(body: Mapping[str, object], webhook_nets: tuple[Network, ...] = ()) -> Body:
    """Take the body apart; an ``InvalidRequest`` names the field. What the items say is not looked at."""
    for name in body:
        if name not in _KNOWN:
            raise errors.UnknownParameter(f"{name[:80]}: not known; a batch takes {', '.join(_KNOWN)}", param=name[:80])
    model, items, concurrency = body.get("model"), body.get("items"), body.get("concurrency", CONCURRENCY)
    if model is not None and not isinstance(model, str):
        raise errors.InvalidParameter("model: must be a model's id", param="model")
    if "items" not in body:
        raise errors.MissingParameter("items is missing", param="items")
    if not isinstance(items, list) or not 1 <= len(items) <= MOST_ITEMS:
        raise errors.InvalidParameter(f"items: must be a list of 1 to {MOST_ITEMS} orders", param="items")
    for index, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise errors.InvalidParameter(f"items[{index}]: must be an object", param=f"items[{index}]")
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or not 1 <= concurrency <= MOST_AT_ONCE:
        raise errors.InvalidParameter(
            f"concurrency: must be a whole number from 1 to {MOST_AT_ONCE}", param="concurrency"
        )
    whole = orders.read({name: body[name] for name in ("torii", "webhook_url") if name in body}, webhook_nets)
    return Body(model, items, concurrency, whole)
