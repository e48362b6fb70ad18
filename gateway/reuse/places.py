"""Where a request's pictures are kept and its flight is shared: its team, or the pool of the teams that share. Pure."""

from dataclasses import dataclass
from typing import Final

from gateway.images.model import Model, Parameters
from gateway.reuse import fingerprint
from gateway.reuse.fingerprint import Key
from gateway.tenancy.choices import Choices

#: The scope of the teams that share; no team has such an id.
POOL: Final = "pool"


@dataclass(frozen=True, slots=True)
class Place:
    """One request within one scope."""

    scope: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Places:
    """A request's place in its own team, and in the pool if its team shares."""

    own: Place
    pool: Place | None

    @property
    def flight(self) -> Place:
        """Where its flight is: with as many others as may share it."""
        return self.pool or self.own


def of(key: Key, team_id: str, choices: Choices, model: Model, parameters: Parameters) -> Places | None:
    """The places of canonical parameters; none for a request that wants a new picture each time."""
    if not fingerprint.seeded(parameters) and not choices.unseeded:
        return None
    return Places(
        own=Place(team_id, fingerprint.of(key, team_id, model, parameters)),
        pool=Place(POOL, fingerprint.of(key, POOL, model, parameters)) if choices.pool else None,
    )
