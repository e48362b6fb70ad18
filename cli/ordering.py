"""One order from its request to the saved pictures, and what is said on the way. Reads no command line.

The order carries an idempotency key, so that whatever is repeated is never paid twice. Ending the waiting cancels
nothing: the job belongs to the gateway from its answer on.
"""

import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field, replace
from typing import Final

from cli import following, frontdoor, patience, pictures, references
from cli.access import Access
from cli.failures import Again, Failure, Status
from cli.frontdoor import Answer, Body, Door
from cli.pictures import Saved
from cli.places import Place
from cli.progress import Teller
from cli.references import Reference

#: How long the order itself is tried for, where the command would wait longer.
_ORDERED_WITHIN_S: Final = 120.0
#: What is wrong with the address is wrong for the order too.
_NOWHERE: Final = frozenset({"unreachable", "not_torii"})


@dataclass(frozen=True)
class Order:
    """What is ordered, and how. Without a place it is not waited for."""

    model: str
    body: Body
    idempotency_key: str
    headers: Mapping[str, str]
    wait_s: float
    place: Place | None
    #: The options by which another command reaches the same gateway.
    there: str
    #: The pictures that it starts from.
    references: tuple[Reference, ...] = ()


@dataclass
class Run:
    """One run of the command, as far as it has come."""

    order: Order
    teller: Teller
    job: Body | None = None
    saved: list[Saved] = field(default_factory=list)
    #: The order may have reached the gateway.
    sent: bool = False

    async def whole(self, way: AbstractAsyncContextManager[Access]) -> None:
        """All of it; raises ``Failure``."""
        begun_s = time.monotonic()
        deadline_s = begun_s + self.order.wait_s
        async with way as access, frontdoor.opened(access) as door:
            order = self.order
            body = await references.named(
                door, order.model, order.body, order.references, order.idempotency_key, self.teller
            )
            self.order = replace(order, body=body)
            if self.order.place is None:
                await self._order(door)
                return
            with self.teller.waiting(await self._expected_s(door)):
                first = await self._order(door)
                self.job = await last_state(door, first, deadline_s, self.teller, self.order.there)
            self.saved = await finished(self.job, access.url, self.order.place, self.teller, self.order.there)
        self.teller.say(f"{paid(self.job)}; {time.monotonic() - begun_s:.1f} s")

    async def _expected_s(self, door: Door) -> float | None:
        """How long it should take; a gateway that does not say is no reason to stop."""
        try:
            return float((await door.quote(self.order.model, self.order.body)).body["expectedWaitS"])
        except (Again, KeyError, TypeError, ValueError):
            return None
        except Failure as failure:
            if failure.code in _NOWHERE:
                raise
            return None  # what is wrong with the order is told when it is ordered

    async def _order(self, door: Door) -> Body:
        order = self.order

        async def sent() -> Answer:
            self.sent = True
            return await door.order(order.model, order.body, order.idempotency_key, order.headers)

        within_s = min(_ORDERED_WITHIN_S, order.wait_s)
        answer = await patience.patient(sent, within_s=within_s, told=self.teller.again)
        self.job = answer.body
        if answer.replayed:
            self.teller.say("this order was made before; nothing is paid for again")
        return answer.body

    def interrupted(self) -> Failure:
        """What goes on without us, and how to come back to it."""
        if self.job is not None:
            return left(self.job["jobId"], self.order.there)
        said = "interrupted; nothing was ordered"
        if self.sent:
            key = self.order.idempotency_key
            said = (
                f"interrupted; it may have been ordered, which the same command with --idempotency-key {key} finds out"
            )
        return Failure("interrupted", said, Status.INTERRUPTED)


async def last_state(door: Door, first: Body, deadline_s: float, teller: Teller, there: str) -> Body:
    """The job as it has ended, each state told; raises ``Failure`` when the time is over."""
    last = first
    try:
        async with aclosing(following.follow(door, first, deadline_s, teller.again)) as changes:
            async for body in changes:
                last = body
                teller.state(body)
    except following.Late:
        said = f"the time is over and the job goes on: torii jobs watch {first['jobId']}{there} --out ."
        raise Failure("still_running", said, Status.UNFINISHED) from None
    return last


async def finished(body: Body, url: str, place: Place, teller: Teller, there: str) -> list[Saved]:
    """The pictures of a job that has ended, saved; raises ``Failure`` for one that has none."""
    if body["status"] == "completed":
        back = f"torii jobs watch {body['jobId']}{there} --out DIR"
        return await pictures.save(body, url, place, teller.again, back)
    error = body.get("error") or {"code": "failed", "message": "it does not say why"}
    said = f"job {body['jobId']} failed: {error['message']} ({error['code']})"
    if error.get("provisional"):
        said += f"; it may still be found until {error['settlesAt']}"
    raise Failure(str(error["code"]), said, Status.JOB_FAILED)


def left(job_id: str, there: str) -> Failure:
    """The end of a wait that the user broke off."""
    said = (
        f"interrupted; the job goes on: torii jobs watch {job_id}{there} --out . "
        f"(to take it back while it waits: torii jobs cancel {job_id}{there})"
    )
    return Failure("interrupted", said, Status.INTERRUPTED)


def paid(body: Body) -> str:
    """What the job costs its team, and what is left."""
    cost = body["creditCost"]
    said = f"{cost} credit{'' if cost == 1 else 's'}, {body['creditsRemaining']} left"
    return f"made before: {said}" if body.get("cached") else said
