"""Which job of the upstream's list belongs to which unknown attempt."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from gateway.jobs import matching
from gateway.jobs.matching import Decision, Doubt, Seen
from gateway.upstream.joblist import Listed

T0 = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
SKEW = timedelta(seconds=3)
LONG_AGO = T0 - timedelta(hours=1)


def at(seconds: float) -> datetime:
    """So many seconds after noon."""
    return T0 + timedelta(seconds=seconds)


def doubt(name: str, opened_s: float = 0, *, prompt: str = "a gate", kind: str | None = None, **more: object) -> Doubt:
    """An unknown attempt; one kind for each prompt, if not said otherwise."""
    values: dict[str, object] = {"unknown": True, "ready": True, "model": "m", **more}
    return Doubt(
        job_id=name,
        number=1,
        prompt=prompt,
        kind=kind or prompt,
        opened_at=at(opened_s),
        quiet_at=at(opened_s + 80),
        **values,  # type: ignore[arg-type]
    )


def job(name: str, created_s: float | None = 1, *, prompt: str | None = "a gate", model: str | None = "m") -> Listed:
    """A listed job."""
    return Listed(name, model, None if created_s is None else at(created_s), prompt, 2_000_000)


def seen(*jobs: Listed, whole_since: datetime | None = LONG_AGO, begun_s: float = 200) -> Seen:
    """A reading of the list, whole if not said otherwise."""
    return Seen(jobs, at(begun_s), whole_since, SKEW)


def pairs(decision: Decision) -> dict[str, str]:
    """The matches by name."""
    return {found.job_id: listed.upstream_job_id for found, listed in decision.matches}


def absent(decision: Decision) -> set[str]:
    """The attempts that were not taken."""
    return {found.job_id for found in decision.absent}


def test_one_attempt_and_one_job_that_fits() -> None:
    """The only job of that model and time, with that prompt, is the attempt's."""
    decision = matching.decide([doubt("d")], seen(job("u")))
    assert (pairs(decision), absent(decision)) == ({"d": "u"}, set())


@pytest.mark.parametrize(
    "listed",
    [
        job("u", model="other"),
        job("u", created_s=-4),
        job("u", created_s=84),
    ],
    ids=["another model", "before it was sent", "after it was quiet"],
)
def test_a_job_that_cannot_be_its_own(listed: Listed) -> None:
    """A job of another model or another time is no match, and no objection to the attempt's absence."""
    decision = matching.decide([doubt("d")], seen(listed))
    assert (pairs(decision), absent(decision)) == ({}, {"d"})


@pytest.mark.parametrize(
    "listed",
    [job("u", model=None), job("u", created_s=None), job("u", prompt="an old gate in the mist")],
    ids=["no model", "no time", "another prompt"],
)
def test_a_job_that_might_be_its_own_leaves_the_doubt(listed: Listed) -> None:
    """What the list does not show is no match; nor is a job of that model and time absent, whatever its prompt."""
    decision = matching.decide([doubt("d")], seen(listed))
    assert (pairs(decision), absent(decision)) == ({}, set())


@pytest.mark.parametrize("prompt", [None, "a  gate ", "a g…", "a g..."])
def test_a_prompt_is_compared_as_far_as_it_is_shown(prompt: str | None) -> None:
    """A prompt that is hidden, spaced otherwise or cut off does not stand against a match."""
    assert pairs(matching.decide([doubt("d")], seen(job("u", prompt=prompt)))) == {"d": "u"}


def test_two_jobs_that_fit_leave_the_doubt() -> None:
    """One attempt and two jobs of that model and time: nobody can say which is its own."""
    decision = matching.decide([doubt("d")], seen(job("u"), job("v", 2)))
    assert (pairs(decision), absent(decision)) == ({}, set())


def test_two_attempts_and_one_job_leave_the_doubt() -> None:
    """Without prompts, one job of two teams' orders stays nobody's, and neither order is absent."""
    doubts = [doubt("d", prompt="a gate"), doubt("e", prompt="a bridge")]
    decision = matching.decide(doubts, seen(job("u", prompt=None)))
    assert (pairs(decision), absent(decision)) == ({}, set())


def test_prompts_tell_orders_apart() -> None:
    """Two orders of one time are told apart by their prompts."""
    doubts = [doubt("d", prompt="a gate"), doubt("e", prompt="a bridge")]
    decision = matching.decide(doubts, seen(job("u", prompt="a bridge"), job("v", prompt="a gate")))
    assert pairs(decision) == {"d": "v", "e": "u"}


def test_after_a_match_the_rest_is_read_again() -> None:
    """A job that is another attempt's is no objection to the absence of the first."""
    doubts = [doubt("d", prompt="a gate"), doubt("e", prompt="a bridge")]
    decision = matching.decide(doubts, seen(job("u", prompt="a bridge")))
    assert (pairs(decision), absent(decision)) == ({"e": "u"}, {"d"})


def test_times_may_force_a_pairing() -> None:
    """Where only one pairing is possible it is taken: the early job can only be the early attempt's."""
    doubts = [doubt("d", 0, prompt="a gate"), doubt("e", 40, prompt="a bridge")]
    decision = matching.decide(doubts, seen(job("v", 41, prompt=None), job("u", 1, prompt=None)))
    assert pairs(decision) == {"d": "u", "e": "v"}


