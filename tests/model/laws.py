"""What must be true of every state of ``life``, and which states are ends. Pure."""

from tests.model.world import ARCHIVING, COMPLETED, ENDED, FAILED, RUNNING, SENDING, UNKNOWN, Attempt, Rules, World

#: What an answered or settled attempt has cost, and what may really have become of its POST.
_BOOKS = {
    "held": (0, {""}),
    "accepted": (1, {"taken"}),
    "orphaned": (1, {"taken"}),
    "rejected": (0, {"declined"}),
    "refused": (0, {"", "busy"}),
    "charged": (1, None),
    "free": (0, None),
    "open": (0, None),
    "unknown": (0, None),
}


def wrong(world: World) -> str | None:
    """What is wrong with a state; none if nothing is."""
    return (
        _submits(world)
        or next((said for each in world.attempts if (said := _books(each))), None)
        or _holds(world)
        or _standing(world)
        or _pictures(world)
    )


def is_end(rules: Rules, world: World) -> bool:
    """Nothing is left to be done or to be answered."""
    over = world.state in ENDED or (world.state == RUNNING and not rules.to_the_end)
    settled = all(each.fate not in ("open", "unknown") and each.wire != "flying" for each in world.attempts)
    return over and settled and all(hand.at == "idle" for hand in world.hands)


def _submits(world: World) -> str | None:
    taken = sum(each.wire == "taken" for each in world.attempts)
    if taken > 1 + world.resubmitted:
        return f"the upstream was paid {taken} times"
    if world.forgotten:
        return "an acceptance was thrown away"
    return None


def _books(attempt: Attempt) -> str | None:
    spent, truths = _BOOKS[attempt.fate]
    if attempt.spent != spent:
        return f"an attempt that is {attempt.fate} has cost {attempt.spent}"
    if truths is not None and attempt.wire not in truths:
        return f"an attempt that is {attempt.fate}, and whose POST was {attempt.wire or 'never sent'}"
    return None


def _holds(world: World) -> str | None:
    for number, each in enumerate(world.attempts, 1):
        waits = each.fate in ("open", "unknown")
        queued = each.fate == "held" and number == world.number and world.state == "queued"
        if each.hold != (waits or queued):
            return f"attempt {number} is {each.fate} of a job that is {world.state}, and its hold is {each.hold}"
    return None


def _standing(world: World) -> str | None:
    fate = world.attempt(world.number).fate
    expected = {SENDING: "open", UNKNOWN: "unknown", "queued": "held"}.get(world.state, fate)
    if fate != expected:
        return f"the job is {world.state}, and its attempt {fate}"
    if world.state in (RUNNING, ARCHIVING, COMPLETED) and all(each.fate != "accepted" for each in world.attempts):
        return f"the job is {world.state}, and nothing was accepted"
    return None


def _pictures(world: World) -> str | None:
    if world.state == COMPLETED and not world.picture:
        return "completed without a picture"
    if world.state == FAILED and world.picture:
        return "failed, and its picture is in the archive"
    return None
