"""The one prepaid account: its jobs, files and credits, settled by a clock handed in. Knows no HTTP and no switch."""

import heapq
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from emulator import clock, job, order, switches

SEED_LIMIT = 1 << 31


@dataclass(frozen=True, slots=True)
class Fate:
    """What the switches decide about a job when it is submitted; seconds are already scaled."""

    outcome: switches.Outcome
    cost_micro: int
    shortest_s: float
    longest_s: float
    result_ttl_s: float
    refund: bool


class OutOfCredits(Exception):
    """The balance does not cover the request."""


class Account:
    """Credits are micro-credits, times Unix seconds. At most `kept_jobs` jobs are remembered."""

    def __init__(self, balance_micro: int, kept_jobs: int, now: clock.Clock) -> None:
        self._now = now
        self._kept_jobs = kept_jobs
        self._jobs: dict[str, job.Job] = {}
        self._files: dict[str, tuple[str, int]] = {}
        self._ending: list[tuple[float, str]] = []
        self.opening_micro = balance_micro
        self.balance_micro = balance_micro
        self.debited_micro = 0
        self.refunded_micro = 0
        self.adjusted_micro = 0
        self.accepted = 0
        self.peak_in_flight = 0

    def submit(self, wanted: order.Order, fate: Fate) -> job.Job:
        """Debit and create a job; raises `OutOfCredits`, then nothing has changed."""
        self.settle()
        if fate.cost_micro > self.balance_micro:
            raise OutOfCredits
        created = self._create(wanted, fate)
        self.balance_micro -= fate.cost_micro
        self.debited_micro += fate.cost_micro
        self.accepted += 1
        self._jobs[created.id] = created
        self._files |= {name: (created.id, index) for index, name in enumerate(created.file_names)}
        heapq.heappush(self._ending, (created.finished_at, created.id))
        self.peak_in_flight = max(self.peak_in_flight, len(self._ending))
        self._forget_oldest()
        return created

    def settle(self) -> None:
        """Post what is due by now: jobs leave the flight, failed ones are refunded if that was decided."""
        now = self._now()
        while self._ending and self._ending[0][0] <= now:
            _, job_id = heapq.heappop(self._ending)
            ended = self._jobs.get(job_id)
            if ended is not None and ended.refund_due:
                ended.refund_due = False
                ended.refunded_micro = ended.cost_micro
                self.balance_micro += ended.cost_micro
                self.refunded_micro += ended.cost_micro

    def adjust(self, balance_micro: int) -> None:
        """Set the balance, as a top-up or another spender would."""
        self.settle()
        self.adjusted_micro += balance_micro - self.balance_micro
        self.balance_micro = balance_micro

    def find(self, job_id: str) -> job.Job | None:
        """Return a job that is still remembered."""
        return self._jobs.get(job_id)

    def file(self, name: str) -> tuple[job.Job, int] | None:
        """Return the job and index of a file that can be downloaded now."""
        job_id, index = self._files.get(name, ("", 0))
        owner = self._jobs.get(job_id)
        if owner is None or name not in job.delivered(owner) or not job.stored(owner, self._now()):
            return None
        return owner, index

    def newest(self) -> Iterator[job.Job]:
        """Go through the jobs, newest first."""
        return reversed(self._jobs.values())

    def delete_files(self, job_id: str | None) -> int:
        """Delete the files of one job or of all that have ended; returns how many files."""
        now = self._now()
        deleted = 0
        for owner in [self._jobs[job_id]] if job_id else self._jobs.values():
            if job.stored(owner, now):
                owner.files_deleted = True
                deleted += len(job.delivered(owner))
        return deleted

    def in_flight(self) -> int:
        """Return how many jobs have not ended."""
        self.settle()
        return len(self._ending)

    def _create(self, wanted: order.Order, fate: Fate) -> job.Job:
        now = self._now()
        job_id = f"job_{secrets.token_urlsafe(16)}"
        duration_s = fate.shortest_s + (fate.longest_s - fate.shortest_s) * job.fraction(job_id)
        finished_at = job.end(fate.outcome, now, duration_s)
        # The longest duration, not its own: an expiry must not tell a client when the job will be done.
        expires_at = now + fate.longest_s + fate.result_ttl_s
        form = wanted.settled.get("output_format", "png")
        count = wanted.settled.get("num_outputs", 1)
        return job.Job(
            id=job_id,
            order=wanted,
            outcome=fate.outcome,
            seed=wanted.settled.get("seed", secrets.randbelow(SEED_LIMIT)),
            cost_micro=fate.cost_micro,
            created_at=now,
            started_at=now + duration_s * job.PENDING_SHARE,
            finished_at=finished_at,
            files_until=max(finished_at + fate.result_ttl_s, expires_at),
            expires_at=expires_at,
            file_names=self._file_names(int(now + duration_s), form, count),
            refund_due=fate.refund and fate.outcome.kind == "failed",
        )

    def _file_names(self, at: int, form: str, count: int) -> tuple[str, ...]:
        names: dict[str, None] = {}
        while len(names) < count:  # six digits are few: look for free names
            name = f"{at}-{secrets.randbelow(900_000) + 100_000}.{form}"
            if name not in self._files:
                names[name] = None
        return tuple(names)

    def _forget_oldest(self) -> None:
        surplus = len(self._jobs) - self._kept_jobs
        for job_id in list(islice(self._jobs, max(0, surplus))):
            for name in self._jobs.pop(job_id).file_names:
                self._files.pop(name, None)
