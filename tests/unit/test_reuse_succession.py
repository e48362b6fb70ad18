"""Who leads when a leader left: the oldest first, and whose hold it is then."""

import pytest

from gateway.reuse import succession
from gateway.reuse.succession import Follower

LEADER = Follower("job_1", "team_a", "k1", "k1")


@pytest.mark.parametrize(
    ("heir", "budgeted", "inherits"),
    [
        (Follower("job_2", "team_a", "k1", "k1"), set(), True),
        (Follower("job_2", "team_a", "k1", "k1"), {"k1"}, True),
        (Follower("job_2", "team_a", "k9", "k1"), {"k1"}, True),
        (Follower("job_2", "team_a", "k2", "k2"), {"k1"}, True),
        (Follower("job_2", "team_a", "k2", "k2"), {"k2"}, False),
        (Follower("job_2", "team_b", "k1", "k1"), set(), False),
    ],
)
def test_whose_hold_it_is(heir: Follower, budgeted: set[str], inherits: bool) -> None:
    """A hold moves within its team, and to a key with a budget only within one chain of rotations."""
    (found,) = succession.heirs(LEADER, [heir], budgeted)
    assert found.inherits is inherits


def test_the_oldest_is_asked_first() -> None:
    """Followers are asked in the order in which they came, whoever would have to pay anew."""
    line = [Follower(f"job_{n}", "team_b" if n == 2 else "team_a", "k1", "k1") for n in range(2, 6)]
    assert [heir.follower for heir in succession.heirs(LEADER, line, ())] == line
    assert succession.heirs(LEADER, [], ()) == []
