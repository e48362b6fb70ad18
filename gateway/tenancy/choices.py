"""What a team has chosen about the reuse of its pictures: a frozen value. Reads nothing and decides nothing."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Choices:
    """What a team has chosen; the defaults are those of a team that chose nothing."""

    #: How long an entry is good for, in seconds; none for ever.
    ttl_s: int | None = None
    #: Requests without a seed are answered again too.
    unseeded: bool = False
    #: Pictures are shared with the other teams that chose so.
    pool: bool = False
