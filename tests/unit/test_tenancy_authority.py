"""Who may grant what, as a pure rule: no key grants a scope, limit or expiry beyond its own."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.tenancy import authority
from gateway.tenancy.authority import Authority, Grant
from gateway.tenancy.keys import Key
from gateway.tenancy.scopes import Scope

NOW = datetime(2026, 11, 23, tzinfo=UTC)

limits = st.none() | st.integers(1, 5)
moments = st.none() | st.integers(1, 5).map(lambda days: NOW + timedelta(days=days))
grants = st.builds(Grant, st.frozensets(st.sampled_from(list(Scope)), min_size=1), limits, limits, moments)


def holder(granted: Grant) -> Authority:
    """Whoever shows a key that has that."""
    key = Key(
        id="k",
        team_id="team_1",
        name="k",
        scopes=granted.scopes,
        created_at=NOW,
        expires_at=granted.expires_at,
        revoked_at=None,
        last_used_at=None,
        rpm=granted.rpm,
        concurrency=granted.concurrency,
    )
    return Authority("key k", key)


def no_more(given: int | datetime | None, own: int | datetime | None) -> bool:
    """Whether a limit or an end is at most another; none is no limit at all."""
    return own is None or (given is not None and given <= own)  # type: ignore[operator]  # two of one kind


@given(grants, grants)
def test_no_key_grants_more_than_it_has(own: Grant, wanted: Grant) -> None:
    """Whatever is asked for, what is granted is no more than the giver has, and all that was asked for."""
    giver = holder(own)
    try:
        granted = authority.within(giver, wanted)
    except errors.NotAllowed:
        return
    grantable = own.scopes | (frozenset(Scope) if giver.everywhere else frozenset())
    assert granted.scopes == wanted.scopes <= grantable
    assert Scope.ADMIN not in granted.scopes or not giver.everywhere
    for name in ("rpm", "concurrency", "expires_at"):
        assert no_more(getattr(granted, name), getattr(own, name))
        assert getattr(granted, name) in (getattr(wanted, name), getattr(own, name))


@given(grants, grants)
def test_what_is_handed_over_is_no_more(own: Grant, other: Grant) -> None:
    """A key may be rotated by one that could have granted all of it, and by no other."""
    key = holder(other).key
    assert key is not None
    try:
        authority.require_over(holder(own), key)
    except errors.NotAllowed:
        return
    assert Scope.ADMIN not in other.scopes
    for name in ("rpm", "concurrency", "expires_at"):
        assert no_more(getattr(other, name), getattr(own, name))


def test_the_operator_grants_everything() -> None:
    """The admin token and the shell have no bounds."""
    wanted = Grant(frozenset(Scope), None, None, None)
    assert authority.within(Authority("admin token"), wanted) == wanted
    assert Authority("cli:root").everywhere


@pytest.mark.parametrize(
    ("scope", "own", "other", "everywhere"),
    [(Scope.ADMIN, True, True, True), (Scope.MANAGE, True, False, False), (Scope.READ, True, False, False)],
)
def test_reach(scope: Scope, own: bool, other: bool, everywhere: bool) -> None:
    """Only `admin` reaches beyond its own team."""
    giver = holder(Grant(frozenset({scope})))
    assert (giver.reaches("team_1"), giver.reaches("team_2"), giver.everywhere) == (own, other, everywhere)
