"""Erasing a job, in PixelDojo's dialect. Translates; the house decides."""

from typing import Any

from litestar import Request, Response, delete

from gateway.jobs import desk, erasing, view
from gateway.tenancy.scopes import Scope
from service import answers, callers, front, jobs


@delete("/api/v1/jobs/{jobId:str}", name="eraseJob", status_code=200)
async def erase(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Erase what a job was asked for and what it made: with ``manage``, since nothing brings it back."""
    house = front.of(request).house
    key = await callers.known(request, Scope.MANAGE)
    job_id = jobs.named_job(request)
    job = await erasing.erase(house.counter, f"key {key.id}", key.team_id, job_id)
    now = house.clock.now()
    async with house.database.read() as connection:
        remaining = await desk.remaining_micros(connection, callers.caller(key), now)
    return answers.json(view.render(job, [], remaining, house.frame, now))
