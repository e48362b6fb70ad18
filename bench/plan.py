"""How long and how hard each measurement goes: the whole one that is published, and a quick one. Frozen values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The sizes of one run."""

    connections: int = 32
    warm_s: float = 2.0
    saturated_s: float = 10.0
    floor_s: float = 4.0
    paced_per_s: float = 100.0
    paced_s: float = 10.0
    #: Real durations are 1; with less the absolute lag cannot be compared.
    lag_scale: float = 1.0
    lag_jobs: int = 150
    #: Between two orders, at scale 1.
    lag_every_s: float = 4.0
    #: So many orders come before those that are quoted: what is spread takes that long to be learnt.
    lag_learning: int = 15
    waiters: int = 5000
    #: How long they wait and nothing happens.
    waiting_s: float = 20.0


PUBLISHED = Plan()
QUICK = Plan(
    warm_s=0.5,
    saturated_s=2.0,
    floor_s=1.0,
    paced_s=2.0,
    lag_scale=0.1,
    lag_jobs=24,
    lag_learning=6,
    waiters=300,
    waiting_s=4.0,
)
