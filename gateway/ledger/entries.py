"""What each kind of entry means for the sums, as pure arithmetic. Touches no store."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class Kind(StrEnum):
    """The kinds of entries; amounts are positive but for ``adjust``."""

    #: Set aside before a job may be submitted: the catalogue's upper bound.
    HOLD = "hold"
    #: What the upstream took for the attempt.
    CHARGE = "charge"
    #: The whole hold given back; posted beside the charge, or alone when nothing was taken.
    RELEASE = "release"
    #: What the upstream, or an operator, gave back of a charge.
    REFUND = "refund"
    #: A correction by late evidence or by an operator, in either direction.
    ADJUST = "adjust"


@dataclass(frozen=True)
class Effect:
    """What an entry adds to the sums, in micro-credits."""

    held_micros: int = 0
    spent_micros: int = 0
    charged_micros: int = 0
    refunded_micros: int = 0


def effect(kind: Kind, amount_micros: int) -> Effect:
    """The effect of an entry; ``ValueError`` for an amount that its kind cannot have."""
    if amount_micros < 0 and kind is not Kind.ADJUST:
        raise ValueError(f"a {kind} of {amount_micros} micro-credits")
    match kind:
        case Kind.HOLD:
            return Effect(held_micros=amount_micros)
        case Kind.RELEASE:
            return Effect(held_micros=-amount_micros)
        case Kind.CHARGE:
            return Effect(spent_micros=amount_micros, charged_micros=amount_micros)
        case Kind.REFUND:
            return Effect(spent_micros=-amount_micros, refunded_micros=amount_micros)
        case Kind.ADJUST:
            return Effect(
                spent_micros=amount_micros,
                charged_micros=max(amount_micros, 0),
                refunded_micros=max(-amount_micros, 0),
            )


@dataclass(frozen=True)
class Windows:
    """The day and month, in UTC, that a hold was taken in; all that follows from it is posted there."""

    day: str
    month: str

    @property
    def periods(self) -> tuple[str, str, str]:
        """The periods whose balances move."""
        return ("total", self.month, self.day)


def windows(at: datetime) -> Windows:
    """The windows of a moment."""
    utc = at.astimezone(UTC)
    return Windows(day=utc.strftime("%Y-%m-%d"), month=utc.strftime("%Y-%m"))


@dataclass(frozen=True)
class Payer:
    """Whose credits move, and for which model."""

    team_id: str
    key_id: str
    model: str
