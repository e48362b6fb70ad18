"""Credits and micro-credits."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import money


@given(st.integers(0, money.MAX_CREDITS * money.MICROS_PER_CREDIT))
def test_micro_credits_survive_the_wire(amount: int) -> None:
    """Any amount reads back exactly, as a plain JSON number without exponent and with at most six decimals."""
    text = msgspec.json.Encoder(decimal_format="number").encode(money.credits(amount)).decode()
    assert "e" not in text.lower()
    assert len(text.partition(".")[2]) <= 6
    assert money.micros(Decimal(text)) == amount


def test_whole_credits_are_integers() -> None:
    """Two credits are written 2, as the seed writes them, not 2.0."""
    assert money.credits(2_000_000) == 2
    assert isinstance(money.credits(2_000_000), int)


def test_a_cost_is_never_counted_short() -> None:
    """More than six decimals are rounded up."""
    assert money.micros(Decimal("0.0000001")) == 1


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1", "abc", "", "1e12"])
def test_what_is_no_amount_is_refused(value: str) -> None:
    """Not a number, negative or beyond any account is a ValueError."""
    with pytest.raises(ValueError, match="credits"):
        money.micros(value)
