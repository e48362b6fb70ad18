"""The money of jobs, told a second time in plain Python, without the house's code.

Knows no store and no clock. A test takes the same steps here and in the real house, and compares.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

CREDIT = 1_000_000
QUIET = timedelta(seconds=80)
PATIENCE = timedelta(hours=1)
SETTLED_AFTER = timedelta(hours=24)

UNANSWERED = frozenset({"open", "unknown", "settled"})


@dataclass
class Attempt:
    """One hold of a job, and what became of it: waiting, open, unknown, settled or answered."""

    hold: int
    fate: str = "waiting"
    opened_at: datetime | None = None
    #: What its settlement took, if it was settled.
    settled: int = 0


@dataclass
class Job:
    """An order and the windows that all of its money is posted in."""

    team: str
    key: str
    periods: tuple[str, str, str]
    created_at: datetime
    attempts: list[Attempt]
    state: str = "queued"

    @property
    def last(self) -> Attempt:
        """The attempt that counts."""
        return self.attempts[-1]


def periods(at: datetime) -> tuple[str, str, str]:
    """The windows of a moment."""
    return ("total", f"{at:%Y-%m}", f"{at:%Y-%m-%d}")


@dataclass
class Ledger:
    """All jobs, entries, limits and balances, in micro-credits."""

    jobs: dict[str, Job] = field(default_factory=dict)
    #: (team, job or none, attempt or none, kind, amount).
    entries: Counter[tuple[str, str | None, int | None, str, int]] = field(default_factory=Counter)
    #: By (team, key or "", window).
    limits: dict[tuple[str, str, str], int] = field(default_factory=dict)
    #: By (team, key or "", period).
    held: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    spent: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    net: Counter[str] = field(default_factory=Counter)

    def standing(self, team: str, key: str, at: datetime) -> Iterator[tuple[int, int]]:
        """What is spent and held, beside its limit, of each budget that a new hold comes under."""
        names = dict(zip(("total", "month", "day"), periods(at), strict=True))
        for (whose, which, window), limit in self.limits.items():
            if whose == team and which in ("", key):
                place = (team, which, names[window])
                yield self.spent[place] + self.held[place], limit

    def fits(self, team: str, key: str, hold: int, at: datetime) -> bool:
        """Whether a new hold keeps within every limit."""
        return all(used + hold <= limit for used, limit in self.standing(team, key, at))

    def ordered(self, job_id: str, team: str, key: str, hold: int, at: datetime) -> None:
        """A job was accepted."""
        job = self.jobs[job_id] = Job(team, key, periods(at), at, [Attempt(hold)])
        self._post(job_id, job, 1, "hold", hold)

    def sent(self, job_id: str, at: datetime) -> None:
        """Its intent was committed."""
        job = self.jobs[job_id]
        job.state, job.last.fate, job.last.opened_at = "submitting", "open", at

    def waits(self, job_id: str, number: int) -> bool:
        """Whether the attempt has not had its answer."""
        return self.jobs[job_id].attempts[number - 1].fate in UNANSWERED

    def accepted(self, job_id: str, number: int, cost: int | None) -> bool:
        """The upstream took it at that cost (none: the hold); false if the attempt has had its answer."""
        job, attempt = self._case(job_id, number)
        if attempt is None:
            return False
        cost = attempt.hold if cost is None else cost
        if attempt.fate == "settled":
            late = cost - attempt.settled
            if late > 0:
                self._post(job_id, job, number, "adjust", late)
            else:
                self._refund(job_id, job, number, -late)
        else:
            self._post(job_id, job, number, "charge", cost)
            self._post(job_id, job, number, "release", attempt.hold)
        attempt.fate, job.state = "answered", "running"
        return True

    def rejected(self, job_id: str, number: int) -> bool:
        """The upstream refused the request for good; one that was settled has ended already."""
        job, attempt = self._case(job_id, number)
        if attempt is None:
            return False
        ended = attempt.fate == "settled"
        self._give_back(job_id, job, number, attempt)
        attempt.fate, job.state = "answered", "failed"
        return not ended

    def refused(self, job_id: str, number: int) -> bool:
        """Surely not accepted: back to the queue with a hold of the same windows, unless it was settled already."""
        job, attempt = self._case(job_id, number)
        if attempt is None:
            return False
        ended = attempt.fate == "settled"
        self._give_back(job_id, job, number, attempt)
        attempt.fate = "answered"
        if not ended:
            job.attempts.append(Attempt(attempt.hold))
            self._post(job_id, job, number + 1, "hold", attempt.hold)
            job.state = "queued"
        return True

    def lost(self, job_id: str, number: int) -> bool:
        """The answer was lost: nothing moves."""
        job, attempt = self._case(job_id, number)
        if attempt is None or attempt.fate != "open":
            return False
        attempt.fate, job.state = "unknown", "submission_unknown"
        return True

    def settled(self, job_id: str, at: datetime, *, charged: bool) -> bool:
        """The doubt was ended; false if there is none, or the attempt is not quiet yet."""
        if not self.doubtful(job_id, at):
            return False
        job = self.jobs[job_id]
        attempt, number = job.last, len(job.attempts)
        if charged:
            self._post(job_id, job, number, "charge", attempt.hold)
            attempt.settled = attempt.hold
        self._post(job_id, job, number, "release", attempt.hold)
        attempt.fate, job.state = "settled", "failed"
        return True

    def doubtful(self, job_id: str, at: datetime) -> bool:
        """Whether the job's submission is unknown and may be settled."""
        job = self.jobs[job_id]
        opened_at = job.last.opened_at
        return job.state == "submission_unknown" and opened_at is not None and at >= opened_at + QUIET

    def cancelled(self, job_id: str) -> bool:
        """Taken back by its caller; false once it was sent."""
        job = self.jobs[job_id]
        if job.state != "queued":
            return False
        self._post(job_id, job, len(job.attempts), "release", job.last.hold)
        job.state = "cancelled"
        return True

    def swept(self, at: datetime) -> None:
        """Time has passed: long waits end, answers that never came are lost, old doubts are settled as charged."""
        for job_id, job in self.jobs.items():
            opened_at = job.last.opened_at
            if job.state == "queued" and job.created_at + PATIENCE <= at:
                self._post(job_id, job, len(job.attempts), "release", job.last.hold)
                job.state = "failed"
            if job.state == "submitting" and opened_at is not None and opened_at < at - QUIET:
                self.lost(job_id, len(job.attempts))
            if job.state == "submission_unknown" and opened_at is not None and opened_at < at - SETTLED_AFTER:
                self.settled(job_id, at, charged=True)

    def corrected(self, job_id: str, kind: str, amount: int) -> None:
        """An operator's entry for a job, in its hold's windows."""
        self._post(job_id, self.jobs[job_id], None, kind, amount)

    def corrected_team(self, team: str, kind: str, amount: int, at: datetime) -> None:
        """An operator's entry for a team alone, in today's windows."""
        self._move(team, "", periods(at), None, None, kind, amount)

    def open_holds(self) -> dict[str, int]:
        """What each job still holds, by its entries."""
        found: Counter[str] = Counter()
        for (_, job_id, _, kind, amount), count in self.entries.items():
            if job_id is not None and kind in ("hold", "release"):
                found[job_id] += count * (amount if kind == "hold" else -amount)
        return {job_id: held for job_id, held in found.items() if held}

    def _case(self, job_id: str, number: int) -> tuple[Job, Attempt | None]:
        job = self.jobs[job_id]
        attempt = job.attempts[number - 1]
        return job, attempt if attempt.fate in UNANSWERED else None

    def _give_back(self, job_id: str, job: Job, number: int, attempt: Attempt) -> None:
        if attempt.fate != "settled":
            self._post(job_id, job, number, "release", attempt.hold)
        else:
            self._refund(job_id, job, number, attempt.settled)

    def _refund(self, job_id: str, job: Job, number: int, amount: int) -> None:
        """What a settlement took too much comes back, save what an operator gave back already."""
        left = min(amount, self.net[job_id])
        if left > 0:
            self._post(job_id, job, number, "refund", left)

    def _post(self, job_id: str, job: Job, number: int | None, kind: str, amount: int) -> None:
        self._move(job.team, job.key, job.periods, job_id, number, kind, amount)

    def _move(
        self,
        team: str,
        key: str,
        where: tuple[str, str, str],
        job_id: str | None,
        number: int | None,
        kind: str,
        amount: int,
    ) -> None:
        self.entries[team, job_id, number, kind, amount] += 1
        held = {"hold": amount, "release": -amount}.get(kind, 0)
        spent = {"charge": amount, "refund": -amount, "adjust": amount}.get(kind, 0)
        if job_id is not None:
            self.net[job_id] += spent
        for which in {"", key}:
            for period in where:
                self.held[team, which, period] += held
                self.spent[team, which, period] += spent
