"""The same steps taken in a real house and in the model of its money, compared after each.

The real functions move the real stores; ``ledger`` is told what they were asked for. The upstream is not: its answers
are booked as ``booking`` would book them. The clock is the test's.
"""

import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import sqlalchemy as sa

from gateway import errors
from gateway.bootstrap import House
from gateway.jobs import accept, account, attempts, booking, claims, deeds, desk, endings, lookup, record, sweep
from gateway.jobs.accept import Caller
from gateway.jobs.outcomes import Outcome
from gateway.jobs.parts import Shop
from gateway.jobs.settlement import Verdict
from gateway.jobs.states import Failure, State
from gateway.ledger import book, budgets, entries, proof, statement
from gateway.ledger.book import Correction
from gateway.ledger.budgets import Budget, Window
from gateway.ledger.entries import Payer
from gateway.storage import tables
from gateway.tenancy import keys, scopes, teams
from gateway.upstream import answers
from gateway.upstream.answers import Refusal
from tests.model.ledger import CREDIT, Ledger
from tests.support import rig as rigs

#: Some steps before midnight, so that what begins in one day, month and year goes on in the next.
START = datetime(2026, 12, 31, 23, 56, tzinfo=UTC)
#: Credits held for one picture; the 2 MP and 4 MP ones are bounds.
HOLDS = {"0.5 MP": 2, "1 MP": 2, "2 MP": 4, "4 MP": 8}

ANSWERS = ("refused", "lost", "lost", "rejected", "twin")
#: Those that pause nothing: how long a paused job may wait is no matter of money.
REFUSALS = (Refusal.NOT_CONNECTED, Refusal.RATE_LIMITED)
Step = tuple[Any, ...]
#: How often each step is taken, and what it is taken with.
STEPS: dict[str, tuple[int, Callable[[Random], Step]]] = {
    "order": (5, lambda dice: (dice.randrange(2), dice.randrange(2), dice.choice(sorted(HOLDS)), dice.randint(1, 3))),
    "send": (7, lambda _: ()),
    "answer": (6, lambda dice: (dice.randrange(64), dice.choice(ANSWERS), dice.randint(0, 12))),
    "accept": (4, lambda dice: (dice.randrange(64), dice.choice([None, *range(13)]))),
    "settle": (4, lambda dice: (dice.randrange(64), dice.random() < 0.5)),
    "found": (1, lambda dice: (dice.randrange(64),)),
    "finish": (2, lambda dice: (dice.randrange(64), dice.random() < 0.5)),
    "cancel": (1, lambda dice: (dice.randrange(64),)),
    "adjust": (1, lambda dice: (dice.randrange(64), dice.choice([-3, -1, 2]), dice.random() < 0.5)),
    "refund": (2, lambda dice: (dice.randrange(64), dice.randint(1, 4))),
    "limit": (
        3,
        lambda dice: (
            dice.randrange(2),
            dice.randrange(3),
            dice.choice(list(Window)),
            dice.choice([None, *range(0, 60, 4)]),
        ),
    ),
    "wait": (5, lambda dice: (dice.choice([2, 90, 90, 90, 1800, 3 * 3600, 25 * 3600]),)),
}


def steps(seed: int, length: int) -> list[Step]:
    """The steps of that seed."""
    dice = Random(seed)  # noqa: S311  the same stories each time
    names = dice.choices(list(STEPS), [often for often, _ in STEPS.values()], k=length)
    return [(name, *STEPS[name][1](dice)) for name in names]


@dataclass
class StillClock:
    """A clock that goes when the test says so."""

    at: datetime = START

    def now(self) -> datetime:
        """The time of day."""
        return self.at

    def monotonic(self) -> float:
        """Seconds."""
        return self.at.timestamp()


