"""One run: a round without faults, then rounds of orders and faults, then quiet, until every accepted job has ended."""

import asyncio
import contextlib
import functools
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from tests.e2e.chaos import faults, unresolved
from tests.e2e.chaos.kills import Kills
from tests.e2e.chaos.orders import Callers
from tests.e2e.chaos.slots import Slot
from tests.e2e.chaos.world import World
from tests.support import wait

#: A paid POST has 20 s, then 60 s of quiet; evidence is looked for after that, twice if need be.
UNKNOWN_BOUND_S = 20.0 + 60.0 + 60.0
#: Once nothing is broken any more, something ends or moves at least so often, until all has ended.
ENDED_WITHIN_S = 60.0
#: A slow machine is not given more orders while so many wait.
CROWD = 40
#: Of the rounds, so many are kills at named steps; the others are faults that strike anywhere.
KILL_SHARE = 0.55
_REACHED_WITHIN_S = 7.0
_ORDERS = (3, 6)
#: Steps that only certain answers of the upstream lead to, by a sign in their names.
_LURES: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "pacer.halt": {"submit_fault": {"kind": "status", "status": 429, "retry_after_s": 1, "times": 1}},
        "_postpone": {"submit_fault": {"kind": "status", "status": 429, "retry_after_s": 1, "times": 1}},
        "booking._nudge:queue.submit": {"submit_fault": {"kind": "status", "status": 429, "times": 1}},
        "submission.submit:queue.submit": {"submit_fault": {"kind": "status", "status": 429, "times": 1}},
        "keeping.keep:queue": {"download_fault": {"kind": "status", "status": 500, "times": 1}},
        "reachable": {"submit_fault": {"kind": "cut_before", "times": 1}},
        "evidence": {"submit_fault": {"kind": "cut_after", "times": 1}},
    }
)
#: What the emulator takes for a job, as a share of its 40 to 45 s, and how many bytes a picture has.
TIME_SCALE = 0.012
PICTURE_BYTES = 20_000


@dataclass(frozen=True)
class Length:
    """How long a run is."""

    rounds: int
    #: Wait for what is unknown to be resolved at the end, which takes more than a minute.
    patient: bool
    #: Wait at most so long for each armed process to die.
    reached_within_s: float = _REACHED_WITHIN_S


@dataclass
class Run:
    """A run and what became of it."""

    world: World
    callers: Callers
    kills: Kills
    seed: int
    length: Length
    faults: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    seconds: float = 0.0
    #: Jobs that had not ended when the run's patience did, by id with their state.
    open_jobs: dict[str, str] = field(default_factory=dict)
    #: Faults that broke on themselves: the run's own bugs.
    complaints: list[str] = field(default_factory=list)


async def play(world: World, seed: int, length: Length, tell: Callable[[str], None]) -> Run:
    """Play the rounds of this seed, and wait until nothing is under way any more."""
    began_s = time.monotonic()
    chance = random.Random(seed)  # noqa: S311  chance that can be repeated
    callers = Callers(world, random.Random(seed + 1), str(seed))  # noqa: S311  as above
    found = Run(world, callers, Kills(world, chance), seed, length)
    world.servers.emulator.switch(
        time_scale=TIME_SCALE, picture_bytes=PICTURE_BYTES, job_list=True, job_list_prompts=True
    )
    try:
        await _rehearse(found)
        tell(f"{len(found.kills.known('worker'))} steps of workers, {len(found.kills.known('service'))} of services")
        callers.read_on()
        for number in range(length.rounds):
            named = await _round(found, chance)
            tell(f"round {number + 1}: {named}; {time.monotonic() - began_s:.0f} s")
        await world.heal()
        await callers.settled()
        await _quiet(found, tell)
        for order in [order for order in callers.orders if order.job_id is not None]:
            await callers.read(order)
    finally:
        await callers.close()
    found.seconds = time.monotonic() - began_s
    return found


