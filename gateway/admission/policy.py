"""What a team's orders may ask for: models, size, how much the upstream lets through, which words. Pure.

A policy is one JSON object in the team's row. ``parse`` takes an operator's body and names what is wrong with it;
``read`` takes the column, which was checked when it was written, and passes over members of a newer release.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from gateway import errors
from gateway.admission import terms
from gateway.images.model import Model, Parameters

#: The parameter whose ceiling a policy may set: the higher, the more is let through (pixeldojo.md 2.5).
SAFETY: Final = "safety_tolerance"


class Mode(StrEnum):
    """What becomes of a ``safety_tolerance`` above the ceiling."""

    CLAMP = "clamp"
    REFUSE = "refuse"


class OnUnknown(StrEnum):
    """What becomes of a job of which nobody knows whether the upstream took it."""

    WAIT = "wait"
    RESUBMIT_ONCE = "resubmit_once"


class OnFailure(StrEnum):
    """What becomes of an order when the moderation endpoint gives no answer that can be read."""

    ALLOW = "allow"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Ceiling:
    """The highest ``safety_tolerance``, and what becomes of a higher one."""

    maximum: int
    mode: Mode = Mode.CLAMP


@dataclass(frozen=True)
class Moderation:
    """An endpoint of the operator's that is asked about each new order."""

    url: str
    timeout_s: float = 5.0
    on_failure: OnFailure = OnFailure.REFUSE


@dataclass(frozen=True)
class Policy:
    """What a team's orders may ask for; an empty one allows everything."""

    #: None: all of them.
    models: frozenset[str] | None = None
    #: The name of a resolution, as the catalogue has it.
    max_resolution: str | None = None
    safety: Ceiling | None = None
    denied_terms: tuple[str, ...] = ()
    on_unknown: OnUnknown = OnUnknown.WAIT
    moderation: Moderation | None = None
    #: The denied terms as they are looked for.
    needles: tuple[str, ...] = ()


def policy(
    *,
    models: frozenset[str] | None = None,
    max_resolution: str | None = None,
    safety: Ceiling | None = None,
    denied_terms: tuple[str, ...] = (),
    on_unknown: OnUnknown = OnUnknown.WAIT,
    moderation: Moderation | None = None,
) -> Policy:
    """A policy with its terms made ready."""
    needles = tuple(sorted({needle for term in denied_terms if (needle := terms.needle(term))}))
    return Policy(models, max_resolution, safety, denied_terms, on_unknown, moderation, needles)


