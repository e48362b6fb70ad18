"""The arq tasks: each starts one step of the house and returns. They carry ids, never work.

A step runs in a task of its own, so that arq, which cancels what runs when Redis fails, never cuts a paid POST short.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

import structlog
from arq.worker import Function, func

from gateway import errors
from gateway.jobs import delivery, keeping, polling, submission
from gateway.jobs import evidence as looking
from gateway.jobs.parts import Shop
from gateway.jobs.queue import Step

#: arq's own limit on a task; every call inside has a shorter one of its own.
TIMEOUT_S = 300

log = structlog.get_logger(__name__)


@dataclass
class Bench:
    """The steps under way in this process."""

    shop: Shop
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, step: Awaitable[None]) -> None:
        """Run a step to its end, even if the caller is cancelled meanwhile."""
        task = asyncio.ensure_future(_guarded(step))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        await asyncio.shield(task)

    async def settle(self, within_s: float) -> bool:
        """Wait for all steps to end; whether they did."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=within_s)
        return not self._under_way


async def _guarded(step: Awaitable[None]) -> None:
    try:
        await step
    except errors.StoreUnavailable:
        log.warning("step_interrupted", reason="store_unavailable")
    except Exception:
        # The row says what is still to be done, so the sweep will find it; a bug must not stay silent.
        log.exception("step_failed")


async def submit(context: dict[str, Any]) -> None:
    """Take the next queued job and send it."""
    bench: Bench = context["bench"]
    await bench.run(submission.submit(bench.shop))


async def poll(context: dict[str, Any], job_id: str) -> None:
    """Look at a running job; the id is a hint."""
    bench: Bench = context["bench"]
    await bench.run(polling.poll(bench.shop, job_id))


async def archive(context: dict[str, Any], job_id: str) -> None:
    """Bring a finished job's pictures home; the id is a hint."""
    bench: Bench = context["bench"]
    await bench.run(keeping.keep(bench.shop, job_id))


async def deliver(context: dict[str, Any]) -> None:
    """Send the webhooks that are due."""
    bench: Bench = context["bench"]
    await bench.run(delivery.deliver(bench.shop))


async def evidence(context: dict[str, Any]) -> None:
    """Look for evidence about unknown submissions."""
    bench: Bench = context["bench"]
    await bench.run(looking.look(bench.shop))


def functions() -> list[Function]:
    """What arq may be asked to run; one try each, since the sweep and not arq brings work back."""
    steps: list[tuple[Step, Any]] = [
        (Step.SUBMIT, submit),
        (Step.POLL, poll),
        (Step.ARCHIVE, archive),
        (Step.DELIVER, deliver),
        (Step.EVIDENCE, evidence),
    ]
    return [func(task, name=step.value, keep_result=0, timeout=TIMEOUT_S, max_tries=1_000_000) for step, task in steps]
