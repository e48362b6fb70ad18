"""Credits as integer micro-credits inside and plain JSON numbers outside. Never a binary float."""

import decimal

MICRO = 1_000_000


def micro(amount: decimal.Decimal) -> int:
    """Turn credits into micro-credits; `ValueError` on more than six decimals or no finite number."""
    if not amount.is_finite():
        raise ValueError("credits must be a finite number")
    scaled = amount * MICRO
    if scaled != scaled.to_integral_value():
        raise ValueError("credits have at most 6 decimals")
    return int(scaled)


def wire(amount_micro: int) -> int | decimal.Decimal:
    """Turn micro-credits into what goes into JSON: 2, not 2.0; 0.5; never an exponent."""
    if amount_micro % MICRO == 0:
        return amount_micro // MICRO
    return (decimal.Decimal(amount_micro) / MICRO).normalize()
