"""The parts of ``life``: a job with its attempts, two workers' hands, the upstream's copy, and the rules in force."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

WAITING, SENDING, UNKNOWN = "queued", "submitting", "submission_unknown"
RUNNING, ARCHIVING, COMPLETED, FAILED, CANCELLED = "running", "archiving", "completed", "failed", "cancelled"
ENDED = frozenset({COMPLETED, FAILED, CANCELLED})
_OTHER = MappingProxyType({"": "", "a": "b", "b": "a"})
_LOOKING = frozenset({"looking", "seen", "fetching", "fetched"})
#: An attempt that has one of these has not had its answer.
UNANSWERED = frozenset({"open", "unknown", "charged", "free"})


@dataclass(frozen=True)
class Rules:
    """The guards of the house, each of which can be taken away to see what it is good for; and what is chosen."""

    #: The intent asks for a queued job under the claim's token.
    intent_guarded: bool = True
    #: Nothing is settled or sent again while the POST may be under way.
    settle_when_quiet: bool = True
    #: What was not surely refused is neither sent again nor released.
    ambiguity_is_a_state: bool = True
    #: An answer is booked by job and attempt, whoever's claim has run out meanwhile.
    book_without_claim: bool = True
    #: That nothing was sent is booked for the same claim's intent alone: one not committed used up no number.
    unsent_by_claim: bool = True
    #: The end of an archiving looks at what the archive has by then, and no picture is entered after it.
    end_by_archive: bool = True
    #: A worker that was away for too long before its POST does not send it.
    no_late_posts: bool = True
    #: Looking for what nobody was nudged about.
    sweeps: bool = True
    #: The team's policy ``onUnknown: resubmit_once``.
    resubmit_once: bool = False
    #: The upstream's list of jobs answers.
    evidence: bool = False
    attempts_max: int = 2
    #: Whether polls and the archive are walked through too, which has little to do with what comes before.
    to_the_end: bool = True


class Attempt(NamedTuple):
    """One attempt: its row, its hold and charge, and what really became of its POST."""

    #: held (not opened yet), open, unknown, charged, free, accepted, orphaned, rejected, refused.
    fate: str = "held"
    hold: bool = True
    spent: int = 0
    #: The truth: "" (nothing sent), flying, taken (and debited), declined, busy, void (never arrived).
    wire: str = ""
    quiet: bool = False
    owner: str = ""


class Hand(NamedTuple):
    """A worker's one hand: where in its step it is, and what it remembers."""

    at: str = "idle"
    number: int = 0
    word: str = ""
    #: It was away for longer than it may have been before sending.
    late: bool = False


class World(NamedTuple):
    """All of it."""

    state: str = WAITING
    number: int = 1
    claim: str = ""
    failure: str = ""
    nudged: bool = True
    resubmitted: bool = False
    attempts: tuple[Attempt, ...] = (Attempt(),)
    hands: tuple[Hand, Hand] = (Hand(), Hand())
    #: What the upstream has of the job that runs: working, done, failed, gone.
    copy: str = ""
    #: The picture is in the archive, and its row written.
    picture: bool = False
    #: An acceptance was thrown away.
    forgotten: bool = False

    def attempt(self, number: int) -> Attempt:
        """The attempt of that number."""
        return self.attempts[number - 1]

    def but(self, number: int, **values: object) -> "World":
        """The same with that attempt changed."""
        changed = list(self.attempts)
        changed[number - 1] = changed[number - 1]._replace(**values)  # type: ignore[arg-type]
        return self._replace(attempts=tuple(changed))

    def hand(self, who: str, hand: Hand) -> "World":
        """The same with that hand changed."""
        one, other = self.hands
        return self._replace(hands=(hand, other) if who == "a" else (one, hand))

    def free(self) -> "World":
        """The same with nobody's claim on the job."""
        return self._replace(claim="")

    def ended(self, state: str, failure: str = "") -> "World":
        """The same with the job ended."""
        return self._replace(state=state, failure=failure, claim="")

    def released(self, number: int) -> "World":
        """The same with that attempt's hold given back."""
        return self.but(number, hold=False)


def tidy(world: World) -> World:
    """The same without what nobody will ask for any more, so that states which differ in nothing else are one."""
    busy = {hand.number for hand in world.hands}
    attempts = tuple(
        each if number in busy or each.fate in ("held", "open") else _tidied(each)
        for number, each in enumerate(world.attempts, 1)
    )
    waits = not world.claim and world.state in (WAITING, RUNNING, ARCHIVING)
    looked_at = world.state in (RUNNING, ARCHIVING) or any(hand.at in _LOOKING for hand in world.hands)
    less = world._replace(attempts=attempts, nudged=world.nudged and waits, copy=world.copy if looked_at else "")
    one, other = world.hands
    return less if one <= other else _mirrored(less)


def _mirrored(world: World) -> World:
    """The same with the two workers' names exchanged: neither is anybody in particular."""
    attempts = tuple(each._replace(owner=_OTHER[each.owner]) for each in world.attempts)
    return world._replace(attempts=attempts, claim=_OTHER[world.claim], hands=(world.hands[1], world.hands[0]))


def _tidied(attempt: Attempt) -> Attempt:
    over = attempt.fate != "unknown"
    wire = (
        "void"
        if attempt.fate in ("unknown", "free", "charged") and attempt.wire in ("declined", "busy")
        else attempt.wire
    )
    return attempt._replace(owner="", quiet=attempt.quiet and not over, wire=wire)
