"""What must hold after a run, each as a judge that returns what breaks it, in words; no words mean that it held."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from gateway import errors
from gateway.archive import keys
from gateway.jobs import states
from gateway.jobs.outcomes import Outcome
from gateway.jobs.record import Job
from gateway.jobs.states import Failure, State
from tests.e2e.chaos import slots
from tests.e2e.chaos.run import Run
from tests.e2e.chaos.truth import MICROS, Money, Truth

#: How the upstream may end a job without a picture that could be kept.
_NO_PICTURE: Final = frozenset({"failed", "completed_without_images", "not_a_picture", "truncated"})
#: Log lines at these levels are for faults that the process cannot have been meant to meet.
_ALARMS: Final = frozenset({"error", "critical", "exception"})


def nothing_accepted_is_lost(run: Run, truth: Truth) -> Iterator[str]:
    """Every job that a caller was told of is there, and no job is there that no caller can have asked for."""
    for order in run.callers.orders:
        found = truth.by_prompt().get(order.prompt, [])
        if len(found) > 1:
            yield f"order {order.number} became {len(found)} jobs"
        if order.job_id is not None and [job.id for job in found] != [order.job_id]:
            yield f"order {order.number} was accepted as {order.job_id}, and the record has {[job.id for job in found]}"
        if order.job_id is None and found and not order.doubtful:
            yield f"order {order.number} was refused, and is job {found[0].id} all the same"
        if order.job_id is None and order.key is not None:
            yield f"order {order.number} has a key and was not answered within its caller's patience"


def everything_ended(run: Run, truth: Truth) -> Iterator[str]:
    """Every job has ended, or its submission is unknown and the run could not wait for evidence."""
    for job_id, state in run.open_jobs.items():
        if state != State.SUBMISSION_UNKNOWN:
            yield f"{job_id} is still {truth.jobs[job_id].state}, due at {truth.jobs[job_id].due_at}"
        elif run.length.patient:
            yield f"{job_id} is still unknown: {_doubt(truth, job_id)}"


def nothing_is_paid_twice(run: Run, truth: Truth) -> Iterator[str]:
    """The upstream has at most one job of each order, and got no more POSTs than there were intents."""
    del run
    known = truth.by_prompt()
    for prompt, rows in truth.upstream.items():
        if len(rows) > 1:
            yield f"{prompt!r} was submitted {len(rows)} times: {[row['jobId'] for row in rows]}"
        if prompt not in known:
            yield f"{prompt!r} is upstream and not in the record"
    if truth.totals["submitsReceived"] > len(truth.attempts):
        yield f"{truth.totals['submitsReceived']} POSTs for {len(truth.attempts)} intents"


def the_ledger_is_the_upstreams_books(run: Run, truth: Truth) -> Iterator[str]:
    """Each job's charge is what the upstream took for it, to the last credit; so is the sum."""
    unknown = set(run.open_jobs)
    for prompt, jobs in truth.by_prompt().items():
        for job in jobs:
            took = sum(_micros(row["creditCost"]) - _micros(row["refunded"]) for row in truth.upstream.get(prompt, ()))
            says = truth.ledger.get(job.id, Money())
            if job.id not in unknown and says != Money(0, took):
                yield f"{job.id} ({job.state}, {job.error_code}): the upstream took {took}, the ledger has {says}"
    if not unknown:
        took = _micros(truth.totals["debited"]) - _micros(truth.totals["refunded"])
        if truth.balances_spent != took:
            yield f"the upstream took {took} in all, the balances have {truth.balances_spent}"
    for difference in truth.differences:
        yield f"the books do not add up: {difference}"


def nothing_is_held(run: Run, truth: Truth) -> Iterator[str]:
    """No hold, claim or open attempt is left, but for the holds of what is still unknown."""
    held = sum(truth.jobs[job_id].hold_micros for job_id in run.open_jobs)
    if truth.balances_held != held:
        yield f"{truth.balances_held} micro-credits are held, {held} of them for open jobs"
    for job_id in truth.claimed:
        yield f"{job_id} is still claimed, by {truth.jobs[job_id].claimed_by}"
    for attempt in truth.attempts:
        if attempt["outcome"] == Outcome.OPEN:
            yield f"attempt {attempt['number']} of {attempt['job_id']} is still open"
        elif attempt["outcome"] == Outcome.UNKNOWN and attempt["job_id"] not in run.open_jobs:
            yield f"attempt {attempt['number']} of {attempt['job_id']} is still unknown"


def the_cancelled_cost_nothing(run: Run, truth: Truth) -> Iterator[str]:
    """A job whose caller was told that it is cancelled never reached the upstream."""
    for order in run.callers.orders:
        if order.cancelled and order.job_id is not None and order.job_id in truth.jobs:
            if truth.jobs[order.job_id].state is not State.CANCELLED:
                yield f"{order.job_id} was cancelled and is {truth.jobs[order.job_id].state}"
            if order.prompt in truth.upstream:
                yield f"{order.job_id} was cancelled and is upstream"


def every_end_has_its_reason(run: Run, truth: Truth) -> Iterator[str]:
    """A job fails only where the upstream failed it, refused it, or is settled as not having it."""
    del run
    for job in truth.jobs.values():
        if job.state is not State.FAILED:
            continue
        rows = truth.upstream.get(str(job.parameters["prompt"]), ())
        fine = {
            Failure.UPSTREAM_FAILED: bool(rows) and rows[0]["outcome"] in _NO_PICTURE,
            Failure.UPSTREAM_REJECTED: not rows,
            Failure.SUBMISSION_UNKNOWN: not rows,
        }.get(Failure(job.error_code or ""), False)
        if not fine:
            outcome = rows[0]["outcome"] if rows else "not there"
            yield f"{job.id} failed as {job.error_code} ({job.error_message}); upstream it is {outcome}"