async def _rehearse(found: Run) -> None:
    """Carry some orders out without any fault: now the steps are known."""
    for _ in range(6):
        found.callers.order()
    await found.callers.settled()
    async with asyncio.timeout(30):
        while await unresolved.jobs(found.world.house.database):  # noqa: ASYNC110  what is waited for is in SQL
            await asyncio.sleep(0.2)


async def _round(found: Run, chance: random.Random) -> str:
    crowded = await unresolved.crowd(found.world.house.database) > CROWD
    for _ in range(chance.randint(*_ORDERS)):
        if not crowded:
            found.callers.order()
    named = "kill at steps" if chance.random() < KILL_SHARE else chance.choice(faults.possible(found.world)).__name__
    # Orders are under way by then, some of them.
    await asyncio.sleep(chance.uniform(0, 0.6))
    found.faults[named] += 1
    found.rounds += 1
    try:
        if named == "kill at steps":
            named = await _kills(found)
        else:
            await faults.named(found.world)[named](found.world, chance)
    except Exception as broken:  # noqa: BLE001  the run goes on, and is not a success
        found.complaints.append(f"round {found.rounds}, {named}: {broken!r}")
    await found.world.heal()
    return named


async def _kills(found: Run) -> str:
    """Have one or two processes die at their steps while orders come in; the plain worker is left alone."""
    world = found.world
    mortals = [slot for slot in world.slots if slot.mortal]
    await wait.until(lambda: any(slot.ready for slot in mortals), timeout_s=30, what="a process that may be killed")
    ready = [slot for slot in mortals if slot.ready]
    before = {slot: len(slot.deaths()) for slot in found.kills.choose(ready, 2)}
    doomed: dict[Slot, str | None] = {}
    for slot in before:
        doomed[slot] = found.kills.arm(slot, doomed.values())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(found.length.reached_within_s):
            while any(len(slot.deaths()) == before[slot] for slot in doomed):
                await _lure(found, [step for step in doomed.values() if step is not None])
                await asyncio.sleep(0.5)
    words = []
    for slot, step in doomed.items():
        if step is not None:
            words.append(f"{step}{'' if found.kills.conclude(slot, step, before[slot]) else ' (not reached)'}")
    return "killed at " + ", ".join(words)


async def _lure(found: Run, steps: list[str]) -> None:
    """Bring about what leads to these steps: orders, and what some of them need beside."""
    cancelling = any(step.startswith("desk.cancel") for step in steps)
    crowded = await unresolved.crowd(found.world.house.database) > 2 * CROWD
    for _ in range(3 if cancelling else 0 if crowded else 2):
        found.callers.order(cancel=cancelling)
    if any(step.startswith("sweep.") for step in steps):
        # Without their nudges jobs are overdue.
        await asyncio.to_thread(found.world.servers.valkey.flush)
    for sign, switches in _LURES.items():
        if any(sign in step for step in steps):
            await asyncio.to_thread(functools.partial(found.world.servers.emulator.switch, **switches))


async def _quiet(found: Run, tell: Callable[[str], None]) -> None:
    """Wait until all jobs have ended and all webhooks are delivered, as long as anything still moves.

    In a patient run what is unknown has longer: its evidence comes when it comes.
    """
    database = found.world.house.database
    began_s = moved_s = time.monotonic()
    before: tuple[dict[str, str], list[str]] = ({}, [])
    while True:
        await found.world.heal()
        left, untold = await unresolved.jobs(database), await unresolved.deliveries(database)
        if (left, untold) != before:
            before, moved_s = (left, untold), time.monotonic()
        still_s = time.monotonic() - moved_s
        doubtful = bool(left) and set(left.values()) == {"submission_unknown"} and not untold
        if doubtful and not found.length.patient:
            break
        if not (left or untold) or still_s > (UNKNOWN_BOUND_S if doubtful else ENDED_WITHIN_S):
            break
        await asyncio.sleep(0.5)
    found.open_jobs = left
    tell(f"quiet after {time.monotonic() - began_s:.0f} s; not ended: {len(left)} jobs, {len(untold)} webhooks")
