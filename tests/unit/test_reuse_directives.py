"""``Cache-Control`` of requests, ``Cache-Status`` and ``Age`` of answers."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.reuse import directives
from gateway.reuse.answer import Answer
from gateway.reuse.directives import SECONDS_MAX, Directives, Handling, Outcome

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def kept(age_s: float, left_s: float | None = None) -> Answer:
    """An answer of that age, good for so much longer."""
    since = NOW - timedelta(seconds=age_s)
    until = None if left_s is None else NOW + timedelta(seconds=left_s)
    return Answer(1, "team_a", "k1", "job_a", "flux-2-max", 2_000_000, since, since, since, until, since, ())


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        (None, Directives()),
        ("", Directives()),
        (" , ,", Directives()),
        ("no-cache", Directives(no_cache=True)),
        ("No-Cache", Directives(no_cache=True)),
        ("no-store", Directives(no_store=True)),
        ("only-if-cached", Directives(only_if_cached=True)),
        ("no-cache,no-store", Directives(no_cache=True, no_store=True)),
        ("\tno-cache , only-if-cached ", Directives(no_cache=True, only_if_cached=True)),
        ("max-age=0", Directives(max_age_s=0)),
        ('max-age="60"', Directives(max_age_s=60)),
        ("max-age = 60", Directives(max_age_s=60)),
        ("max-age=99999999999999999999", Directives(max_age_s=SECONDS_MAX)),
        ("min-fresh=20, max-age=10", Directives(max_age_s=10, min_fresh_s=20)),
        ("max-stale, max-stale=10, no-transform", Directives()),
        ("private, x=y, no-caches", Directives()),
        ('x="no-cache, no-store"', Directives()),
        (r'x="a \" , no-cache", no-store', Directives(no_store=True)),
    ],
)
def test_what_a_header_means(header: str | None, meant: Directives) -> None:
    """Directives count in any case, order and spacing; what is not known, or stands in quotes, means nothing."""
    assert directives.read(header) == meant


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        ("max-age", Directives(max_age_s=0)),
        ("max-age=soon", Directives(max_age_s=0)),
        ("max-age=-1", Directives(max_age_s=0)),
        ("max-age=1.5", Directives(max_age_s=0)),
        ("max-age=\u0661", Directives()),
        ("min-fresh=soon", Directives(min_fresh_s=SECONDS_MAX)),
        ("max-age=60, max-age=10", Directives(max_age_s=10)),
        ("min-fresh=60, min-fresh=90", Directives(min_fresh_s=90)),
        ("no-cache=x", Directives(no_cache=True)),
    ],
)
def test_a_doubtful_directive_is_the_strictest(header: str, meant: Directives) -> None:
    """A number that is none, or one of several, never lets a caller have a picture that it may not have wanted."""
    assert directives.read(header) == meant


@pytest.mark.parametrize("header", ['no-store, "no-cache', "no-store; no-cache", "no-store no-cache", "(no-store)"])
def test_what_cannot_be_read_ends_the_list(header: str) -> None:
    """A list that breaks off counts up to there, and never as what may follow."""
    assert not directives.read(header).no_cache


@given(st.text())
def test_no_text_breaks_it(header: str) -> None:
    """Whatever stands in the header, it is read in some way."""
    found = directives.read(header)
    assert found.max_age_s is None or 0 <= found.max_age_s <= SECONDS_MAX


@pytest.mark.parametrize(
    ("header", "answer", "taken"),
    [
        ("", kept(1e6), True),
        ("no-cache", kept(0), False),
        ("no-store", kept(0), True),
        ("only-if-cached", kept(0), True),
        ("max-age=60", kept(60.9), True),
        ("max-age=60", kept(61), False),
        ("max-age=0", kept(0.5), True),
        ("max-age=0", kept(1), False),
        ("min-fresh=10", kept(0), True),
        ("min-fresh=10", kept(0, left_s=10), True),
        ("min-fresh=10", kept(0, left_s=9.9), False),
        ("max-age=60, min-fresh=10", kept(61, left_s=20), False),
    ],
)
def test_which_answers_are_good_enough(header: str, answer: Answer, taken: bool) -> None:
    """Age and what is left decide; an entry without an end is good for as long as anyone wants."""
    assert directives.read(header).takes(answer, NOW) is taken


@pytest.mark.parametrize(
    ("header", "plain"), [("", True), ("no-store", True), ("max-age=9", False), ("no-cache", False)]
)
def test_a_plain_request_takes_any_entry(header: str, plain: bool) -> None:
    """A request is plain if it need not see an entry to know that it will do."""
    assert directives.read(header).plain is plain


@pytest.mark.parametrize(
    ("handling", "field", "outcome"),
    [
        (Handling.HIT, "torii; hit", Outcome.HIT),
        (Handling.MISS, "torii; fwd=miss", Outcome.MISS),
        (Handling.COLLAPSED, "torii; fwd=miss; collapsed", Outcome.COLLAPSED),
        (Handling.BYPASS, "torii; fwd=bypass", Outcome.BYPASS),
        (Handling.REQUEST, "torii; fwd=request", Outcome.BYPASS),
        (Handling.ONLY_IF_CACHED, "torii; detail=only-if-cached", Outcome.MISS),
    ],
)
def test_how_an_answer_tells_of_it(handling: Handling, field: str, outcome: Outcome) -> None:
    """Each way to handle a request has one value of Cache-Status and one label."""
    assert directives.cache_status(handling) == field
    assert handling.outcome is outcome


def test_an_age_is_whole_and_never_negative() -> None:
    """Age counts whole seconds, and is 0 where another host's clock is ahead."""
    assert directives.age(kept(61.9), NOW) == "61"
    assert directives.age(kept(-5), NOW) == "0"
    assert directives.age(kept(3e9), NOW) == str(SECONDS_MAX)