@dataclass
class Story:
    """One story: the house, the model, and what they have in common."""

    house: House
    shop: Shop
    clock: StillClock
    teams: list[str]
    keys: dict[str, list[str]]
    model: Ledger = field(default_factory=Ledger)
    #: Every attempt that was opened, answered or not.
    opened: list[tuple[str, int]] = field(default_factory=list)
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    upstream_ids: list[str] = field(default_factory=list)
    #: The resolutions that wait for a price, since a charge was above its hold.
    blocked: set[str] = field(default_factory=set)
    resolutions: dict[str, str] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)

    async def take(self, told: Step) -> None:
        """Take the step in both worlds, then compare them."""
        deed: Callable[..., Awaitable[str]] = getattr(self, f"{told[0]}_")
        self.seen[f"{told[0]}: {await deed(*told[1:])}"] += 1
        await self.compare()

    async def order_(self, team: int, key: int, resolution: str, outputs: int) -> str:
        """An order, which the budgets cover or do not."""
        team_id = self.teams[team]
        key_id = self.keys[team_id][key]
        hold = HOLDS[resolution] * outputs * CREDIT
        body = {"prompt": "a gate", "resolution": resolution, "num_outputs": outputs}
        try:
            made = await accept.accept(self.house.counter, Caller(team_id, key_id), rigs.MODEL, body)
        except errors.PriceBlocked:
            assert resolution in self.blocked
            return "blocked"
        except errors.BudgetExhausted:
            assert not self.model.fits(team_id, key_id, hold, self.clock.at)
            return "refused"
        assert resolution not in self.blocked
        assert self.model.fits(team_id, key_id, hold, self.clock.at)
        self.model.ordered(made.job.id, team_id, key_id, hold, self.clock.at)
        assert all(used <= limit for used, limit in self.model.standing(team_id, key_id, self.clock.at))
        self.resolutions[made.job.id] = resolution
        return "made"

    async def send_(self) -> str:
        """The next job's claim and intent."""
        async with self.house.database.write() as tx:
            await account.resume(tx)
        job = await claims.take_queued(self.shop, self.clock.at)
        if job is None:
            return "none"
        assert self.model.jobs[job.id].state == "queued"
        assert job.attempt == len(self.model.jobs[job.id].attempts)
        assert await attempts.open(self.shop, job, self.clock.at) is not None
        self.model.sent(job.id, self.clock.at)
        self.opened.append((job.id, job.attempt))
        return "sent"

    async def accept_(self, which: int, cost: int | None) -> str:
        """A 202, late or not, by the price expected, another one, or none."""
        return await self._answered(which, "accepted", cost)

    async def answer_(self, which: int, kind: str, cost: int) -> str:
        """Any answer, to any attempt that was ever opened."""
        return await self._answered(which, kind, cost)

    async def _answered(self, which: int, kind: str, cost: int | None) -> str:
        waiting = [one for one in self.opened if self.model.waits(*one)]
        among = waiting if waiting and which % 8 else self.opened
        return await self._booked(*among[which % len(among)], kind, cost) if among else "none"

    async def _booked(self, job_id: str, number: int, kind: str, cost: int | None) -> str:
        micros = None if cost is None else cost * CREDIT
        before = self.model.jobs[job_id].attempts[number - 1]
        match kind:
            case "accepted":
                self.upstream_ids.append(f"job_up_{job_id}_{next(self.numbers)}")
                answer: answers.Submission = answers.Accepted(self.upstream_ids[-1], 202, micros, None)
                moved = self.model.accepted(job_id, number, micros)
                if moved and micros is not None and micros > before.hold:
                    self.blocked.add(self.resolutions[job_id])
            case "rejected":
                answer, moved = answers.Rejected(422, "no"), self.model.rejected(job_id, number)
            case "refused":
                refusal = REFUSALS[(cost or 0) % len(REFUSALS)]
                answer, moved = answers.Refused(refusal), self.model.refused(job_id, number)
            case "twin" if self.known:
                answer = answers.Accepted(self.known[0], 202, micros, None)
                moved = self.model.lost(job_id, number)
            case _:
                answer, moved = answers.Ambiguous("cut"), self.model.lost(job_id, number)
        booked = await booking.book(self.shop, job_id, number, answer)
        assert (booked is not None) == moved
        return f"{kind} {'booked' if moved else 'passed over'}"

    @property
    def known(self) -> list[str]:
        """Upstream ids that an attempt of ours has."""
        return [one for one in self.upstream_ids if one in self._taken]

    _taken: frozenset[str] = frozenset()

    async def settle_(self, which: int, charged: bool) -> str:
        """An operator ends a doubt, or is told why not."""
        return await self._settled(which, lambda job_id, at: self.model.settled(job_id, at, charged=charged), charged)

    async def found_(self, which: int) -> str:
        """An operator found the upstream's job."""
        return await self._settled(which, self._found, None)

    def _found(self, job_id: str, at: datetime) -> bool:
        number = len(self.model.jobs[job_id].attempts)
        return self.model.doubtful(job_id, at) and self.model.accepted(job_id, number, None)

    async def _settled(self, which: int, in_model: Callable[[str, datetime], bool], charged: bool | None) -> str:
        if not self.model.jobs:
            return "none"
        doubts = [name for name, job in self.model.jobs.items() if job.state == "submission_unknown"]
        among = doubts if doubts and which % 8 else list(self.model.jobs)
        job_id = among[which % len(among)]
        moved = in_model(job_id, self.clock.at)
        try:
            async with self.house.database.write() as tx:
                if charged is None:
                    name = f"job_found_{job_id}_{next(self.numbers)}"
                    await deeds.found(tx, "test", job_id, name, self.clock.at)
                else:
                    verdict = Verdict.CHARGED if charged else Verdict.NOT_CHARGED
                    await deeds.settle(tx, "test", job_id, verdict, self.clock.at)
        except errors.Conflict:
            assert not moved
            return "too early or no doubt"
        assert moved
        return "settled"

    async def finish_(self, which: int, good: bool) -> str:
        """A running job ends; what it cost stays."""
        running = [job_id for job_id, job in self.model.jobs.items() if job.state == "running"]
        if not running:
            return "none"
        job_id = running[which % len(running)]
        async with self.house.database.write() as tx:
            job = await self._job(tx, job_id)
            if good:
                moved = await tx.execute(
                    tables.jobs.update()
                    .where(tables.jobs.c.id == job_id)
                    .values(state=State.ARCHIVING)
                    .returning(tables.jobs)
                )
                assert await endings.complete(tx, record.job(moved.one()), kept=1, lost=0, now=self.clock.at)
            else:
                assert await endings.fail(tx, job, Failure.UPSTREAM_FAILED, "no picture", self.clock.at)
        self.model.jobs[job_id].state = "completed" if good else "failed"
        return "done"

    async def _job(self, tx: Any, job_id: str) -> record.Job:
        found = await lookup.any_team(tx, job_id)
        assert found is not None
        return found

    async def cancel_(self, which: int) -> str:
        """A caller takes its job back, or is told why not."""
        if not self.model.jobs:
            return "none"
        job_id = list(self.model.jobs)[which % len(self.model.jobs)]
        job = self.model.jobs[job_id]
        again, moved = job.state == "cancelled", self.model.cancelled(job_id)
        try:
            await desk.cancel(self.house.counter, Caller(job.team, job.key), job_id, whole_team=False)
        except errors.Conflict:
            assert not moved
            assert not again
            return "too late"
        assert moved or again
        return "cancelled"

    async def adjust_(self, which: int, amount: int, of_job: bool) -> str:
        """An operator's correction, in either direction, of a job or of a team alone."""
        reference, job_ids = f"{self.teams[0]} {next(self.numbers)}", list(self.model.jobs)
        async with self.house.database.write() as tx:
            if of_job and job_ids:
                job_id = job_ids[which % len(job_ids)]
                await statement.adjust(tx, await self._of_job(tx, job_id, reference), amount * CREDIT, self.clock.at)
                self.model.corrected(job_id, "adjust", amount * CREDIT)
                return "of a job"
            team_id = self.teams[which % 2]
            entered = Correction(Payer(team_id, "", ""), None, entries.windows(self.clock.at), reference, None)
            await statement.adjust(tx, entered, amount * CREDIT, self.clock.at)
            self.model.corrected_team(team_id, "adjust", amount * CREDIT, self.clock.at)
        return "of a team"

    async def refund_(self, which: int, amount: int) -> str:
        """An operator's refund of a job that runs or has ended, or was settled: never more than it has cost."""
        job_ids = [job_id for job_id, job in self.model.jobs.items() if job.last.fate in ("answered", "settled")]
        if not job_ids:
            return "none"
        job_id = job_ids[which % len(job_ids)]
        try:
            async with self.house.database.write() as tx:
                entered = await self._of_job(tx, job_id, f"{self.teams[0]} {next(self.numbers)}")
                await statement.refund(tx, entered, amount * CREDIT, self.clock.at)
        except errors.Conflict:
            assert amount * CREDIT > self.model.net[job_id]
            return "more than it cost"
        assert amount * CREDIT <= self.model.net[job_id]
        self.model.corrected(job_id, "refund", amount * CREDIT)
        return "made"

    async def _of_job(self, tx: Any, job_id: str, reference: str) -> Correction:
        held = await book.find(tx, job_id, len(self.model.jobs[job_id].attempts))
        return Correction(held.payer, job_id, held.windows, reference, None)

    async def limit_(self, team: int, whose: int, window: Window, limit: int | None) -> str:
        """A budget is set, lowered (even below what is used) or taken away."""
        team_id = self.teams[team]
        key_id = ["", *self.keys[team_id]][whose]
        async with self.house.database.write() as tx:
            if limit is None:
                await budgets.remove(tx, team_id, key_id, window)
                self.model.limits.pop((team_id, key_id, window.value), None)
                return "removed"
            await budgets.put(tx, Budget(team_id, key_id, window, limit * CREDIT))
        self.model.limits[team_id, key_id, window.value] = limit * CREDIT
        return "set"

    async def wait_(self, seconds: int) -> str:
        """Time passes, and the sweeps find what it ended."""
        self.clock.at += timedelta(seconds=seconds)
        for name in ("queue_deadlines", "stuck", "unknowns"):
            await sweep.ALL[name](self.shop)
        self.model.swept(self.clock.at)
        return "passed"

    async def compare(self) -> None:
        """Entries, balances and states are the model's, and the book proves itself."""
        entry, balance, job = tables.ledger_entries, tables.balances, tables.jobs
        async with self.house.database.read() as connection:
            assert await proof.differences(connection) == []
            rows = await connection.execute(sa.select(entry).where(entry.c.team_id.in_(self.teams)))
            found = Counter((row.team_id, row.job_id, row.attempt, row.kind, row.amount_micros) for row in rows)
            assert found == self.model.entries
            for row in await connection.execute(sa.select(balance).where(balance.c.team_id.in_(self.teams))):
                place = (row.team_id, row.key_id, row.period)
                assert (row.held_micros, row.spent_micros) == (self.model.held[place], self.model.spent[place]), place
            states = await connection.execute(sa.select(job.c.id, job.c.state).where(job.c.team_id.in_(self.teams)))
            assert {row.id: row.state for row in states} == {key: one.state for key, one in self.model.jobs.items()}
            known = await connection.execute(
                sa.select(tables.attempts.c.upstream_job_id).where(tables.attempts.c.upstream_job_id.is_not(None))
            )
            self._taken = frozenset(known.scalars())

    async def end(self) -> None:
        """What still waits is taken back and what is under way is lost: then only doubts hold anything."""
        for number, job_id in enumerate(list(self.model.jobs)):
            if self.model.jobs[job_id].state == "queued":
                await self.cancel_(number)
        for job_id, number in self.opened:
            if self.model.jobs[job_id].attempts[number - 1].fate == "open":
                await self._booked(job_id, number, "lost", None)
        await self.compare()
        unknown = {name for name, job in self.model.jobs.items() if job.state == "submission_unknown"}
        assert self.model.open_holds().keys() == unknown


async def begun(house: House, shop: Shop, clock: StillClock, number: int) -> Story:
    """A story's own teams and keys, in stores that the stories before have used."""
    clock.at = START
    made: dict[str, list[str]] = {}
    async with house.database.write() as tx:
        await tx.execute(tables.prices.delete())
        await tx.execute(tables.jobs.update().values(claim=None, claimed_by=None, claimed_at=None))
        # What earlier stories left behind takes no slot, no turn and no sweep from this one.
        await tx.execute(tables.jobs.update().where(tables.jobs.c.ended_at.is_(None)).values(state=State.CANCELLED))
        await tx.execute(tables.attempts.update().values(outcome=Outcome.REJECTED))
        for name in ("a", "b"):
            team = await teams.create(tx, f"{name}{number}", START)
            pair = [await keys.create(tx, team.id, "k", scopes.DEFAULT, house.keys.api_keys, START) for _ in range(2)]
            made[team.id] = [key.id for key, _ in pair]
    return Story(house, shop, clock, list(made), made)
