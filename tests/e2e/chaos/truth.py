"""What is true after a run, gathered once: the record, the emulator's books, the archive, the logs. Judges nothing."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from gateway.jobs import record
from gateway.jobs.record import Image, Job
from gateway.ledger import entries, proof
from gateway.ledger.entries import Kind
from gateway.ledger.proof import Difference
from gateway.storage import outbox, tables
from tests.e2e.chaos.world import World

MICROS = 1_000_000


@dataclass(frozen=True)
class Money:
    """What the ledger says of one job, in micro-credits."""

    held: int = 0
    spent: int = 0

    def plus(self, moved: entries.Effect) -> "Money":
        """With one entry more."""
        return Money(self.held + moved.held_micros, self.spent + moved.spent_micros)


@dataclass(frozen=True)
class Truth:
    """All that the judges look at."""

    jobs: Mapping[str, Job]
    attempts: tuple[Mapping[str, Any], ...]
    images: Mapping[str, tuple[Image, ...]]
    ledger: Mapping[str, Money]
    balances_held: int
    balances_spent: int
    differences: tuple[Difference, ...]
    images_lost: int
    claimed: frozenset[str]
    #: The events to be told by webhook, and those that the receiver was told: (job, type, ``webhook-id``), each time.
    deliveries: tuple[Mapping[str, Any], ...]
    told: tuple[tuple[str, str, str], ...]
    #: The emulator's totals, and its jobs by their prompt.
    totals: Mapping[str, Any]
    upstream: Mapping[str, tuple[Mapping[str, Any], ...]]
    #: Every line of every process's log, with the process's name.
    log: tuple[tuple[str, str], ...]

    def by_prompt(self) -> dict[str, list[Job]]:
        """The jobs of the record by their prompt."""
        found = defaultdict(list)
        for job in self.jobs.values():
            found[str(job.parameters["prompt"])].append(job)
        return found

    def events(self) -> list[dict[str, Any]]:
        """The log's lines that are entries."""
        found = []
        for _, line in self.log:
            if line.startswith("{"):
                try:
                    found.append(json.loads(line))
                except ValueError:
                    continue
        return found


async def gather(world: World) -> Truth:
    """Read everything, directly and not over the wires."""
    books = world.servers.emulator.books()
    upstream = defaultdict(list)
    for row in books["jobs"]:
        upstream[str(row["parameters"]["prompt"])].append(row)
    async with world.house.database.read() as connection:
        jobs = [record.job(row) for row in await connection.execute(sa.select(tables.jobs))]
        attempts = [dict(row) for row in (await connection.execute(sa.select(tables.attempts))).mappings()]
        images = defaultdict(list)
        for row in await connection.execute(sa.select(tables.images).order_by(tables.images.c.position)):
            images[row.job_id].append(record.image(row))
        ledger: dict[str, Money] = {}
        for row in await connection.execute(sa.select(tables.ledger_entries)):
            moved = entries.effect(Kind(row.kind), row.amount_micros)
            ledger[row.job_id] = ledger.get(row.job_id, Money()).plus(moved)
        deliveries = [dict(row) for row in (await connection.execute(sa.select(outbox.deliveries))).mappings()]
        balance = tables.balances
        sums = (
            await connection.execute(
                sa.select(sa.func.sum(balance.c.held_micros), sa.func.sum(balance.c.spent_micros)).where(
                    balance.c.key_id == "", balance.c.period == "total"
                )
            )
        ).one()
        lost = (await connection.execute(sa.select(sa.func.sum(tables.outcomes.c.images_lost)))).scalar_one()
        differences = await proof.differences(connection)
    return Truth(
        jobs={job.id: job for job in jobs},
        attempts=tuple(attempts),
        images={job_id: tuple(found) for job_id, found in images.items()},
        ledger=ledger,
        balances_held=int(sums[0] or 0),
        balances_spent=int(sums[1] or 0),
        differences=tuple(differences),
        images_lost=int(lost or 0),
        claimed=frozenset(job.id for job in jobs if job.claim is not None or job.claimed_by is not None),
        deliveries=tuple(deliveries),
        told=tuple((said.content["data"]["jobId"], said.content["type"], said.id) for said in world.receiver.messages),
        totals=books["totals"],
        upstream={prompt: tuple(rows) for prompt, rows in upstream.items()},
        log=tuple((slot.name, line) for slot in world.slots for line in slot.log()),
    )
