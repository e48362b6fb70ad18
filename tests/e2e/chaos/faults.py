"""The faults of a run, by name: each does its harm to a world, lasts some seconds, and is undone by the round's end.

What a fault breaks and how long follows from the run's seed alone. Killing at a named step is another matter, see
``kills``; these strike wherever the processes happen to be.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import Any, Final

from tests.e2e.chaos.slots import Slot
from tests.e2e.chaos.world import World, begin_s3
from tests.support.receiver import answer
from tests.support.wire import Wire

Fault = Callable[[World, random.Random], Awaitable[None]]

#: Faults of the emulator's answers to a paid POST; after some of them nobody knows whether it was taken.
SUBMIT_FAULTS: Final = (
    {"kind": "status", "status": 500, "accepted": True},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 502, "body": "html"},
    {"kind": "status", "status": 429, "retry_after_s": 1},
    {"kind": "status", "status": 429},
    {"kind": "status", "status": 422, "code": "invalid_request"},
    {"kind": "cut_before"},
    {"kind": "cut_after"},
    {"kind": "cut_after", "reset": True},
    {"kind": "cut_midway"},
    {"kind": "slow", "delay_s": 2},
    {"kind": "non_json"},
    {"kind": "garbage_202"},
    {"kind": "redirect"},
    {"kind": "hang", "accepted": True, "hang_s": 4},
    {"kind": "hang", "accepted": False, "hang_s": 4},
)
POLL_FAULTS: Final = (
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 429, "retry_after_s": 1},
    {"kind": "cut_after"},
    {"kind": "cut_midway"},
    {"kind": "non_json"},
    {"kind": "slow", "delay_s": 2},
    {"kind": "redirect"},
)
DOWNLOAD_FAULTS: Final = (
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 404},
    {"kind": "cut_after"},
    {"kind": "cut_midway"},
    {"kind": "slow", "delay_s": 2},
    {"kind": "non_json"},
)
#: How a job may end upstream, beside well.
OUTCOMES: Final = (
    {"kind": "failed"},
    {"kind": "failed", "error": "string"},
    {"kind": "completed_without_images"},
    {"kind": "fewer_images"},
    {"kind": "unknown_status", "for_s": 3},
    {"kind": "lost", "for_s": 3},
    {"kind": "wrong_type"},
    {"kind": "not_a_picture"},
    {"kind": "truncated"},
)


async def kill_a_worker(world: World, chance: random.Random) -> None:
    """SIGKILL; its heir comes some seconds later."""
    await _killed(chance.choice(world.workers), chance)


async def kill_a_service(world: World, chance: random.Random) -> None:
    """SIGKILL of a front door."""
    await _killed(chance.choice(world.services), chance)


async def kill_everything(world: World, chance: random.Random) -> None:
    """SIGKILL of every process of the gateway at once, as when a machine dies."""
    for slot in world.slots:
        slot.kill()
    await asyncio.sleep(chance.uniform(0, 2))


async def freeze_a_worker(world: World, chance: random.Random) -> None:
    """SIGSTOP for longer than it takes to be found dead, or for less; then SIGCONT."""
    await _frozen(chance.choice(world.workers), chance.choice((1.0, 3.0, 12.0)))


async def freeze_a_service(world: World, chance: random.Random) -> None:
    """SIGSTOP of a front door."""
    await _frozen(chance.choice(world.services), chance.uniform(1, 4))


async def stop_a_worker(world: World, chance: random.Random) -> None:
    """SIGTERM: it ends in order, within 30 s."""
    await _told(chance.choice(world.workers))


async def stop_a_service(world: World, chance: random.Random) -> None:
    """SIGTERM of a front door: it gives notice, and ends in order within 30 s."""
    await _told(chance.choice(world.services))


async def valkey_dies(world: World, chance: random.Random) -> None:
    """SIGKILL; it comes back empty."""
    world.servers.valkey.kill()
    await asyncio.sleep(chance.uniform(0, 3))
    world.servers.valkey.start()


async def valkey_forgets(world: World, chance: random.Random) -> None:
    """FLUSHALL, some times in a row."""
    for _ in range(chance.randint(1, 4)):
        await asyncio.to_thread(world.servers.valkey.flush)
        await asyncio.sleep(chance.uniform(0, 0.5))


async def valkey_stalls(world: World, chance: random.Random) -> None:
    """SIGSTOP: connections stay open, and nothing answers."""
    world.servers.valkey.pause()
    try:
        await asyncio.sleep(chance.uniform(1, 6))
    finally:
        world.servers.valkey.resume()


async def valkey_is_cut_off(world: World, chance: random.Random) -> None:
    """Its wire is cut, and refuses for a while."""
    await _cut_off(world.wires.valkey, chance)


async def valkey_is_slow(world: World, chance: random.Random) -> None:
    """Each piece of its wire is late."""
    await _behaving(world.wires.valkey, chance.uniform(1, 3), delay_s=chance.uniform(0.02, 0.3))


async def postgres_restarts(world: World, chance: random.Random) -> None:
    """An orderly stop, some seconds away, and a start."""
    if (postgres := world.servers.postgres) is not None:
        await asyncio.to_thread(postgres.stop)
        await asyncio.sleep(chance.uniform(0, 3))
        postgres.start()


async def postgres_crashes(world: World, chance: random.Random) -> None:
    """All its processes end at once, and it recovers from its log."""
    if (postgres := world.servers.postgres) is not None:
        await asyncio.to_thread(postgres.kill)
        await asyncio.sleep(chance.uniform(0, 2))
        postgres.start()


async def postgres_is_cut_off(world: World, chance: random.Random) -> None:
    """Every connection is reset, maybe in a commit, and new ones are refused for a while."""
    if (wire := world.wires.postgres) is not None:
        await _cut_off(wire, chance)


async def postgres_answers_are_cut(world: World, chance: random.Random) -> None:
    """Each connection breaks after some bytes of answers: a commit may have taken place, and nobody is told."""
    if (wire := world.wires.postgres) is not None:
        await _behaving(wire, chance.uniform(0.5, 2), cut_after_down=chance.randrange(20, 3000))


async def postgres_stalls(world: World, chance: random.Random) -> None:
    """Its wire forwards nothing for a while."""
    if (wire := world.wires.postgres) is not None:
        await _behaving(wire, chance.uniform(1, 5), stalled=True)


async def archive_goes_away(world: World, chance: random.Random) -> None:
    """The gateway of the object store ends and comes back; a folder is moved away and back."""
    away_s = chance.uniform(1, 4)
    if (s3 := world.servers.s3) is not None:
        await asyncio.to_thread(s3.process.kill)
        await asyncio.sleep(away_s)
        await begin_s3(s3)
        return
    here = world.folder / "archive"
    there = here.with_suffix(".away")
    here.rename(there)
    await asyncio.sleep(away_s)
    there.rename(here)


async def archive_is_cut_off(world: World, chance: random.Random) -> None:
    """Its wire is cut, and refuses for a while."""
    if (wire := world.wires.s3) is not None:
        await _cut_off(wire, chance)


async def archive_stalls(world: World, chance: random.Random) -> None:
    """Its wire forwards nothing for a while, then all of it."""
    if (wire := world.wires.s3) is not None:
        await _behaving(wire, chance.uniform(1, 5), stalled=True)


async def upstream_is_cut_off(world: World, chance: random.Random) -> None:
    """Its wire is cut, and refuses for a while."""
    await _cut_off(world.wires.upstream, chance)


async def upstream_requests_are_cut(world: World, chance: random.Random) -> None:
    """Requests break on their way."""
    await _behaving(world.wires.upstream, chance.uniform(0.5, 1.5), cut_after_up=chance.randrange(0, 600))


async def upstream_answers_are_cut(world: World, chance: random.Random) -> None:
    """Answers break on their way: what was asked for has happened."""
    await _behaving(
        world.wires.upstream,
        chance.uniform(0.5, 1.5),
        cut_after_down=chance.randrange(0, 5000),
        reset=chance.random() < 0.5,
    )


async def upstream_stalls(world: World, chance: random.Random) -> None:
    """Its wire forwards nothing for a while, then all of it."""
    await _behaving(world.wires.upstream, chance.uniform(1, 4), stalled=True)


async def upstream_is_slow(world: World, chance: random.Random) -> None:
    """Each piece of its wire is late."""
    await _behaving(world.wires.upstream, chance.uniform(1, 3), delay_s=chance.uniform(0.1, 0.5))


async def upstream_answers_wrongly(world: World, chance: random.Random) -> None:
    """One or two paid POSTs get an answer that is an error, no answer, or none that can be read."""
    await _switched(world, submit_fault={**chance.choice(SUBMIT_FAULTS), "times": chance.randint(1, 2)})


async def upstream_looks_fail(world: World, chance: random.Random) -> None:
    """Some looks at jobs get no proper answer."""
    await _switched(world, poll_fault={**chance.choice(POLL_FAULTS), "times": chance.randint(1, 4)})


async def upstream_downloads_fail(world: World, chance: random.Random) -> None:
    """Some downloads break or bring something else."""
    await _switched(world, download_fault={**chance.choice(DOWNLOAD_FAULTS), "times": chance.randint(1, 2)})


async def upstream_jobs_end_badly(world: World, chance: random.Random) -> None:
    """One or two jobs fail upstream, are not known for a while, or bring no picture, fewer, or another kind."""
    await _switched(world, outcome={**chance.choice(OUTCOMES), "times": chance.randint(1, 2)})


async def receivers_fail(world: World, chance: random.Random) -> None:
    """Some webhooks are answered with an error, or not at all, and are to be sent again."""
    world.receiver.say(*chance.choices((answer(500), answer(503), b""), k=3), answer(204))
    await asyncio.sleep(chance.uniform(1, 2))


async def _killed(slot: Slot, chance: random.Random) -> None:
    await asyncio.to_thread(slot.kill)
    await asyncio.sleep(chance.uniform(0, 3))


async def _frozen(slot: Slot, for_s: float) -> None:
    slot.pause()
    try:
        await asyncio.sleep(for_s)
    finally:
        slot.resume()


async def _told(slot: Slot) -> None:
    await asyncio.to_thread(slot.tell_to_end)
    await asyncio.to_thread(slot.await_end)


async def _cut_off(wire: Wire, chance: random.Random) -> None:
    wire.behave(refuse=True)
    wire.cut(reset=chance.random() < 0.5)
    await asyncio.sleep(chance.uniform(0, 3))
    wire.heal()


async def _behaving(wire: Wire, for_s: float, **behaviour: Any) -> None:
    wire.behave(**behaviour)
    try:
        await asyncio.sleep(for_s)
    finally:
        wire.heal()


async def _switched(world: World, **switches: Any) -> None:
    await asyncio.to_thread(lambda: world.servers.emulator.switch(**switches))
    await asyncio.sleep(2.5)


_EVERYWHERE: Final = (
    kill_a_worker,
    kill_a_service,
    kill_everything,
    stop_a_worker,
    stop_a_service,
    valkey_dies,
    valkey_forgets,
    valkey_stalls,
    valkey_is_cut_off,
    valkey_is_slow,
    archive_goes_away,
    upstream_is_cut_off,
    upstream_requests_are_cut,
    upstream_answers_are_cut,
    upstream_stalls,
    upstream_is_slow,
    upstream_answers_wrongly,
    upstream_answers_wrongly,
    upstream_looks_fail,
    upstream_downloads_fail,
    upstream_jobs_end_badly,
    receivers_fail,
)
#: A frozen process may hold SQLite's one lock for as long as it is frozen, and SQLite has no server to harm.
_WITH_POSTGRES: Final = (
    freeze_a_worker,
    freeze_a_service,
    postgres_restarts,
    postgres_crashes,
    postgres_is_cut_off,
    postgres_answers_are_cut,
    postgres_stalls,
)
_WITH_S3: Final = (archive_is_cut_off, archive_stalls)


def possible(world: World) -> tuple[Fault, ...]:
    """The faults that this world can have; one that stands twice is twice as likely."""
    return (
        *_EVERYWHERE,
        *(_WITH_POSTGRES if world.servers.postgres is not None else ()),
        *(_WITH_S3 if world.servers.s3 is not None else ()),
    )


def named(world: World) -> MappingProxyType[str, Fault]:
    """The same by their names."""
    return MappingProxyType({fault.__name__: fault for fault in possible(world)})
