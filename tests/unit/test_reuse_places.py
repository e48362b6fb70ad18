"""Where a request is kept: its team, the pool if its team shares, or nowhere."""

import pytest

from gateway.images import catalogue
from gateway.images.model import Model, Parameters
from gateway.reuse import places
from gateway.reuse.fingerprint import Key
from gateway.reuse.places import POOL
from gateway.tenancy.choices import Choices

KEY = Key(bytes(32))
SEEDED: Parameters = {"prompt": "a gate", "seed": 0}
UNSEEDED: Parameters = {"prompt": "a gate"}


@pytest.fixture(scope="module")
def model() -> Model:
    """A model of the shipped catalogue."""
    return catalogue.load().model("flux-2-max")


def test_a_request_without_a_seed_is_nowhere(model: Model) -> None:
    """Without a seed the caller wants variety, unless its team chose otherwise."""
    assert places.of(KEY, "team_a", Choices(), model, UNSEEDED) is None
    assert places.of(KEY, "team_a", Choices(unseeded=True), model, UNSEEDED) is not None
    assert places.of(KEY, "team_a", Choices(), model, SEEDED) is not None


def test_a_flight_is_the_teams_own_unless_it_shares(model: Model) -> None:
    """Two teams' flights are one if both share, and else nothing of one team is found by another."""
    alone = [places.of(KEY, team, Choices(), model, SEEDED) for team in ("team_a", "team_b")]
    shared = [places.of(KEY, team, Choices(pool=True), model, SEEDED) for team in ("team_a", "team_b")]
    assert all(each is not None and each.flight == each.own and each.pool is None for each in alone)
    first, second = shared
    assert first is not None
    assert second is not None
    assert first.flight == second.flight
    assert first.flight.scope == POOL
    assert first.own != second.own
    assert alone[0] is not None
    assert first.own == alone[0].own
    assert first.own.fingerprint != first.flight.fingerprint
