"""The life of one job (DESIGN section 8) as a model: two workers, an upstream that keeps books, and what can go wrong.

Each step that the house takes is named as its function is; what time, chance and the upstream do has names of its own.
Times are events, not numbers: an attempt becomes quiet, a day passes, a copy expires. A job has two attempts at most;
one that is refused again has run out of time. Prices, budgets, pauses and turns are left out: other tests have them.
"""

from collections.abc import Iterator

from tests.model.world import (
    ARCHIVING,
    CANCELLED,
    COMPLETED,
    FAILED,
    RUNNING,
    SENDING,
    UNANSWERED,
    UNKNOWN,
    WAITING,
    Attempt,
    Hand,
    Rules,
    World,
    tidy,
)

#: Steps that the design asks for and no release takes yet.
PLANNED: frozenset[str] = frozenset()

Step = tuple[str, World]


def steps(rules: Rules, world: World) -> Iterator[Step]:
    """Everything that can happen next."""
    for name, after in _everything(rules, world):
        yield name, tidy(after)


def _everything(rules: Rules, world: World) -> Iterator[Step]:
    yield from _callers(world)
    yield from _sweeps(rules, world)
    yield from _settlements(rules, world)
    yield from _upstream(rules, world)
    for who, hand in zip("ab", world.hands, strict=True):
        yield from _fates(who, hand, world)
        yield from _works(rules, who, hand, world)


def _callers(world: World) -> Iterator[Step]:
    if world.state == WAITING:
        yield "desk.cancel", world.ended(CANCELLED).released(world.number)
        yield "sweep.queue_deadlines", world.ended(FAILED, "queue_timeout").released(world.number)
    if world.nudged:
        yield "chance.redis_forgets", world._replace(nudged=False)


def _sweeps(rules: Rules, world: World) -> Iterator[Step]:
    if rules.sweeps and not world.nudged and not world.claim:
        if world.state == WAITING:
            yield "sweep.queued", world._replace(nudged=True)
        elif world.state in (RUNNING, ARCHIVING):
            yield "sweep.overdue", world._replace(nudged=True)
    for who, hand in zip("ab", world.hands, strict=True):
        # Dead, or so long away that it is taken for dead: nobody can tell.
        if hand.at != "idle":
            yield from _freed(rules, who, world)
    for number, attempt in enumerate(world.attempts, 1):
        if attempt.fate == "open" and attempt.quiet:
            yield "sweep.stuck", _lost(rules, world, number)


def _freed(rules: Rules, who: str, world: World) -> Iterator[Step]:
    for number, attempt in enumerate(world.attempts, 1):
        if attempt.owner == who and attempt.fate == "open":
            yield "sweep.free", _lost(rules, world, number)
    if world.claim == who and world.state != SENDING:
        yield "sweep.free", world.free()


def _fates(who: str, hand: Hand, world: World) -> Iterator[Step]:
    """What happens to a worker."""
    if hand.at == "dead":
        holds = world.claim == who or any(each.owner == who and each.fate == "open" for each in world.attempts)
        if not holds:
            yield "chance.worker_starts", world.hand(who, Hand())
        return
    if hand.at != "idle":
        yield "chance.killed", world.hand(who, Hand("dead"))
    if hand.at in ("claimed", "opened") and not hand.late:
        yield "chance.frozen", world.hand(who, hand._replace(late=True))


def _upstream(rules: Rules, world: World) -> Iterator[Step]:
    """The other side of the wire."""
    for number, attempt in enumerate(world.attempts, 1):
        if attempt.wire == "flying":
            yield "upstream.takes", world.but(number, wire="taken")
            yield "upstream.declines", world.but(number, wire="declined")
            yield "upstream.is_busy", world.but(number, wire="busy")
            yield "upstream.never_hears", world.but(number, wire="void")
        elif attempt.fate in ("open", "unknown") and not attempt.quiet:
            yield "time.quiet", world.but(number, quiet=True)
    if world.copy == "working" and rules.to_the_end:
        yield "upstream.finishes", world._replace(copy="done")
        yield "upstream.fails", world._replace(copy="failed")
    elif world.copy == "done":
        yield "upstream.expires", world._replace(copy="gone")


def _works(rules: Rules, who: str, hand: Hand, world: World) -> Iterator[Step]:
    """The steps of a worker."""
    if hand.at == "idle":
        yield from _takes(rules, who, world)
    elif hand.at in ("claimed", "opened", "cleared", "posted", "answered"):
        yield from _submits(rules, who, hand, world)
    elif hand.at in ("looking", "seen"):
        yield from _polls(who, hand, world)
    elif hand.at in ("fetching", "fetched"):
        yield from _keeps(rules, who, hand, world)


