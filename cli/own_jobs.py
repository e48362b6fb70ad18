"""Jobs as the holder of a team's key sees them, in the shape of the operator's commands. Asks each thing once.

So a person with a key and a gateway's address has ``torii jobs list``, ``show``, ``watch`` and ``cancel`` too; what
is an operator's alone is refused here, before anything is sent.
"""

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from cli import following, frontdoor, job_times, job_watch
from cli.access import Access
from cli.failures import Again, Failure
from cli.frontdoor import Body, Door
from gateway import errors
from service import admin_jobs
from service.admin_deeds import Deed


@asynccontextmanager
async def opened(access: Access) -> AsyncIterator["Own"]:
    """The way to the jobs of that key."""
    async with frontdoor.opened(access) as door:
        yield Own(door)


@dataclass(frozen=True)
class Own:
    """The way of a caller; a ``Reach`` as far as it goes."""

    door: Door

    async def ask(
        self,
        deed: Deed,
        path: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, str | None] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> Any:  # noqa: ANN401  see Reach
        """The answer, in the deed's shape; raises ``Failure``, or ``NotAllowed`` for an operator's deed."""
        del body
        named = (path or {}).get("job", "")
        try:
            if deed is admin_jobs.READ:
                return (await self.door.job(named)).body
            if deed is admin_jobs.CANCEL:
                return _line((await self.door.cancel(named)).body)
            if deed is admin_jobs.LIST:
                return await self._listed(query or {})
        except Again as again:
            raise again.failure from again
        raise errors.NotAllowed("this is an operator's deed; give a --token-file, or go to the stores")

    async def changes(self, job_id: str, wait_s: float | None) -> AsyncGenerator[Body]:
        """The job now and at each change until it has ended; ``Failure`` when the time is over."""
        deadline_s = time.monotonic() + wait_s if wait_s is not None else math.inf
        first: Body = await self.ask(admin_jobs.READ, {"job": job_id})
        try:
            async with aclosing(following.follow(self.door, first, deadline_s, _patient)) as changes:
                async for body in changes:
                    yield body
        except following.Late:
            raise job_watch.late(job_id) from None

    async def _listed(self, query: Mapping[str, str | None]) -> dict[str, Any]:
        for name in ("team", "state"):
            if query.get(name) is not None:
                raise errors.InvalidParameter(f"--{name} is for operators; a key lists its own team's jobs", param=name)
        asked = {name: text for name, text in query.items() if text is not None}
        page = (await self.door.jobs(asked)).body
        return {"jobs": [_line(row) for row in page["jobs"]], "nextCursor": page["nextCursor"]}


def _patient(failure: Failure, wait_s: float) -> None:
    """Wait without a word: the spinner turns."""


def _line(body: Body) -> dict[str, Any]:
    """A job in a list."""
    took_s = job_times.took_s(body)
    return {
        "id": body["jobId"],
        "state": body["state"],
        "model": body["model"],
        "createdAt": body["createdAt"],
        "tookS": None if took_s is None else round(took_s, 1),
        "credits": body["creditCost"],
        "error": body.get("error", {}).get("code"),
        "settlesAt": body.get("error", {}).get("settlesAt"),
    }