def test_interchangeable_orders_pair_off_by_time() -> None:
    """The same order of the same key several times: each gets one of the pictures, the earlier the earlier."""
    doubts = [doubt("e", 5), doubt("d", 0)]
    decision = matching.decide(doubts, seen(job("v", 6), job("u", 5.5)))
    assert pairs(decision) == {"d": "u", "e": "v"}


def test_two_teams_same_words_are_not_interchangeable() -> None:
    """The same prompt of two teams at one time stays in doubt: a picture of one must not be the other's."""
    doubts = [doubt("d", kind="team one"), doubt("e", kind="team two")]
    decision = matching.decide(doubts, seen(job("u"), job("v")))
    assert pairs(decision) == {}


def test_interchangeable_orders_need_their_prompts_shown() -> None:
    """Without prompts nobody knows that these jobs are of those orders."""
    doubts = [doubt("d"), doubt("e")]
    assert pairs(matching.decide(doubts, seen(job("u", prompt=None), job("v", prompt=None)))) == {}


@pytest.mark.parametrize(("begun_s", "found"), [(200, {"d": "u"}), (60, {})], ids=["quiet", "still under way"])
def test_fewer_jobs_than_interchangeable_orders(begun_s: float, found: dict[str, str]) -> None:
    """One picture for two equal orders is given once the other cannot appear any more; the other is absent then."""
    decision = matching.decide([doubt("d"), doubt("e")], seen(job("u"), begun_s=begun_s))
    assert pairs(decision) == found
    assert absent(decision) == ({"e"} if found else set())


def test_more_jobs_than_orders_leave_the_doubt() -> None:
    """A stranger's equal order is among the jobs: nobody knows which."""
    assert pairs(matching.decide([doubt("d"), doubt("e")], seen(job("u"), job("v"), job("w")))) == {}


def test_an_attempt_under_way_is_a_rival() -> None:
    """A job that may be that of a POST whose answer is still awaited is given to nobody."""
    doubts = [doubt("d", prompt="x"), doubt("e", prompt="y", unknown=False, ready=False)]
    decision = matching.decide(doubts, seen(job("u", prompt=None)))
    assert (pairs(decision), absent(decision)) == ({}, set())


def test_a_settled_attempt_may_be_found_and_is_never_absent() -> None:
    """An attempt that was settled without its job gets it; without one nothing is said of it."""
    settled = doubt("d", unknown=False)
    assert pairs(matching.decide([settled], seen(job("u")))) == {"d": "u"}
    assert absent(matching.decide([settled], seen())) == set()


@pytest.mark.parametrize(
    "reading",
    [seen(whole_since=None), seen(whole_since=at(0)), seen(begun_s=79)],
    ids=["not whole", "not far enough back", "begun before it was quiet"],
)
def test_absence_needs_the_whole_list(reading: Seen) -> None:
    """An attempt is absent only from a list that was read whole, far enough back, after it was quiet."""
    assert absent(matching.decide([doubt("d")], reading)) == set()
    assert absent(matching.decide([doubt("d")], seen())) == {"d"}


def test_a_long_list_without_times_is_read_in_no_time() -> None:
    """Where each of twenty doubts may be each of a thousand strangers' jobs, nothing is matched, and that at once."""
    doubts = [doubt(f"job_{number}") for number in range(20)]
    strangers = seen(*(job(f"u{number}", None, prompt=None) for number in range(1000)))
    begun_s = time.process_time()
    assert matching.decide(doubts, strangers).matches == ()
    assert time.process_time() - begun_s < 2.0


@pytest.mark.parametrize(
    ("by_prompt", "verbatim", "free"),
    [(False, False, False), (True, False, False), (False, True, False), (True, True, True)],
)
def test_after_a_restore_strangers_do_not_block(by_prompt: bool, verbatim: bool, free: bool) -> None:
    """Another order's job blocks an absence, save for a doubt of a restore in a list that shows prompts as sent."""
    reading = Seen((job("u", prompt="a stranger"),), at(200), LONG_AGO, SKEW, verbatim=verbatim)
    decision = matching.decide([doubt("d", by_prompt=by_prompt)], reading)
    assert (pairs(decision), absent(decision)) == ({}, {"d"} if free else set())


def test_a_job_that_may_be_its_own_blocks_after_a_restore_too() -> None:
    """Two listed jobs of the same prompt for one doubt stay in doubt: which is whose cannot be told."""
    reading = Seen((job("u"), job("v", 2), job("w", prompt=None)), at(200), LONG_AGO, SKEW, verbatim=True)
    decision = matching.decide([doubt("d", by_prompt=True)], reading)
    assert (pairs(decision), absent(decision)) == ({}, set())


@pytest.mark.parametrize(
    ("prompts", "verbatim"),
    [
        ([], False),
        ([("a gate", "a gate")], True),
        ([("a  gate ", "a gate")], True),
        ([("a gate in rain", "a gate …")], True),
        ([("a gate", "a gate"), ("a gate", "a majestic gate")], False),
        ([("a gate", None)], False),
    ],
)
def test_a_list_is_taken_at_its_word_only_if_ours_are_shown_so(
    prompts: list[tuple[str | None, str | None]], verbatim: bool
) -> None:
    """Prompts count if each job that is surely ours shows its own, and there is one."""
    assert matching.verbatim(prompts) is verbatim