def _doubt(truth: Truth, job_id: str) -> str:
    rows = [attempt for attempt in truth.attempts if attempt["job_id"] == job_id]
    said = [(row["number"], row["outcome"], row["reason"], row["status_code"]) for row in rows]
    there = truth.upstream.get(str(truth.jobs[job_id].parameters["prompt"]), ())
    return f"attempts {said}, upstream {[row['jobId'] for row in there]}"


def the_logs_are_quiet(run: Run, truth: Truth) -> Iterator[str]:
    """No process logged an error, a bug or a traceback, and none ended without being asked to."""
    for name, line in truth.log:
        if line.startswith("{"):
            said = json.loads(line) if line.endswith("}") else {}
            if said.get("level") in _ALARMS or "exception" in said:
                yield f"{name}: {line[:1500]}"
        elif ("Traceback" in line or "Error" in line) and not any(sign in line for sign in slots.NOT_NOW):
            yield f"{name}: {line[:300]}"
    for slot in run.world.slots:
        yield from slot.complaints


def the_callers_had_no_complaints(run: Run, truth: Truth) -> Iterator[str]:
    """No caller got an answer that callers may not get; nor did the run itself break."""
    del truth
    yield from run.callers.complaints
    yield from run.complaints


def everybody_was_told(run: Run, truth: Truth) -> Iterator[str]:
    """Each ended job with a ``webhook_url`` had its end delivered at least once, under one id; none still waits."""
    told = {(job_id, kind) for job_id, kind, _ in truth.told}
    for order in run.callers.orders:
        job = truth.jobs.get(order.job_id or "")
        if job is not None and "webhook_url" in order.body and job.state in states.ENDED:
            kind = f"job.{job.state}"
            if (job.id, kind) not in told:
                rows = [
                    (row["type"], row["state"], row["tries"]) for row in truth.deliveries if row["job_id"] == job.id
                ]
                yield f"{job.id}: nobody was told of its {kind}; deliveries {rows}"
    known = {row["id"] for row in truth.deliveries}
    for job_id, kind, message_id in truth.told:
        if message_id not in known:
            yield f"{job_id}: {kind} was told as {message_id}, which no row knows"
    for row in truth.deliveries:
        if row["state"] not in ("delivered", "superseded"):
            yield f"webhook {row['id']} of {row['job_id']} is {row['state']} after {row['tries']} tries"


JUDGES: Final = (
    nothing_accepted_is_lost,
    everything_ended,
    nothing_is_paid_twice,
    the_ledger_is_the_upstreams_books,
    nothing_is_held,
    the_cancelled_cost_nothing,
    everybody_was_told,
    every_end_has_its_reason,
    the_logs_are_quiet,
    the_callers_had_no_complaints,
)


async def every_paid_picture_is_kept(run: Run, truth: Truth) -> list[str]:
    """Each picture that the upstream delivered is in the archive, byte for byte, with its sidecar; none is lost."""
    found = [f"{truth.images_lost} pictures are counted as lost"] if truth.images_lost else []
    for job in truth.jobs.values():
        rows = truth.upstream.get(str(job.parameters["prompt"]), ())
        if job.state not in states.ENDED or not rows or rows[0]["outcome"] in _NO_PICTURE:
            continue
        images, delivered = truth.images.get(job.id, ()), len(rows[0]["files"])
        if len(images) != delivered:
            found.append(f"{job.id} ({job.state}) has {len(images)} pictures of {delivered}")
        for image in images:
            found += await _kept(run, job, image.object_key, image.sha256, image.position)
    return found


async def _kept(run: Run, job: Job, key: str, sha256: str, position: int) -> list[str]:
    bucket = run.world.house.bucket
    try:
        data = await bucket.get(key)
        beside = json.loads(await bucket.get(keys.sidecar(job.team_id, job.id, position, job.created_at)))
    except errors.ToriiError as error:
        return [f"{key}, or its sidecar: {error!r}"]
    wrong = [] if hashlib.sha256(data).hexdigest() == sha256 else [f"{key} is not what it was"]
    return wrong if beside["sha256"] == sha256 else [*wrong, f"the sidecar of {key} is another's"]


async def the_archive_is_tidy(run: Run, truth: Truth) -> list[str]:
    """A folder holds no draft of a file."""
    del truth
    if run.world.archive is None:
        return []
    drafts = [path for path in run.world.archive.rglob(".*") if path.is_file() and path.parent != run.world.archive]
    return [f"left behind: {path.relative_to(run.world.archive)}" for path in drafts]


OF_THE_ARCHIVE: Final[tuple[Callable[[Run, Truth], Awaitable[list[str]]], ...]] = (
    every_paid_picture_is_kept,
    the_archive_is_tidy,
)


async def judge(run: Run, truth: Truth) -> dict[str, list[str]]:
    """Each judge's name with what it found; a name without findings held."""
    found = {each.__name__: list(each(run, truth)) for each in JUDGES}
    for each in OF_THE_ARCHIVE:
        found[each.__name__] = await each(run, truth)
    return found


def _micros(credits: object) -> int:
    return round(float(str(credits)) * MICROS)