def _takes(rules: Rules, who: str, world: World) -> Iterator[Step]:
    if world.claim or not world.nudged or not (world.state == WAITING or rules.to_the_end):
        return
    taken = world._replace(claim=who, nudged=False)
    if world.state == WAITING:
        yield "claims.take_queued", taken.hand(who, Hand("claimed", world.number))
    elif world.state == RUNNING:
        yield "claims.take_first", taken.hand(who, Hand("looking"))
    elif world.state == ARCHIVING:
        yield "claims.take_first", taken.hand(who, Hand("fetching", word="have" if world.picture else ""))


def _submits(rules: Rules, who: str, hand: Hand, world: World) -> Iterator[Step]:
    if hand.at == "claimed":
        yield from _opens(rules, who, hand, world)
    elif hand.at == "opened":
        after = Hand("answered", hand.number, "not_sent") if hand.late else hand._replace(at="cleared")
        yield "submission._send", world.hand(who, after)
    elif hand.at == "cleared":
        away = world.attempt(hand.number).quiet
        yield "client.submit", world.hand(who, Hand("answered", hand.number, "lost" if away else "busy"))
        if not (away and rules.no_late_posts):
            yield "client.submit", world.but(hand.number, wire="flying").hand(who, hand._replace(at="posted"))
    elif hand.at == "posted":
        told = {"taken": "accepted", "declined": "declined", "busy": "busy"}.get(world.attempt(hand.number).wire)
        for word in ("lost", *([told] if told else [])):
            yield "client.submit", world.hand(who, Hand("answered", hand.number, word))
    else:
        yield "booking.book", _booked(rules, world, who, hand).hand(who, Hand())


def _opens(rules: Rules, who: str, hand: Hand, world: World) -> Iterator[Step]:
    idle = world.hand(who, Hand())
    if world.state == WAITING and world.attempt(hand.number).hold and hand.number == world.number:
        yield "submission._withdraw", idle.ended(FAILED, "model_withdrawn").released(hand.number)
    mine = world.claim == who and world.state == WAITING
    number = world.number
    # The attempt's own row is there once, whatever else is guarded.
    if not (mine or not rules.intent_guarded) or world.attempt(number).fate != "held":
        yield "attempts.open", idle
        return
    opened = world.but(number, fate="open", owner=who)._replace(state=SENDING)
    yield "attempts.open", opened.hand(who, hand._replace(at="opened", number=number))
    # The commit's own answer was lost: it may have taken place or not, and nothing is sent.
    unsent = Hand("answered", number, "not_sent")
    yield "attempts.open", opened.hand(who, unsent)
    yield "attempts.open", world.hand(who, unsent)


def _polls(who: str, hand: Hand, world: World) -> Iterator[Step]:
    idle = world.hand(who, Hand())
    if hand.at == "looking":
        yield "client.poll", world.hand(who, Hand("seen", word=world.copy))
        return
    if world.state == RUNNING and hand.word in ("failed", "gone"):
        # By the state alone: what the upstream said is so, whoever heard it.
        yield "polling.poll", idle.ended(FAILED, "upstream_failed")
    elif world.state == RUNNING and world.claim == who:
        yield "polling.poll", idle._replace(state=ARCHIVING if hand.word == "done" else RUNNING, claim="", nudged=True)
    else:
        yield "polling.poll", idle


def _keeps(rules: Rules, who: str, hand: Hand, world: World) -> Iterator[Step]:
    if hand.at == "fetching":
        if hand.word == "have":
            yield "keeping.keep", world.hand(who, Hand("fetched", word="kept"))
        elif world.copy == "gone":
            yield "keeping.keep", world.hand(who, Hand("fetched", word="gone"))
        else:
            stores = world.state == ARCHIVING or not rules.end_by_archive
            yield (
                "keeping.keep",
                world._replace(picture=world.picture or stores).hand(who, Hand("fetched", word="kept")),
            )
            yield "keeping.keep", world.hand(who, Hand("fetched", word="undelivered"))
        return
    idle = world.hand(who, Hand())
    mine = world.claim == who
    if world.state == ARCHIVING and hand.word == "kept" and world.picture:
        yield "keeping.keep", idle.ended(COMPLETED)
    elif world.state == ARCHIVING and hand.word == "gone" and not (world.picture and rules.end_by_archive):
        yield "keeping.keep", idle.ended(FAILED, "archive_lost")
    elif world.state == ARCHIVING and mine:
        yield "keeping.keep", idle._replace(claim="", nudged=True)
    else:
        yield "keeping.keep", idle


