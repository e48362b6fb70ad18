"""Several processes watched over time: their memory, their processor time, and whether memory grows."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench import figures, machine

_HOUR_S = 3600.0


@dataclass(frozen=True)
class Look:
    """What each process had used at one moment, by its name."""

    at_s: float
    rss_mib: Mapping[str, float]
    cpu_s: Mapping[str, float]


@dataclass
class Watch:
    """The processes, by name, and what was seen of them so far."""

    processes: Mapping[str, int]
    #: Those of which each descendant counts as well, as of PostgreSQL.
    families: frozenset[str] = frozenset({"postgresql"})
    looks: list[Look] = field(default_factory=list)

    def look(self) -> Look:
        """Look once at all of them."""
        seen = Look(
            time.monotonic(),
            {name: machine.rss_mib(pid) for name, pid in self.processes.items() if name not in self.families},
            {name: self._cpu_s(name, pid) for name, pid in self.processes.items()},
        )
        self.looks.append(seen)
        return seen

    def _cpu_s(self, name: str, pid: int) -> float:
        return machine.cpu_of_family_s(pid) if name in self.families else machine.cpu_s(pid)

    def between(self, begin_s: float, end_s: float) -> list[Look]:
        """What was seen from one moment to another of ``time.monotonic``."""
        return [look for look in self.looks if begin_s <= look.at_s <= end_s]


@contextmanager
def watching(watch: Watch, every_s: float) -> Iterator[Watch]:
    """Look every so often, from a thread of its own, until the block ends."""
    over = threading.Event()

    def rounds() -> None:
        while True:
            watch.look()
            if over.wait(every_s):
                return

    thread = threading.Thread(target=rounds, name="watch", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()


def cores(looks: Sequence[Look]) -> dict[str, float]:
    """How much of one core each process used from the first look to the last."""
    first, last = looks[0], looks[-1]
    took_s = last.at_s - first.at_s
    return {name: (last.cpu_s[name] - first.cpu_s[name]) / took_s for name in first.cpu_s}


def median_mib(looks: Sequence[Look], name: str) -> float:
    """The memory in the middle of what was seen."""
    return figures.percentile(sorted(look.rss_mib[name] for look in looks), 0.5)


def slope_mib_per_h(looks: Sequence[Look], name: str) -> float:
    """How fast memory grew: the line of least squares through what was seen, in MiB an hour."""
    middle_s = figures.mean([look.at_s for look in looks])
    middle_mib = figures.mean([look.rss_mib[name] for look in looks])
    spread = sum((look.at_s - middle_s) ** 2 for look in looks)
    if not spread:
        raise ValueError("there is no slope through one moment")
    along = sum((look.at_s - middle_s) * (look.rss_mib[name] - middle_mib) for look in looks)
    return along / spread * _HOUR_S
