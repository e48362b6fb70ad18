"""What the fall of the upstream's balance says of an unknown attempt."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.jobs import balance
from gateway.jobs.balance import Spell, Stir
from gateway.jobs.settlement import Verdict

T0 = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
CREDIT = 1_000_000
HOLD = 2 * CREDIT


def at(seconds: float) -> datetime:
    """So many seconds after noon."""
    return T0 + timedelta(seconds=seconds)


def spell(opened_s: float, ended_s: float | None, cost: int | None = 2, left: int | None = None) -> Spell:
    """An attempt; amounts in credits."""
    return Spell(
        at(opened_s),
        None if ended_s is None else at(ended_s),
        None if cost is None else cost * CREDIT,
        None if left is None else left * CREDIT,
    )


DOUBT = spell(0, 80, None)
BEFORE = spell(-20, -19, 2, 100)
FREE = spell(100, 101, 2, 98)
CHARGED = replace(FREE, remaining_micros=96 * CREDIT)


@pytest.mark.parametrize(
    ("others", "stirs", "verdict"),
    [
        ([BEFORE, FREE], [], Verdict.NOT_CHARGED),
        ([BEFORE, CHARGED], [], Verdict.CHARGED),
        ([BEFORE, spell(90, 91, 5, None), replace(FREE, remaining_micros=93 * CREDIT)], [], Verdict.NOT_CHARGED),
        ([BEFORE, spell(90, 91, 5, None), replace(FREE, remaining_micros=91 * CREDIT)], [], Verdict.CHARGED),
        ([BEFORE, spell(10, 11, 0), FREE], [], Verdict.NOT_CHARGED),
        ([BEFORE, spell(10, 11, 2, 97), replace(FREE, remaining_micros=96 * CREDIT)], [], Verdict.NOT_CHARGED),
        ([BEFORE, replace(FREE, remaining_micros=97 * CREDIT)], [], None),
        ([BEFORE, replace(FREE, remaining_micros=99 * CREDIT)], [], None),
        ([BEFORE, replace(FREE, remaining_micros=90 * CREDIT)], [], None),
        ([FREE], [], None),
        ([BEFORE], [], None),
        ([BEFORE, replace(FREE, opened_at=at(70))], [], None),
        ([BEFORE, replace(FREE, remaining_micros=None)], [], None),
        ([BEFORE, spell(-5, 75, None), FREE], [], None),
        ([BEFORE, spell(95, None, None), FREE], [], None),
        ([BEFORE, spell(95, 100.5, 2), replace(FREE, remaining_micros=96 * CREDIT)], [], None),
        ([spell(-40, -39, 2, 102), BEFORE, spell(-19.5, -18, 2), CHARGED], [], Verdict.NOT_CHARGED),
        ([BEFORE, FREE], [Stir(at(-30), at(-10))], None),
        ([BEFORE, FREE], [Stir(at(50), None)], None),
        ([BEFORE, FREE], [Stir(at(-60), at(-30)), Stir(at(101), None)], Verdict.NOT_CHARGED),
    ],
    ids=[
        "fell by what is known",
        "fell by the hold as well",
        "another charge is counted",
        "another charge is counted beside the hold",
        "a refusal costs nothing",
        "a job beside the doubt is counted",
        "fell by half of it",
        "fell by less",
        "fell by more",
        "no point before",
        "no point after",
        "the point after came too early",
        "the balance was not told",
        "another doubt",
        "something under way at the point after",
        "an overlapping answer is no quiet point",
        "a point that is not quiet is passed over for an older one",
        "a refund may have come between",
        "a job may still be refunded",
        "what stirred it before and after does not count",
    ],
)
def test_the_table(others: list[Spell], stirs: list[Stir], verdict: Verdict | None) -> None:
    """Only a fall that is explained exactly, between two quiet points, with nothing else about, is evidence."""
    assert balance.weigh(DOUBT, HOLD, others, stirs) == verdict


def test_a_free_attempt_tells_nothing() -> None:
    """Where the hold is nothing, both readings of the balance are the same."""
    assert balance.weigh(DOUBT, 0, [BEFORE, FREE], []) is None
