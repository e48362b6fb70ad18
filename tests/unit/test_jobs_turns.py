"""Whose turn it is: fair between teams by credits, and quick for a team's first job."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.jobs import turns
from gateway.jobs.turns import LEAST_MICROS, Contender

CREDIT = 1_000_000
START = datetime(2026, 11, 23, 12, tzinfo=UTC)

costs = st.integers(LEAST_MICROS, 32 * CREDIT)
#: What happens before: a team orders some jobs of one price, or the line moves on by some turns.
events = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("abcd"), costs, st.integers(1, 5)),
        st.integers(1, 6),
    ),
    max_size=30,
)


@dataclass
class House:
    """A line of teams as the store would keep it: what each owes, and its waiting jobs' costs with their times."""

    owed: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, deque[tuple[int, datetime]]] = field(default_factory=dict)
    orders: int = 0

    def order(self, team_id: str, cost_micros: int, jobs: int = 1) -> None:
        """Let a team wait for so many more jobs."""
        for _ in range(jobs):
            self.orders += 1
            since = START + timedelta(seconds=self.orders)
            self.waiting.setdefault(team_id, deque()).append((cost_micros, since))

    def take(self, *, blocked: Iterable[str] = ()) -> str | None:
        """Give one turn; the team that got it, or none."""
        contenders = [
            Contender(team_id, self.owed.get(team_id, 0), jobs[0][0], f"job_{team_id}", jobs[0][1])
            for team_id, jobs in self.waiting.items()
            if jobs and team_id not in blocked
        ]
        if not contenders:
            return None
        taken = turns.line(contenders)[0]
        self.owed = turns.debts(self.owed, taken)
        self.waiting[taken.team_id].popleft()
        return taken.team_id

    def live(self, story: list[tuple[str, int, int] | int]) -> None:
        """Let the events happen."""
        for event in story:
            if isinstance(event, int):
                for _ in range(event):
                    self.take()
            else:
                self.order(*event)


@settings(deadline=None)
@given(events, st.lists(costs, min_size=4, max_size=4), costs)
def test_a_first_job_waits_for_one_slot_of_each_other_team(
    story: list[tuple[str, int, int] | int], prices: list[int], price: int
) -> None:
    """Whatever the others ordered before, a new team's first job is overtaken by one slot of each at most."""
    house = House()
    house.live(story)
    for team_id, cost_micros in zip("abcd", prices, strict=True):
        house.order(team_id, cost_micros, 20)
    house.order("new", price)
    ahead: Counter[str | None] = Counter(iter(house.take, "new"))
    assert all(slots <= 1 for slots in ahead.values()), ahead


@settings(deadline=None)
@given(events, st.lists(st.lists(costs, min_size=1, max_size=5), min_size=2, max_size=4))
def test_busy_teams_get_equal_credits(story: list[tuple[str, int, int] | int], prices: list[list[int]]) -> None:
    """Teams that always have work differ by the cost of one job at most, from wherever they start."""
    house = House()
    house.live(story)
    dearest = max(
        *(event[1] for event in story if not isinstance(event, int)), *(price for row in prices for price in row), 0
    )
    busy = [f"busy_{number}" for number in range(len(prices))]
    for team_id, row in zip(busy, prices, strict=True):
        for step in range(60):
            house.order(team_id, row[step % len(row)])
    got: Counter[str] = Counter()
    for _ in range(60):
        before = {team_id: jobs[0][0] for team_id, jobs in house.waiting.items() if jobs}
        taken = house.take()
        assert taken is not None
        got[taken] += before[taken]
        spent = [got[team_id] for team_id in busy]
        assert max(spent) - min(spent) <= dearest


@settings(deadline=None)
@given(events)
def test_a_debt_is_never_negative_nor_above_the_dearest_job(story: list[tuple[str, int, int] | int]) -> None:
    """Nobody saves up, and nobody owes more than one job."""
    house = House()
    house.live(story)
    dearest = max((event[1] for event in story if not isinstance(event, int)), default=0)
    assert all(0 <= owed <= dearest for owed in house.owed.values())


def test_a_dear_job_need_not_save_up_and_is_paid_for_afterwards() -> None:
    """A job of 32 credits goes in its turn; then the other team gets as much before its team goes again."""
    house = House()
    house.order("dear", 32 * CREDIT, 2)
    house.order("cheap", 2 * CREDIT, 100)
    first = [house.take() for _ in range(19)]
    assert first == ["dear", *["cheap"] * 16, "dear", "cheap"]


def test_a_team_that_was_idle_has_saved_nothing() -> None:
    """After a hundred turns of the other team alone, a team that comes takes turns with it, no more."""
    house = House()
    house.order("busy", 2 * CREDIT, 200)
    for _ in range(100):
        house.take()
    house.order("idle", 2 * CREDIT, 50)
    served = [house.take() for _ in range(20)]
    assert served == ["idle", "busy"] * 10


def test_a_debt_outlives_a_moment_of_idleness() -> None:
    """A team that goes away after a dear job and comes back still waits until the other has had as much."""
    house = House()
    house.order("other", 2 * CREDIT, 100)
    house.order("dear", 8 * CREDIT)
    assert [house.take() for _ in range(3)] == ["other", "dear", "other"]
    house.order("dear", 2 * CREDIT)
    assert [house.take() for _ in range(5)] == ["other", "other", "other", "dear", "other"]


def test_blocked_teams_are_passed_over_and_save_nothing() -> None:
    """A team that may not send is skipped; when it may again, it does not catch up on what it missed."""
    house = House()
    house.order("held", 2 * CREDIT, 100)
    house.order("free", 2 * CREDIT, 100)
    assert {house.take(blocked=["held"]) for _ in range(30)} == {"free"}
    assert Counter(house.take() for _ in range(10)) == {"held": 6, "free": 4}


def test_free_jobs_do_not_take_every_slot() -> None:
    """A job without a price takes a slot all the same, so a team of such jobs cannot keep the others waiting."""
    house = House()
    house.order("free", turns.cost(0, 1), 1000)
    house.order("paid", turns.cost(2 * CREDIT, 1), 10)
    served = Counter(house.take() for _ in range(42))
    assert served["paid"] == 2


def test_a_refused_job_does_not_pay_its_turn_twice() -> None:
    """The second attempt costs next to nothing, since the first has paid; one that keeps coming back pays again."""
    assert [turns.cost(8 * CREDIT, attempt) for attempt in (1, 2, 3, 4)] == [
        8 * CREDIT,
        LEAST_MICROS,
        8 * CREDIT,
        8 * CREDIT,
    ]
