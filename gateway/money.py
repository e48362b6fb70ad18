"""Credits as integer micro-credits, and the two ways across the border. Never a binary float, never a guess.

The upstream's credits are fractional (0.1, 0.25, 1.5 occur, pixeldojo.md 1.1); six decimals hold them all.
"""

from decimal import ROUND_CEILING, Decimal, InvalidOperation

MICROS_PER_CREDIT = 1_000_000
#: Larger than any account; keeps sums inside a 64-bit integer.
MAX_CREDITS = 1_000_000_000


def micros(credits: Decimal | int | str) -> int:
    """Micro-credits of an amount of credits, rounded up so that a cost is never counted short.

    Raises ``ValueError`` for what is not a finite number between 0 and ``MAX_CREDITS``.
    """
    try:
        amount = Decimal(credits)
    except InvalidOperation:
        raise ValueError(f"not a number of credits: {credits!r}") from None
    if not amount.is_finite() or not 0 <= amount <= MAX_CREDITS:
        raise ValueError(f"not an amount of credits between 0 and {MAX_CREDITS}: {credits!r}")
    return int((amount * MICROS_PER_CREDIT).to_integral_value(rounding=ROUND_CEILING))


def credits(amount_micros: int) -> int | Decimal:
    """The amount as a plain JSON number: an integer where it is whole, else a decimal of at most six places."""
    whole, rest = divmod(amount_micros, MICROS_PER_CREDIT)
    if rest == 0:
        return whole
    return Decimal(amount_micros).scaleb(-6).normalize()
