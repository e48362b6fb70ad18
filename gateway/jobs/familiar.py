"""Orders that were answered from the cache a moment ago: the same bytes of the same team need no second reading.

What is remembered of one is a hash of its body and where its answer is kept, never the body. It counts as long as all
that the first reading was held to is the same: the team's limits and policy, its choices and the model. Whether there
is still an answer, Redis says each time (``again``).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.images.model import Model
from gateway.reuse.places import Place
from gateway.tenancy.recognition import TeamLimits

ORDERS_MAX: Final = 2048


@dataclass(frozen=True, slots=True)
class Order:
    """What an order's first reading came to, and what that was held to."""

    team: TeamLimits
    model: Model
    place: Place
    details: Mapping[str, object] | None


class Familiar:
    """The orders that one process remembers. Full, it forgets the oldest."""

    def __init__(self) -> None:
        self._orders: dict[bytes, Order] = {}

    def __len__(self) -> int:
        return len(self._orders)

    def keep(self, team: TeamLimits, way: str, body: bytes, order: Order) -> None:
        """Remember what those bytes alone led to, when they came by that way: another reads them otherwise."""
        while len(self._orders) >= ORDERS_MAX:
            del self._orders[next(iter(self._orders))]
        self._orders[_name(team, way, body)] = order

    def find(self, team: TeamLimits, models: Mapping[str, Model], way: str, body: bytes) -> Order | None:
        """The order of those bytes, if its team and model are what they were."""
        name = _name(team, way, body)
        found = self._orders.get(name)
        if found is None:
            return None
        # The team is read anew twice a second, and mostly is the same.
        if models.get(found.model.api_id) is found.model and (found.team is team or found.team == team):
            return found
        del self._orders[name]
        return None


def _name(team: TeamLimits, way: str, body: bytes) -> bytes:
    return hashlib.sha256(b"%b %b %b" % (team.id.encode(), way.encode(), body)).digest()
