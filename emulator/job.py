"""One job: what was ordered, what was decided about it at once, and what it is at a moment. Reads no clock."""

import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Any

from emulator import order, picture, switches

PENDING_SHARE = 0.04
NEVER = math.inf
NOT_SEEN = ("num_outputs", "output_format")


@dataclass(slots=True)
class Job:
    """Its whole fate is decided when it is submitted; its state is a matter of the time alone (Unix seconds)."""

    id: str
    order: order.Order
    outcome: switches.Outcome
    seed: int
    cost_micro: int
    created_at: float
    started_at: float
    finished_at: float
    files_until: float
    expires_at: float
    file_names: tuple[str, ...]
    refund_due: bool
    files_deleted: bool = False
    refunded_micro: int = 0
    polls: int = 0
    downloads: int = 0
    seen_at: float | None = None
    webhooks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def prompt(self) -> str:
        """The prompt, empty for a model without one."""
        return str(self.order.settled.get("prompt", ""))

    @property
    def format(self) -> str:
        """`png`, `jpg` or `webp`, as ordered."""
        return str(self.order.settled.get("output_format", "png"))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of its pictures in pixels."""
        settled = self.order.settled
        return picture.size(settled.get("aspect_ratio", "1:1"), settled.get("resolution", "1 MP"))


def status(job: Job, now: float, *, processing: bool) -> str:
    """The status on the wire at a moment; without `processing` a running job stays `pending` to its end."""
    if job.outcome.kind == "unknown_status" and _strange(job, now):
        return job.outcome.status
    if now < job.finished_at:
        return "processing" if processing and now >= job.started_at else "pending"
    return "failed" if job.outcome.kind == "failed" else "completed"


def terminal(job: Job, now: float) -> bool:
    """Whether the job has ended."""
    return now >= job.finished_at


def lost(job: Job, now: float) -> bool:
    """Whether the job's own address answers 404."""
    return job.outcome.kind == "lost" and _strange(job, now)


def delivered(job: Job) -> tuple[str, ...]:
    """The files a completed job speaks of."""
    if job.outcome.kind in ("failed", "completed_without_images"):
        return ()
    if job.outcome.kind == "fewer_images":
        count = max(1, len(job.file_names) - 1) if job.outcome.images is None else job.outcome.images
        return job.file_names[: max(0, count)]
    return job.file_names


def stored(job: Job, now: float) -> bool:
    """Whether the job's files can be downloaded now."""
    if job.files_deleted or job.outcome.kind == "missing_file":
        return False
    return job.finished_at <= now < job.files_until


def end(outcome: switches.Outcome, created_at: float, duration_s: float) -> float:
    """When a job ends: after its duration, and not while its status is an unknown one."""
    if outcome.kind != "unknown_status":
        return created_at + duration_s
    return NEVER if outcome.for_s is None else created_at + max(duration_s, outcome.for_s)


def fraction(text: str) -> float:
    """A number from 0 to 1, the same for the same text: chance that can be repeated."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / float(1 << 48)


def sketch(job: Job, index: int) -> picture.Sketch:
    """What its picture number `index` looks like: derived from model, parameters, seed and index alone."""
    settled = {name: value for name, value in job.order.settled.items() if name not in NOT_SEEN}
    token = json.dumps([job.order.model.apiId, settled | {"seed": job.seed}, index], sort_keys=True)
    caption = f"#{index} seed {job.seed}: {job.prompt}"
    width, height = job.size
    form = job.format
    if job.outcome.kind == "wrong_type":
        form = job.outcome.served or ("jpg" if form == "png" else "png")
    return picture.Sketch(token, caption, width, height, form)


def _strange(job: Job, now: float) -> bool:
    return job.outcome.for_s is None or now < job.created_at + job.outcome.for_s
