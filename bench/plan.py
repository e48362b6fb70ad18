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
    #: So many jobs upstream at once, each for so long, and how long that is held once it is steady.
    flight_jobs: int = 2000
    flight_job_s: float = 44.0
    flight_hold_s: float = 180.0
    memory_s: float = 600.0
    memory_every_s: float = 5.0
    #: What is asked for in a second of the mixed load: of each kind of request one part.
    memory_per_s: float = 20.0


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
    flight_jobs=100,
    flight_job_s=5.0,
    flight_hold_s=15.0,
    memory_s=30.0,
    memory_every_s=1.0,
)
