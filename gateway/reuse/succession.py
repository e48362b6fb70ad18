"""Who leads a flight whose leader left before anything was sent, and who pays then. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Follower:
    """A job that waits for another's pictures. ``chain`` is the first key of its key's chain of rotations."""

    job_id: str
    team_id: str
    key_id: str
    chain: str


@dataclass(frozen=True, slots=True)
class Heir:
    """A follower that may lead."""

    follower: Follower
    #: The old leader's hold moves to it; otherwise it takes one of its own, or fails.
    inherits: bool


def heirs(leader: Follower, followers: Sequence[Follower], budgeted: Collection[str]) -> list[Heir]:
    """The followers in the order in which they are asked to lead: the oldest first, until one can pay.

    ``budgeted`` names the chains of keys that have a budget of their own. A hold moves within the team alone, and not
    to such a key unless the leader's was of the same chain: another's budget has not been asked yet.
    """
    return [Heir(each, _inherits(leader, each, budgeted)) for each in followers]


def _inherits(leader: Follower, heir: Follower, budgeted: Collection[str]) -> bool:
    if heir.team_id != leader.team_id:
        return False
    return heir.chain == leader.chain or heir.chain not in budgeted
