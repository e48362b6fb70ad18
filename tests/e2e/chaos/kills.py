"""Which process dies at which step: the least killed of all steps that are known first, so that each has its turn.

Steps are not listed here: a run without faults tells them, and whatever is seen for the first time later joins in.
"""

import random
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from tests.e2e.chaos import slots
from tests.e2e.chaos.slots import Slot
from tests.e2e.chaos.world import World

#: A step that was ordered so often and never taken is left for the last: only certain faults lead to it.
_FRUITLESS = 2
#: A process dies at one of the first times that it takes its step.
_TIMES = (1, 1, 1, 1, 2, 3)
#: What a process does before and after it has any job.
_OUTSIDE = ("liveness.register:", "process.work:")


@dataclass
class Kills:
    """The orders to die that were given, and what came of them."""

    world: World
    chance: random.Random
    fruitless: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> Counter[str]:
        """How often a process died at each step."""
        return slots.deaths(self.world.slots)

    def known(self, kind: str) -> list[str]:
        """The steps that services, or workers, were seen to take."""
        places = self.world.services if kind == "service" else self.world.workers
        seen = frozenset[str]().union(*(slot.steps() for slot in places))
        return sorted(step for step in seen if not step.startswith(_OUTSIDE))

    def choose(self, ready: list[Slot], most: int) -> list[Slot]:
        """Who is to die next: mostly workers, which have most steps; a service when those of services fall behind."""
        workers = [slot for slot in ready if not slot.serves]
        services = [slot for slot in ready if slot.serves]
        chosen = self.chance.sample(workers, min(most, len(workers)))
        if services and (not chosen or self._mean("service") <= self._mean("worker")):
            chosen = [self.chance.choice(services), *chosen[: most - 1]]
        return chosen

    def _mean(self, kind: str) -> float:
        steps, done = self.known(kind), self.done
        return sum(done[step] for step in steps) / max(len(steps), 1)

    def arm(self, slot: Slot, taken: Collection[str | None] = ()) -> str | None:
        """Order a process to die at the step whose turn it is, of those not ``taken``; which one."""
        done = self.done
        steps = self.known("service" if slot.serves else "worker")
        steps = [step for step in steps if step not in taken]
        if not steps or not slot.mortal:
            return None
        fewest = min(done[step] + self._hopeless(step, done) for step in steps)
        step = self.chance.choice([step for step in steps if done[step] + self._hopeless(step, done) == fewest])
        slot.arm(step, self.chance.choice(_TIMES))
        return step

    def conclude(self, slot: Slot, step: str, deaths_before: int) -> bool:
        """Take the order back; whether it was carried out."""
        slot.disarm()
        died = len(slot.deaths()) > deaths_before
        if not died:
            self.fruitless[step] += 1
        return died

    def _hopeless(self, step: str, done: Counter[str]) -> int:
        """A step that is never reached must not hold up the others: each try that failed counts as half a kill."""
        return self.fruitless[step] // (_FRUITLESS if done[step] else 1)