def _settlements(rules: Rules, world: World) -> Iterator[Step]:
    """How doubts end."""
    for number, attempt in enumerate(world.attempts, 1):
        if attempt.fate != "unknown":
            continue
        if attempt.wire == "taken" and rules.evidence:
            yield "discovery.discover", _accepted(world, number)
        if not attempt.quiet and rules.settle_when_quiet:
            continue
        yield "sweep.unknowns", _concluded(world, number, "charged")
        # The operator, and the list that was read whole, tell the truth as it is at that moment.
        if attempt.wire == "taken":
            yield "settlement.found_in", _accepted(world, number)
        else:
            yield "settlement.settle_in", _concluded(world, number, "free")
            if rules.evidence:
                yield "settlement.not_taken", _not_taken(rules, world, number)
        if rules.resubmit_once and _carries(world, number) and not world.resubmitted and _room(rules, world):
            again = world._replace(attempts=(*world.attempts, Attempt()), number=number + 1, resubmitted=True)
            yield "resubmission.resubmit", again._replace(state=WAITING, nudged=True, claim="")


def _not_taken(rules: Rules, world: World, number: int) -> World:
    before = any(each.fate in ("charged", "free") for each in world.attempts)
    if not _carries(world, number) or world.resubmitted or before or not _room(rules, world):
        return _concluded(world, number, "free")
    return _requeued(world.but(number, fate="free"), number)


def _carries(world: World, number: int) -> bool:
    return world.state == UNKNOWN and world.number == number


def _room(rules: Rules, world: World) -> bool:
    return len(world.attempts) < rules.attempts_max


def _concluded(world: World, number: int, fate: str) -> World:
    after = world.but(number, fate=fate, hold=False, spent=int(fate == "charged"))
    return after.ended(FAILED, "submission_unknown") if _carries(world, number) else after


def _booked(rules: Rules, world: World, who: str, hand: Hand) -> World:
    """What an answer does; one that no attempt waits for only ends the claim that it came under."""
    attempt = world.attempt(hand.number)
    unclaimed = world.claim != who and world.state != SENDING
    foreign = hand.word == "not_sent" and attempt.owner != who and rules.unsent_by_claim
    if attempt.fate not in UNANSWERED or foreign or (unclaimed and not rules.book_without_claim):
        after = world.free() if world.claim == who and world.state == WAITING else world
        dropped = hand.word == "accepted" and attempt.fate not in ("accepted", "orphaned")
        return after._replace(forgotten=world.forgotten or dropped, nudged=world.nudged or after is not world)
    if hand.word == "accepted":
        return _accepted(world, hand.number)
    if hand.word == "declined":
        return _declined(world, hand.number)
    if hand.word in ("busy", "not_sent"):
        return _refused(rules, world, hand.number)
    return _lost(rules, world, hand.number)


def _apart(world: World) -> bool:
    """The job has gone on without the attempts that still wait for an answer."""
    undecided = world.state == FAILED and world.failure == "submission_unknown"
    return world.state not in (WAITING, SENDING, UNKNOWN) and not undecided


def _accepted(world: World, number: int) -> World:
    if _apart(world):
        return world.but(number, fate="orphaned", hold=False, spent=1)
    after = world.but(number, fate="accepted", hold=False, spent=1)
    if world.state == WAITING:
        after = after.released(world.number)
    return after._replace(state=RUNNING, failure="", claim="", nudged=True, copy="working")


def _declined(world: World, number: int) -> World:
    after = world.but(number, fate="rejected", hold=False, spent=0)
    waits = world.number == number and world.state != WAITING and not _apart(world)
    return after.ended(FAILED, "upstream_rejected") if waits else after


def _refused(rules: Rules, world: World, number: int) -> World:
    after = world.but(number, fate="refused")
    waits = world.number == number and world.state in (SENDING, UNKNOWN)
    if not waits or not _room(rules, world):
        after = after.but(number, hold=False, spent=0)
        return after.ended(FAILED, "queue_timeout") if waits else after
    return _requeued(after, number)


def _requeued(world: World, number: int) -> World:
    """The hold is exchanged for the next attempt's."""
    after = world.released(number)
    after = after._replace(attempts=(*after.attempts, Attempt()), number=number + 1)
    return after._replace(state=WAITING, claim="", nudged=True)


def _lost(rules: Rules, world: World, number: int) -> World:
    if world.attempt(number).fate != "open":
        return world
    if not rules.ambiguity_is_a_state:
        return _refused(rules, world, number)
    after = world.but(number, fate="unknown")
    waits = world.number == number and world.state == SENDING
    return after._replace(state=UNKNOWN, claim="") if waits else after
