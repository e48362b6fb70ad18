"""A job as its caller sees it: the seed's fields exactly, and ours beside them. Pure; signs links, stores nothing.

The same value is the answer of ``POST run`` and of ``GET job``. Credits are plain JSON numbers, times RFC 3339 in UTC.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gateway import money
from gateway.archive import links
from gateway.clock import rfc3339, rfc3339_ms
from gateway.jobs import outcomes, states
from gateway.jobs.record import Image, Job
from gateway.jobs.states import Failure, State
from gateway.settings.keyring import DerivedKey

_PROVISIONAL = "the upstream's answer was lost; it is not yet known whether the picture was made"


@dataclass(frozen=True)
class Frame:
    """What every view of this process shares."""

    public_url: str
    link_key: DerivedKey
    image_url_ttl_s: int
    #: How long a job whose submission is unknown reads as ``processing`` (``TORII_UNKNOWN_WAIT_S``).
    unknown_wait_s: int


def status(job: Job, frame: Frame, now: datetime) -> str:
    """The word on the wire; an unknown submission reads ``processing`` for a while, then ``failed`` until found."""
    return "failed" if _told_unknown(job, frame, now) else states.wire(job.state)


def render(
    job: Job, images: Sequence[Image], remaining_micros: int | None, frame: Frame, now: datetime
) -> dict[str, Any]:
    """The job's JSON members.

    ``creditCost`` is the hold until the upstream's charge is known, then the charge; ``creditsRemaining`` the upstream
    balance last seen, and 0 as long as no answer has told one; ``expiresAt`` the moment this answer's links end.
    """
    body: dict[str, Any] = {
        "jobId": job.id,
        "status": status(job, frame, now),
        "statusUrl": f"{frame.public_url}/api/v1/jobs/{job.id}",
        "creditCost": money.credits(_cost_micros(job)),
        "creditsRemaining": money.credits(remaining_micros or 0),
        "expiresAt": rfc3339(now + timedelta(seconds=frame.image_url_ttl_s)),
        "state": job.state.value,
        "model": job.model,
        "createdAt": rfc3339_ms(job.created_at),
        "cached": job.reused_from is not None,
    }
    if job.details is not None:
        body["torii"] = {"metadata": job.details}
    if job.state is State.COMPLETED:
        body |= _pictures(job, images, frame, now)
    if job.pictures_erased_at is not None:
        body["erasedAt"] = rfc3339_ms(job.pictures_erased_at)
    error = _error(job, frame, now)
    if error is not None:
        body["error"] = error
    return body


def _cost_micros(job: Job) -> int:
    if job.cost_micros is not None:
        return job.cost_micros
    return 0 if job.state in states.ENDED else job.hold_micros


def _pictures(job: Job, images: Sequence[Image], frame: Frame, now: datetime) -> dict[str, Any]:
    assets = [_asset(image, frame, now) for image in images]
    members: dict[str, Any] = {"output": {"images": [asset["url"] for asset in assets]}, "assets": assets}
    if job.partial:
        members["partial"] = True
    if job.ended_at is not None:
        members["completedAt"] = rfc3339_ms(job.ended_at)
    return members


def _asset(image: Image, frame: Frame, now: datetime) -> dict[str, Any]:
    url, _ = links.sign(frame.public_url, frame.link_key, image.id, image.extension, now, frame.image_url_ttl_s)
    return {
        "url": url,
        "contentType": image.content_type,
        "width": image.width,
        "height": image.height,
        "bytes": image.size_bytes,
        "sha256": image.sha256,
        "seed": image.seed,
    }


def _told_unknown(job: Job, frame: Frame, now: datetime) -> bool:
    if job.state is not State.SUBMISSION_UNKNOWN or job.submitted_at is None:
        return False
    return now - job.submitted_at >= timedelta(seconds=frame.unknown_wait_s)


def _error(job: Job, frame: Frame, now: datetime) -> dict[str, Any] | None:
    if _told_unknown(job, frame, now) and job.submitted_at is not None:
        return {
            "code": Failure.SUBMISSION_UNKNOWN.value,
            "message": _PROVISIONAL,
            "retrySafe": False,
            "provisional": True,
            "settlesAt": rfc3339(job.submitted_at + outcomes.SETTLED_AFTER),
        }
    if job.error_code is None:
        return None
    return {
        "code": job.error_code,
        "message": job.error_message or "",
        "retrySafe": _retry_safe(job),
    }


def _retry_safe(job: Job) -> bool:
    """Whether ordering again cannot pay twice: nothing was spent, and nothing is in doubt."""
    if job.follows is not None:
        # Nothing was charged for it; only its leader's doubt may still bring the picture.
        return job.error_code != Failure.SUBMISSION_UNKNOWN
    if job.error_code == Failure.SUBMISSION_UNKNOWN:
        return job.cost_micros == 0 and job.resubmitted_at is None
    return job.error_code in states.UNCHARGED and job.resubmitted_at is None
