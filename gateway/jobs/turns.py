"""Fair turns between teams: deficit round robin, counted in credits. Pure; ``claims`` keeps what it says.

Each team owes something for the turns it had. Whoever owes least goes next, and then owes what its job costs. What it
owed before is taken off the debt of everybody, down to nothing: that is a round going by. So:

* A team's first job waits for one slot of each other team at most. While it owes nothing nothing is taken off, and
  whoever goes before it owes something from then on and comes after it.
* Teams that always have work get equal credits, to within the cost of one job: cheap jobs get more slots than dear.
* A dear job need not be saved up for. It goes in its turn, and its team is in debt afterwards.
* Nobody saves up: a team that is idle, paused or at its limit owes nothing at best. Nobody escapes: a debt stays while
  its team is idle, until the others have had as much.

It is the usual virtual time, counted from now. With the sum of all that was ever taken off as the time of the line, a
team stands at that time plus its debt, and one that comes back starts at the greater of its own place and the line's.
Written as debts, the teams that are idle stay at zero and need no writing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

#: No claim is free, not even that of a job without a price: each takes a slot and a request of the budget.
LEAST_MICROS = 100_000


@dataclass(frozen=True)
class Contender:
    """A team with work, by the job that it would send next."""

    team_id: str
    #: What the team owes for the turns it had (``teams.turn_micros``); never negative.
    owed_micros: int
    cost_micros: int
    job_id: str
    since: datetime


def cost(hold_micros: int, attempt: int) -> int:
    """What a job's turn costs its team: its hold. One that was refused and goes again has paid it already.

    But only once: one that keeps coming back pays each further time, or a job which the upstream never takes would
    keep its team's place in the line for as long as it lives.
    """
    return LEAST_MICROS if attempt == 2 else max(hold_micros, LEAST_MICROS)


def line(contenders: Iterable[Contender]) -> list[Contender]:
    """The teams in the order of their turns; among those that owe the same, the longest waiting job first."""
    return sorted(contenders, key=lambda team: (team.owed_micros, team.since, team.team_id))


def debts(owed_micros: Mapping[str, int], taken: Contender) -> dict[str, int]:
    """What every team owes after one has taken its turn; ``owed_micros`` names all that owe anything."""
    settled = {team_id: less(owed, taken.owed_micros) for team_id, owed in owed_micros.items()}
    return {**settled, taken.team_id: taken.cost_micros}


def less(owed_micros: int, by_micros: int) -> int:
    """A debt after something was taken off it, or a turn given back: never less than nothing."""
    return max(owed_micros - by_micros, 0)
